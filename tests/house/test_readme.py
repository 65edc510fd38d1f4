"""Every command in README.md, run in the order it is written, in a copy of the checkout, on a very small survey."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.local import Head, start_head
from photoz.comparison.example import write_sdss_example

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
SMALL = [
    "simulation.centres=[[180.0, -0.5], [180.2, -0.5]]",
    "simulation.pixels=400",
    "simulation.galaxies_per_tile=120",
    "simulation.faint_per_tile=20",
    "simulation.stars_per_tile=5",
    "training.schedule.max_epochs=1",
    "training.schedule.batch_size=8",
    "evaluation.resamples=20",
]


def write_small_settings(folder: Path) -> None:
    """Make the settings beside the scripts those of a very small survey."""
    file = folder / "jobs" / "dr4.toml"
    import tomllib

    values = tomllib.loads(file.read_text())
    for each in SMALL:
        path, _, text = each.partition("=")
        *sections, key = path.split(".")
        table = values
        for section in sections:
            table = table.setdefault(section, {})
        table[key] = tomllib.loads(f"x = {text}")["x"]
    file.write_text("\n".join(_to_toml(name, table) for name, table in values.items()))


def _to_toml(name: str, table: dict[str, object]) -> str:
    lines = [f"[{name}]"]
    for key, value in table.items():
        if isinstance(value, dict):
            continue
        lines.append(f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}")
    nested = [_to_toml(f"{name}.{key}", value) for key, value in table.items() if isinstance(value, dict)]
    return "\n".join([*lines, *nested])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what git tracks, with the environment the tests run in as its ``.venv``."""
    if not (Path(sys.prefix) / ".installed").exists():
        pytest.skip(f"{sys.prefix} was not made by `make`, so `make` would install everything again")
    folder = tmp_path_factory.mktemp("checkout")
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    for marker in (
        ".installed",
        ".installed-test",
    ):  # as new as the copied pyproject.toml, so that make installs nothing
        if (Path(sys.prefix) / marker).exists():
            (Path(sys.prefix) / marker).touch()
    write_small_settings(folder)
    return folder


@pytest.fixture(scope="module")
def head(checkout: Path) -> Iterator[Head]:
    """Stand in for ``ray start --head`` and ``ray stop``: the same head, on ports that collide with nothing."""
    before = Path.cwd()
    os.chdir(checkout)
    try:
        with start_head() as running:
            yield running
    finally:
        os.chdir(before)


def run(command: str, folder: Path, environment: dict[str, str]) -> str:
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=900,
    )
    print(done.stdout[-3000:], done.stderr[-3000:])
    lacks_gpu = "gpu" in command and done.returncode == 2 and re.search(r"error: .*GPU", done.stderr)
    assert done.returncode == 0 or lacks_gpu, f"{command!r} ended with status {done.returncode}"
    return done.stdout


@pytest.mark.slow
def test_every_command_runs(checkout: Path, head: Head) -> None:
    seen = [line for block in COMMANDS for line in block.strip().splitlines()]
    assert "make demo" in seen
    for command in seen:
        if command in ("ray start --head", "ray stop"):  # the fixture `head`, which stops only what it started
            continue
        if command == "make test":  # these are the tests: only show that they are found
            command = "make test ARGS='--collect-only -q --no-cov -p no:cacheprovider'"
        on_head = command.startswith("ray job submit") or command.startswith(".venv/bin/python jobs/")
        output = run(command, checkout, head.environment if on_head else dict(os.environ))
        if command == "make demo":
            assert f"report: {checkout.resolve()}/data/dr4/report/index.html" in output
        if "len(lsdb" in command:
            ingested = json.loads((checkout / "data/dr4/tiles/ingest.json").read_text())
            assert int(output.split()[-1]) == ingested["sources"] > 100


def test_the_lines_of_python_run(tmp_path: Path) -> None:
    [lines] = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    (tmp_path / "data").mkdir()
    write_sdss_example(str(tmp_path / "data" / "all.parquet"))
    # A thousand of the ten, which are fitted in a tenth of the time.
    pq.write_table(pq.read_table(tmp_path / "data" / "all.parquet")[:1000], tmp_path / "data" / "galaxies.parquet")
    done = subprocess.run([sys.executable, "-c", lines], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "(100, 27)" in done.stdout
    assert (tmp_path / "data" / "pdf.png").stat().st_size > 5000
