"""Environment variables that libraries can make nothing of: told in one line that names them, or made fit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from distributed import Client, KilledWorker, LocalCluster

from cluster.variables import choose_threads, name_variable

LIBRARIES = {
    "module": "import os\nCOUNT = int(os.environ.get('TRIED_COUNT', '1'))\n",
    "helper": "import os\ndef read(name): return float(os.environ[name])\nCOUNT = read('TRIED_COUNT')\n",
    "deep": "import os\ndef parse(text): return int(text)\nCOUNT = parse(os.environ['TRIED_COUNT'])\n",
    "another": "COUNT = int('many')\n",
}


def run(work: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from cluster.job import run_told\ndef work():\n    {work}\nsys.exit(run_told(work))"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path} | environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("how", ["module", "helper", "deep"])
def test_a_variable_that_a_library_cannot_use_is_named(tmp_path: Path, how: str) -> None:
    (tmp_path / "tried_library.py").write_text(LIBRARIES[how])
    done = run("import tried_library", tmp_path, TRIED_COUNT="many")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "error: the environment variable TRIED_COUNT is 'many', of which tried_library can make nothing (ValueError: "
    )
    assert line.endswith("): correct it, or take it away")
    # The remedy, followed.
    assert run("import tried_library", tmp_path, TRIED_COUNT="3").returncode == 0


def test_a_place_that_a_variable_names_is_told_with_it(tmp_path: Path) -> None:
    done = run("open('/nowhere/tmp/session/log')", tmp_path, TRIED_TMPDIR="/nowhere/tmp", TRIED_ROOT="/nowhere", X="/")
    assert done.returncode == 2
    assert done.stderr.endswith(
        "'/nowhere/tmp/session/log': correct the location (the environment variable TRIED_TMPDIR names /nowhere/tmp)\n"
    )
    assert "environment" not in run("open('/nowhere/else')", tmp_path, HOME="/nowhere", SCRATCH="/nowhere").stderr


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    """A variable of that value is there that the library does not read; or it reads it, and its value is not told."""
    (tmp_path / "tried_library.py").write_text(LIBRARIES["another"])
    done = run("import tried_library", tmp_path, TRIED_COUNT="many")
    assert (done.returncode, "Traceback" in done.stderr) == (1, True)
    (tmp_path / "tried_library.py").write_text("import os\nos.environ['TRIED_COUNT']\n1 / 0\n")
    assert "ZeroDivisionError" in run("import tried_library", tmp_path, TRIED_COUNT="many").stderr.splitlines()[-1]


def test_a_lost_worker_is_not_laid_to_a_variable_of_the_same_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_N_WORKERS", "1")
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as local, Client(local) as client:
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
        with pytest.raises(KilledWorker, match=r"\b1\b") as caught:
            client.submit(os._exit, 1).result()
    assert name_variable(caught.value) == ""


@pytest.mark.parametrize(
    ("library", "name", "value"),
    [
        ("numexpr", "OMP_NUM_THREADS", "abc"),
        ("numexpr", "NUMEXPR_NUM_THREADS", "2.5"),
        ("matplotlib", "MPLBACKEND", "x"),
    ],
)
def test_variables_of_real_libraries(tmp_path: Path, library: str, name: str, value: str) -> None:
    pytest.importorskip(library)
    done = run(f"import {library}", tmp_path, **{name: value})
    assert done.returncode == 2
    assert f"error: the environment variable {name} is '{value}', of which {library} " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "work"),
    [
        ("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "from distributed import Client; Client('tcp://127.0.0.1:9')"),
        ("DASK_LOGGING__DISTRIBUTED", "import distributed"),
        ("RAY_TQDM", "import ray.data"),
    ],
)
def test_variables_of_engines(tmp_path: Path, name: str, work: str) -> None:
    """Of Dask they are settings, read long after it was imported."""
    done = run(work, tmp_path, **{name: "abc"})
    assert done.returncode == 2
    assert f"error: the environment variable {name} is 'abc', of which " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("environment", "chosen"),
    [
        ({}, {}),
        ({"OMP_NUM_THREADS": "4"}, {}),
        ({"OMP_NUM_THREADS": "4,2"}, {"NUMEXPR_NUM_THREADS": "4"}),
        ({"OMP_NUM_THREADS": " 4 , 2"}, {"NUMEXPR_NUM_THREADS": "4"}),
        ({"OMP_NUM_THREADS": "4,2", "NUMEXPR_NUM_THREADS": "1"}, {}),
        ({"OMP_NUM_THREADS": "a,b"}, {}),
    ],
)
def test_a_list_for_openmp_is_a_number_for_numexpr(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], chosen: dict[str, str]
) -> None:
    for name in ("OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert choose_threads() == chosen
