"""Drawing a tile: both figures are written, and a folder without tiles is told with the job that makes them."""

from pathlib import Path

import pytest
from conftest import ReadySurvey
from runs import change

from cluster.commands import plot_tile
from photoz.catalogue.hats import list_partitions, read_partition
from photoz.errors import TileError


def test_no_tile_is_told_with_the_job_that_makes_one(ready_survey: ReadySurvey, tmp_path: Path) -> None:
    tmp_path.joinpath("tiles").mkdir()
    config = change(ready_survey.config, locations__tiles=str(tmp_path / "tiles"))
    with pytest.raises(
        TileError, match=r"nothing to draw in .*tiles' .*run jobs/ingest_frame\.py, or set locations\.tiles"
    ):
        plot_tile.main(config)


def test_tile_and_partition_that_do_not_meet_are_named(
    ready_survey: ReadySurvey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = list_partitions(ready_survey.config.locations.sources)
    monkeypatch.setattr("photoz.tiles.list_tiles", lambda _: ["KIDS_181.0_-0.5"])
    monkeypatch.setattr("photoz.catalogue.hats.list_partitions", lambda _: listed[:1])
    tiles = read_partition(ready_survey.config.locations.sources, listed[0])["tile"].unique().to_pylist()
    assert "KIDS_181.0_-0.5" not in tiles
    with pytest.raises(TileError, match=r"has no source of KIDS_181\.0_-0\.5, the first tile"):
        plot_tile.main(change(ready_survey.config, locations__report=str(tmp_path)))
