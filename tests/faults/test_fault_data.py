"""Tiles that are damaged or disappear, disks that are full, partitions of unlikely size."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import run_ray
from fault_table import Tally
from runs import FAR_APART, ManyPartitions, add_empty_partition, change, make_survey, name_tiles
from small_disk import SmallDisk

import cluster.infer
from cluster.infer import infer_catalogue
from photoz.catalogue import Partition
from photoz.config import Config
from photoz.errors import CatalogueError

pytestmark = pytest.mark.faults
TILES = name_tiles(10)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    return make_survey(tmp_path_factory.mktemp("data"), TILES)


@pytest.fixture
def config(survey: ManyPartitions, tmp_path: Path) -> Config:
    """Settings with a tile store and an output of their own."""
    shutil.copytree(survey.config.locations.tiles, tmp_path / "tiles")
    return change(
        survey.config, locations__tiles=str(tmp_path / "tiles"), locations__catalogue=str(tmp_path / "catalogue")
    )


@pytest.fixture(scope="module")
def ray_workers() -> Iterator[None]:
    with run_ray():
        yield


@pytest.fixture(params=["serial", "dask", "ray"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("ray_workers")
    return str(request.param)


def locate_tile(config: Config, name: str) -> Path:
    return Path(config.locations.tiles) / f"KIDS_{name}.zarr"


def test_a_flipped_byte_in_a_chunk(survey: ManyPartitions, config: Config, tally: Tally, engine: str) -> None:
    config = change(config, engine__name=engine)
    image = locate_tile(config, TILES[3]) / "image" / "c"
    shard = next(file for file in image.rglob("*") if file.is_file())
    whole = shard.read_bytes()
    for place in (100, 2000, len(whole) // 2) if engine == "serial" else (2000,):
        shard.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        record = infer_catalogue(config)
        assert record["failures"] == 1
        assert record["flags"]["TILE_UNREADABLE"] == 9
        tally.check(f"{engine}: a byte flipped in a tile's chunk", config, survey.object_ids)
    shard.write_bytes(whole)
    again = infer_catalogue(config)
    assert again["this_run"]["partitions"] == 1
    assert again["failures"] == 0


def test_a_tile_deleted_in_mid_run(
    survey: ManyPartitions, config: Config, tally: Tally, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    estimate = cluster.infer.estimate_partitions

    def delete_then(plan, partitions) -> Iterator[cluster.infer.Record]:
        for number, record in enumerate(estimate(plan, partitions), start=1):
            if number == 2:
                shutil.rmtree(locate_tile(config, TILES[-1]))
            yield record

    monkeypatch.setattr(cluster.infer, "estimate_partitions", delete_then)
    record = infer_catalogue(change(config, engine__name=engine))
    if engine == "serial":  # others may have read it before
        assert record["flags"]["NO_TILE"] == 9
    tally.check(f"{engine}: a tile deleted in mid-run", config, survey.object_ids)


@pytest.fixture(scope="module")
def lopsided(tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    folder = tmp_path_factory.mktemp("lopsided")
    survey = make_survey(folder, FAR_APART, counts={FAR_APART[4]: 640}, sources={"rows_per_partition": 600})
    add_empty_partition(survey.config, Partition(order=0, pixel=3))
    return survey


def test_partitions_without_rows_and_with_fifty_times_the_median(
    lopsided: ManyPartitions, tally: Tally, tmp_path: Path, engine: str
) -> None:
    config = change(lopsided.config, engine__name=engine, locations__catalogue=str(tmp_path / "catalogue"))
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
    assert record["this_run"]["partitions"] == len(TILES) - written
    tally.check(f"{engine}: disk full while writing, then run again", config, survey.object_ids)
