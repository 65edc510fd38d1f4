"""Help and a dry run of every command are there at once, by both doors, and workers are small: by what they import."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ["astropy", "dask", "distributed", "fsspec", "hats", "lightgbm", "matplotlib", "numpy", "pandas", "pyarrow"]
HEAVY += ["ray", "scipy", "torch", "zarr"]

# In one process, which starts in a tenth of the time of one each: who is the first to import something is named.
COMMANDS = """
from cluster.command import COMMANDS, main
for name, command in COMMANDS.items():
    for option in ["--help", *(["--dry-run"] if command.settings else [])]:
        call(f"photoz {name} {option}", lambda: main([name, option]))
for arguments in ([], ["--help"], ["--version"], ["infr"], ["infer", "--dry-run", "--set", "training.estimator=x"]):
    call(f"photoz {' '.join(arguments)}", lambda: main(arguments))
"""
SCRIPTS = """
import runpy
from pathlib import Path
for script in sorted(Path("jobs").glob("*.py")):
    for option in ("--help", *(["--dry-run"] if script.stem != "write_sdss_example" else [])):
        sys.argv = [str(script), option]
        call(f"{script} {option}", lambda: runpy.run_path(str(script), run_name="__main__"))
"""
PRELUDE = f"""
import contextlib, io, sys
def call(label, function):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        with contextlib.suppress(SystemExit):
            function()
    if found := sorted(set({HEAVY}) & set(sys.modules)):
        sys.exit(f"{{label}} imports {{found}}")
    print(label)
"""


@pytest.mark.parametrize("calls", [COMMANDS, SCRIPTS], ids=["photoz", "jobs"])
def test_help_and_dry_run_import_nothing_heavy(calls: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + calls], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 25


# What each stage of inference runs in holds this for as long as it lives, beside its data, in every worker.
READING = {"astropy", "zarr", "hats", "matplotlib", "pandas", "scipy.stats"}
# What the engines, and the work of others, bring with them: a table is estimated without.
OF_OTHERS = {"torch", "ray", "dask", "distributed", "hats_import", "zarr", "scipy.stats"}
TOO_MUCH = {
    "cluster.tables.catalogue": OF_OTHERS,
    "cluster.tables.plain": {*OF_OTHERS, "hats", "matplotlib"},
    "photoz.report.live": {*OF_OTHERS, "hats", "matplotlib"},
    "photoz.report.overview": OF_OTHERS,
    "cluster.inference.stages": {*READING, "torch", "ray", "dask"},
    "photoz.inference": {*READING, "torch"},
    "photoz.estimators.networks.hybrid": READING,
    "photoz.estimators.mlp.estimator": READING,
    "photoz.estimators.photometric.knn": {*READING, "torch"},
}


@pytest.mark.parametrize("module", TOO_MUCH)
def test_what_works_imports_only_what_its_work_needs(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {TOO_MUCH[module]}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
