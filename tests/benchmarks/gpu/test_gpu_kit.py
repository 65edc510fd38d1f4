"""The GPU kit runs on a CPU, at a hundredth of its size: on a GPU only speeds are new."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import gpu_estimate
import gpu_feeding
import gpu_forward
import gpu_mlp
import gpu_training
import pytest
import torch
from gpu_galaxies import NETWORKS, PRECISIONS
from gpu_record import TARGETS, Line, OutOfTimeError, Record, Step, stop_after

ROOT = Path(__file__).resolve().parents[3]
# Ray and Dask are not installed where a GPU is lent for minutes, and nothing may import them on the way.
ALONE = """
import runpy, sys
sys.argv = ["measure_gpu.py", *sys.argv[1:]]
sys.path.insert(0, "tests/benchmarks/gpu")
runpy.run_path("tests/benchmarks/gpu/measure_gpu.py", run_name="__main__")
print("imported:", *sorted({"ray", "dask", "distributed", "cluster", "astropy", "zarr", "hats"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the kit; its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("gpu")
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", ALONE, "--output", str(folder), "--scale", "0.01", "--seconds", "1200"]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.mark.slow
def test_it_needs_no_engine(run: tuple[Path, str]) -> None:
    assert run[1].splitlines()[-1] == "imported:"


def test_every_part_gives_finite_figures(run: tuple[Path, str]) -> None:
    found = json.loads((run[0] / "gpu.json").read_text())
    assert set(found) == {"date", "machine", "scale", "seconds", "lines", "targets", "left_out"}
    assert all(set(line) == set(Line.__dataclass_fields__) for line in found["lines"])
    assert all(math.isfinite(line["value"]) and line["memory_mib"] > 0 for line in found["lines"])
    assert {"gpu", "torch", "python", "cpu", "commit"} <= set(found["machine"])
    said = {(line["part"], line["what"]) for line in found["lines"]}
    for name in NETWORKS:
        for precision in PRECISIONS:
            for layout in ("packed", "packed, cuDNN chooses", "channels last", "eager"):
                assert (gpu_forward.PART, f"{name}, {layout}, {precision}") in said
            for layout in ("packed", "as trained"):
                assert (gpu_estimate.DRIFT, f"{name}, {layout}, {precision}: at most") in said
    parts = {part for part, _ in said}
    assert {gpu_training.PART, gpu_estimate.PART, gpu_estimate.STAGES, gpu_feeding.PART, gpu_mlp.PART} <= parts
    assert gpu_forward.COMPILED in parts


def test_only_what_needs_a_gpu_is_left_out(run: tuple[Path, str]) -> None:
    left_out = json.loads((run[0] / "gpu.json").read_text())["left_out"]
    assert {each["why"] for each in left_out} == {"RuntimeError: CUDA graphs need a GPU"}
    assert len(left_out) == len(NETWORKS) * len(PRECISIONS)


def test_drift_is_small_and_the_shares_are_shares(run: tuple[Path, str]) -> None:
    lines = json.loads((run[0] / "gpu.json").read_text())["lines"]
    drifts = {line["what"]: line["value"] for line in lines if line["part"] == gpu_estimate.DRIFT}
    assert all(drifts[f"{name}, as trained, float32: at most"] == 0 for name in NETWORKS)
    assert max(value for what, value in drifts.items() if "float32" in what) < 1e-4
    assert all(0 < line["value"] <= 1 for line in lines if line["unit"] == "of the time")


def test_the_page_has_every_target(run: tuple[Path, str]) -> None:
    page = (run[0] / "gpu.md").read_text()
    assert all(f"| {what} |" in page for what in TARGETS)
    assert "## Left out" in page


def test_a_part_that_has_had_its_time_says_what_is_left_out(tmp_path: Path) -> None:
    record = Record(tmp_path, torch.device("cpu"), 1.0, 60.0)

    def never_ends() -> list[Line]:
        while True:
            pass

    def fail() -> list[Line]:
        raise RuntimeError("no such kernel")

    steps = (Step("first", lambda: [Line("part", "a", 1.0, "s")]), Step("odd", fail), Step("long", never_ends))
    record.run("part", 0.5, iter([*steps, Step("last", lambda: [])]))
    assert [line.what for line in record.lines] == ["a"]
    assert [(each["what"], each["why"].split(":")[0]) for each in record.left_out] == [
        ("odd", "RuntimeError"),
        ("long and what follows", "stopped after the part's 0 s"),
    ]
    assert json.loads((tmp_path / "gpu.json").read_text())["left_out"] == record.left_out


def test_a_figure_that_is_none_is_left_out(tmp_path: Path) -> None:
    record = Record(tmp_path, torch.device("cpu"), 1.0, 60.0)
    record.add(Line("part", "a", math.nan, "s"))
    assert (record.lines, record.left_out[0]["what"]) == ([], "a")


def test_time_is_over_within_the_block_alone() -> None:
    with pytest.raises(OutOfTimeError), stop_after(0.05):
        time.sleep(60)
    with stop_after(60.0):
        pass
