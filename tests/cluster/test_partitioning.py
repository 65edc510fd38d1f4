"""Partitioning of the source catalogue: the same sources give the same files."""

import hashlib
import os
from pathlib import Path

import dask
import pytest
from ingested import ingest_every

from cluster.engines.choose import choose_engine
from cluster.ingest import ingest_alone
from cluster.partitioning import partition_sources
from photoz.errors import CatalogueError
from photoz.settings.config import Config
from photoz.tiles import list_tiles
from tests.tiny_survey import make_config, write_survey


def test_files_that_were_only_touched_give_the_same_catalogue(tmp_path: Path) -> None:
    write_survey(tmp_path, ("180.0_-0.5",))
    config = make_config(tmp_path, engine={"name": "serial"})
    first = ingest_and_partition(config)
    for file in (tmp_path / "survey").iterdir():
        os.utime(file, (1, 1))
    assert ingest_and_partition(config) == first


def test_a_dask_scheduler_of_the_environment_is_not_joined_for_local_work(tmp_path: Path) -> None:
    """The operator of dask-kubernetes names one to every pod, by DASK_SCHEDULER_ADDRESS."""
    write_survey(tmp_path, ("180.0_-0.5",))
    config = make_config(tmp_path, engine={"name": "serial"})
    with dask.config.set({"scheduler-address": "tcp://127.0.0.1:9"}):
        assert ingest_and_partition(config)


@pytest.mark.parametrize("damage", ["cut", "removed", "flipped"])
def test_a_damaged_file_has_the_catalogue_made_again(tmp_path: Path, damage: str) -> None:
    write_survey(tmp_path, ("180.0_-0.5",))
    config = make_config(tmp_path, engine={"name": "serial"})
    made = ingest_and_partition(config)
    file = Path(next(iter(made)))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()
    if damage != "removed":
        file.write_bytes(content if damage == "flipped" else content[:100])
    assert ingest_and_partition(config) == made


def test_one_ingest_at_a_time(tmp_path: Path) -> None:
    write_survey(tmp_path, ("180.0_-0.5",))
    config = make_config(tmp_path, engine={"name": "serial"})
    refused = pytest.raises(CatalogueError, match=r"is writing this output .*: wait for it$")
    with ingest_alone(config), refused, ingest_alone(config):
        pytest.fail("two at once")
    with ingest_alone(config):
        assert ingest_and_partition(config)
    assert list_tiles(config.locations.tiles) == ["KIDS_180.0_-0.5"]


def ingest_and_partition(config: Config) -> dict[str, str]:
    assert [outcome.problem for outcome in ingest_every(config)] == [""]
    partition_sources(config, choose_engine(config))
    dataset = Path(config.locations.sources, "catalogue", "dataset")
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in dataset.rglob("Npix=*.parquet")}
