"""Drawing a tile: both figures are written, and a folder without tiles is told with the job that makes them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ReadySurvey
from runs import change

from photoz.errors import TileError

JOB = Path(__file__).resolve().parents[2] / "jobs" / "plot_tile.py"


@pytest.fixture(scope="module")
def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plot_tile", JOB)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_tile_is_told_with_the_job_that_makes_one(
    ready_survey: ReadySurvey, tmp_path: Path, job: ModuleType
) -> None:
    tmp_path.joinpath("tiles").mkdir()
    config = change(ready_survey.config, locations__tiles=str(tmp_path / "tiles"))
    with pytest.raises(
        TileError, match=r"nothing to draw in .*tiles' .*run jobs/ingest_frame\.py, or set locations\.tiles"
    ):
        job.main(config)


def test_tile_and_partition_that_do_not_meet_are_named(
    ready_survey: ReadySurvey, tmp_path: Path, job: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = job.list_partitions(ready_survey.config.locations.sources)
    monkeypatch.setattr(job, "list_tiles", lambda _: ["KIDS_181.0_-0.5"])
    monkeypatch.setattr(job, "list_partitions", lambda _: listed[:1])
    tiles = job.read_partition(ready_survey.config.locations.sources, listed[0])["tile"].unique().to_pylist()
    assert "KIDS_181.0_-0.5" not in tiles
    with pytest.raises(TileError, match=r"has no source of KIDS_181\.0_-0\.5, the first tile"):
        job.main(change(ready_survey.config, locations__report=str(tmp_path)))
