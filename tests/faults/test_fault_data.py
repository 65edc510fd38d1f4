"""Tiles that are damaged or disappear, disks that are full, partitions of unlikely size."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from fault_places import Place, copy_folder, find_files
from fault_table import Tally
from faulty import inject
from runs import FAR_APART, ManyPartitions, add_empty_partition, change, make_survey, name_tiles, read_all
from small_disk import SmallDisk

import cluster.inference.run
import photoz.inputs
from cluster.engines.base import Engine, Outcome
from cluster.inference.plan import Plan
from cluster.inference.run import infer_catalogue
from photoz.catalogue.hats import Partition
from photoz.catalogue.records import Record
from photoz.errors import CatalogueError
from photoz.schema import Flag
from photoz.settings.config import Config
from photoz.storage import find_filesystem, join, remove

pytestmark = pytest.mark.faults
TILES = name_tiles(10)


@pytest.fixture(scope="module")
def survey(place: Place, tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    return make_survey(tmp_path_factory.mktemp("data"), TILES, **place.settle("survey"))


@pytest.fixture
def config(survey: ManyPartitions, output: str) -> Config:
    """Settings with a tile store and an output of their own."""
    copy_folder(survey.config.locations.tiles, join(output, "tiles"))
    return change(survey.config, locations__tiles=join(output, "tiles"), locations__catalogue=join(output, "catalogue"))


def locate_tile(config: Config, name: str) -> str:
    return join(config.locations.tiles, f"KIDS_{name}.zarr")


def test_a_flipped_byte_in_a_chunk(survey: ManyPartitions, config: Config, tally: Tally, engine: str) -> None:
    config = change(config, engine__name=engine)
    shard = find_files(join(locate_tile(config, TILES[3]), "image", "c"))[0]
    filesystem, path = find_filesystem(shard)
    whole = filesystem.cat_file(path)
    for byte in (100, 2000, len(whole) // 2) if engine == "serial" else (2000,):
        filesystem.pipe_file(path, whole[:byte] + bytes([whole[byte] ^ 0x10]) + whole[byte + 1 :])
        record = infer_catalogue(config)
        assert record.failures == 1
        assert record.flags["TILE_UNREADABLE"] == 9
        tally.check(f"{engine}: a byte flipped in a tile's chunk", config, survey.object_ids)
    filesystem.pipe_file(path, whole)
    again = infer_catalogue(config)
    assert again.this_run.partitions == 1
    assert again.failures == 0


@dataclass(frozen=True)
class HoldBack:
    """Have whoever reads a tile's cutouts wait until a file is there: other partitions come first."""

    tile: str
    until: Path

    def install(self) -> None:
        real = photoz.inputs.open_tile
        if getattr(real, "waits_for", None) == self.until:  # a process gets the plan with every partition
            return

        def wait(tiles: str, name: str) -> Any:
            deadline = time.monotonic() + 120
            # A worker serves later tests, too, when the folder is gone.
            while name == self.tile and self.until.parent.exists() and not self.until.exists():
                assert time.monotonic() < deadline, "it was never let go"
                time.sleep(0.05)
            return real(tiles, name)

        wait.waits_for = self.until  # type: ignore[attr-defined]
        photoz.inputs.open_tile = wait


def test_a_tile_deleted_in_mid_run(
    survey: ManyPartitions, config: Config, tally: Tally, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: str
) -> None:
    """Workers would read it early, and are held back; the serial engine is far from it when it goes."""
    estimate, deleted, lost = cluster.inference.run.estimate_partitions, tmp_path / "deleted", f"KIDS_{TILES[-1]}"

    def delete_then(plan: Plan, partitions: list[Partition], engine: Engine) -> Iterator[Outcome[Record, Partition]]:
        for number, outcome in enumerate(estimate(plan, partitions, engine), start=1):
            if number == 2:
                remove(locate_tile(config, TILES[-1]))
                deleted.touch()
            yield outcome

    monkeypatch.setattr(cluster.inference.run, "estimate_partitions", delete_then)
    inject(monkeypatch, HoldBack(lost, deleted))
    record = infer_catalogue(change(config, engine__name=engine))
    assert deleted.exists()
    assert record.flags["NO_TILE"] == 9
    assert record.failures == 1
    rows = read_all(config.locations.catalogue)
    without = rows.filter(pc.not_equal(pc.bit_wise_and(rows["flags"], int(Flag.NO_TILE)), 0))
    assert set(without["tile"].to_pylist()) == {lost}
    tally.check(f"{engine}: a tile deleted in mid-run", config, survey.object_ids)


@pytest.fixture(scope="module")
def lopsided(place: Place, tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    settings = place.settle("lopsided") | {"sources": {"rows_per_partition": 600}}
    survey = make_survey(tmp_path_factory.mktemp("lopsided"), FAR_APART, counts={FAR_APART[4]: 640}, **settings)
    add_empty_partition(survey.config, Partition(order=0, pixel=3))
    return survey


def test_partitions_without_rows_and_with_fifty_times_the_median(
    lopsided: ManyPartitions, tally: Tally, output: str, engine: str
) -> None:
    config = change(lopsided.config, engine__name=engine, locations__catalogue=output)
    infer_catalogue(config)
    tally.check(f"{engine}: partitions of 0 rows and of 54 times the median", config, lopsided.object_ids)


def test_the_disk_is_full(
    survey: ManyPartitions, config: Config, small_disk: SmallDisk, tally: Tally, engine: str
) -> None:
    catalogue = small_disk.folder / "catalogue"
    config = change(config, locations__catalogue=str(catalogue), engine__retries=1, engine__name=engine)
    small_disk.leave(44 << 10)
    with pytest.raises(CatalogueError, match="partitions could not be done"):
        infer_catalogue(config)
    written = len(list((catalogue / "run" / "records").glob("*.json")))
    assert 0 < written < len(TILES)
    assert not list(catalogue.rglob("*.part"))
    small_disk.make_room()
    record = infer_catalogue(config)
    assert record.this_run.partitions == len(TILES) - written
    tally.check(f"{engine}: disk full while writing, then run again", config, survey.object_ids)
