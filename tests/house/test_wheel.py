"""The wheel carries what the program reads beside its code, and works where there is no checkout."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = {".css", ".html", ".pyi", ".toml", ".typed"}
pytestmark = pytest.mark.slow


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it from a copy: setuptools leaves its files in the folder that it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("photoz", "cluster"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    run(sys.executable, *build, folder / "source")
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_all_files_of_both_packages_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        file.relative_to(ROOT).as_posix()
        for package in ("photoz", "cluster")
        for file in (ROOT / package).rglob("*")
        if file.suffix in {".py", *DATA}
    }
    assert names == expected
    assert {"cluster/commands/dr4.toml", "cluster/commands/compare.toml", "photoz/report/page.html"} <= names


def test_it_works_without_a_checkout(wheel: Path, tmp_path: Path) -> None:
    place, work = tmp_path / "installed", tmp_path / "work"
    work.mkdir()
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", place]
    run(sys.executable, *install, wheel)
    # What it needs comes from the environment that the tests run in, photoz itself from the folder alone.
    environment = {name: value for name, value in os.environ.items() if name != "PHOTOZ_CONFIG"}
    options = {"cwd": work, "env": environment | {"PYTHONPATH": str(place)}}
    version = wheel.name.split("-")[1]
    for command in ([place / "bin" / "photoz"], [sys.executable, "-m", "photoz"]):
        assert run(*command, "--version", **options) == f"photoz {version}\n"
        settings = json.loads(run(*command, "infer", "--dry-run", **options))
        assert settings["locations"]["catalogue"] == f"{work}/data/dr4/catalogue"
    found = run(sys.executable, "-c", "import cluster, photoz; print(cluster.__file__, photoz.__file__)", **options)
    assert found.split() == [str(place / name / "__init__.py") for name in ("cluster", "photoz")]
