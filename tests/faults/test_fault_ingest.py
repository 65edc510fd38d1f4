"""Ingest killed, in tiles and while it partitions, and run again; lost workers, a full disk, a store that goes away."""

import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fault_places import Place, assert_nothing_half_written, find_files
from fault_table import Tally
from faulty import Die, ingest_faulty
from ingested import choose, find_survey, partition
from killed_jobs import kill_when, start_job
from runs import ManyPartitions, assert_same_rows, change, make_survey, name_tiles, read_all
from small_disk import SmallDisk

from cluster.engines.tasks import run_tasks
from cluster.inference.run import infer_catalogue
from cluster.ingest import ingest_tiles
from cluster.local import Head, start_head
from photoz.errors import CatalogueError
from photoz.ingest.tile import ingest_tile
from photoz.settings.config import Config
from photoz.storage import exists, find_filesystem, join, read_json, remove, use_options
from photoz.tiles import list_tiles, open_tile

pytestmark = pytest.mark.faults

TILES = name_tiles(10)
KILLS = 3
JOB = "ingest_dr4.py"


@pytest.fixture(scope="module")
def survey(place: Place, tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    """An undisturbed ingest, and the catalogue that follows from it."""
    made = make_survey(tmp_path_factory.mktemp("ingest"), TILES, **place.settle("survey"))
    infer_catalogue(made.config)
    return made


@pytest.fixture
def config(survey: ManyPartitions, output: str) -> Config:
    """The same survey, with a tile store and catalogues of their own."""
    return settle(survey.config, output)


def settle(config: Config, location: str) -> Config:
    names = ("tiles", "sources", "catalogue")
    return change(config, **{f"locations__{name}": join(location, name) for name in names})


def count_files(config: Config) -> int:
    """Count what tells that ingest goes on, finished or not."""
    sources = config.locations.sources
    folders = (config.locations.tiles, sources, f"{sources}_staging")
    return sum(len(find_files(folder)) for folder in folders)


def count_partitionings(folder: Path) -> int:
    """Count how many of the jobs so far have come to partition the sources."""
    return (folder / "run.log").read_text().count("partitioning the sources of")


def check(survey: ManyPartitions, config: Config, tally: Tally, fault: str, *, times: int = 1) -> None:
    """Compare tiles, sources and the catalogue that follows with those of the undisturbed ingest."""
    assert list_tiles(config.locations.tiles) == list_tiles(survey.config.locations.tiles)
    for name in list_tiles(config.locations.tiles):
        found, expected = (open_tile(each.locations.tiles, name) for each in (config, survey.config))
        assert found.checksum == expected.checksum
        np.testing.assert_array_equal(found.read_window(0, 64, 0, 64), expected.read_window(0, 64, 0, 64))
        np.testing.assert_array_equal(found.read_mask_window(0, 64, 0, 64), expected.read_mask_window(0, 64, 0, 64))
    assert_same_rows(read_all(config.locations.sources), read_all(survey.config.locations.sources))
    infer_catalogue(config)
    tally.check(fault, config, survey.object_ids, times=times)
    assert_same_rows(read_all(config.locations.catalogue), read_all(survey.config.locations.catalogue))
    assert_nothing_half_written(config.locations.sources.removesuffix("/sources"))
    assert not exists(f"{config.locations.sources}_staging/import")


@pytest.fixture
def head() -> Iterator[Head]:
    with start_head(cpus=3) as head:
        yield head


def test_killed_at_random_and_run_again(
    survey: ManyPartitions, config: Config, head: Head, tally: Tally, tmp_path: Path, output: str
) -> None:
    """Each time another engine goes on with what is there; after a run that ends before its kill all begins anew."""
    chance = random.Random(5)
    kills, starts = 0, 0
    while kills < KILLS:
        starts += 1
        job = start_job(JOB, config, tmp_path, ("serial", "ray", "dask")[starts % 3], head=head)
        target = count_files(config) + chance.randint(1, 60)
        if kill_when(job, lambda target=target: count_files(config) >= target, chance.uniform(0.0, 0.3)):
            kills += 1
            continue
        assert job.returncode == 0, (tmp_path / "run.log").read_text()
        for name in ("tiles", "sources", "sources_staging"):
            remove(join(output, name))
        assert starts < 3 * KILLS
    assert start_job(JOB, config, tmp_path, "serial").wait() == 0, (tmp_path / "run.log").read_text()
    check(survey, config, tally, "ingest: killed at random and run again", times=kills)


@pytest.mark.parametrize("engine", ["serial", "dask"])
def test_killed_while_partitioning(
    survey: ManyPartitions, config: Config, tally: Tally, tmp_path: Path, engine: str
) -> None:
    """Few rows, which the driver partitions itself, on every engine alike."""
    chance = random.Random(7)
    log, kills, starts = tmp_path / "run.log", 0, 0
    while kills < 3:
        starts += 1
        job = start_job(JOB, config, tmp_path, engine)
        # It takes a few tenths of a second: a run that is through before its kill begins anew.
        if kill_when(job, lambda: count_partitionings(tmp_path) == starts, chance.uniform(0.0, 0.2)):  # noqa: B023
            kills += 1
            continue
        assert job.returncode == 0, log.read_text()
        remove(config.locations.sources)
        assert starts < 12
    assert start_job(JOB, config, tmp_path, engine).wait() == 0, log.read_text()
    check(survey, config, tally, f"ingest, {engine}: killed while partitioning", times=3)


@pytest.mark.parametrize("engine", ["dask", "ray"], indirect=True)
def test_a_worker_killed(survey: ManyPartitions, config: Config, tally: Tally, tmp_path: Path, engine: str) -> None:
    changed = change(config, engine__name=engine)
    for stage in ("staging", "tile"):
        fault = Die(stage, str(tmp_path), times=2)
        tiles = find_survey(config)
        half = tiles[: len(tiles) // 2] if stage == "staging" else tiles
        again = Counter[str]()
        ingest = partial(ingest_faulty, changed, fault=fault)
        results = list(run_tasks(ingest, half, choose(changed), label="tiles", again=again))
        assert [outcome.problem for outcome in results] == [""] * len(half)
        assert fault.happened == 2
        assert again["reruns"] >= 2
    partition(config)
    check(survey, config, tally, f"ingest, {engine}: worker killed while writing", times=4)


def test_the_store_goes_away(survey: ManyPartitions, tmp_path: Path, tally: Tally, engine: str) -> None:
    """Its client may or may not keep asking for so long; one in thirty other requests comes to grief, too."""
    pytest.importorskip("moto.server", reason="the server of the object store: pip install 'photoz[test]'")
    from object_store import FailingProxy, make_bucket, open_store

    with open_store() as endpoint, make_bucket(endpoint) as bucket, FailingProxy(endpoint, 30) as proxy:
        quiet = change(
            settle(survey.config, bucket),
            locations__survey=join(bucket, "survey"),
            storage__s3={"endpoint_url": endpoint},
            inference__estimator=survey.config.inference.estimator,
        )
        use_options(quiet.storage_options)
        files, location = find_filesystem(quiet.locations.survey)
        files.put(survey.config.locations.survey, location, recursive=True)
        config = change(quiet, storage__s3={"endpoint_url": proxy.endpoint}, engine__name=engine)
        use_options(config.storage_options)
        proxy.go_away(after=100, seconds=20)
        assert ingest_tiles(config, find_survey(config), choose(config)) == 0
        partition(config)
        use_options(quiet.storage_options)
        report = read_json(join(quiet.locations.tiles, "ingest.json"))
        assert report["counts"] == {"done": len(TILES), "skipped": 0, "failed": 0}
        assert proxy.failures["503"] > 10
        check(survey, quiet, tally, f"ingest, {engine}: store away for 20 s", times=sum(proxy.failures.values()))


def test_the_disk_is_full(
    survey: ManyPartitions, config: Config, small_disk: SmallDisk, tally: Tally, tmp_path: Path, engine: str
) -> None:
    config = settle(config, str(small_disk.folder))
    changed = change(config, engine__name=engine)
    small_disk.leave(400 << 10)
    assert start_job(JOB, config, tmp_path, engine).wait() == 2
    (said,) = (line for line in (tmp_path / "run.log").read_text().splitlines() if line.startswith("error: "))
    # Of tiles or of sources: whichever came to the last free block first, on the engine at hand.
    assert f"no room left on the disk of '{small_disk.folder}/" in said
    assert "make room and run the job again" in said
    assert 0 < len(list_tiles(config.locations.tiles)) < len(TILES)
    small_disk.make_room()
    results = list(run_tasks(partial(ingest_tile, changed), find_survey(config), choose(changed), label="tiles"))
    assert [outcome.problem for outcome in results] == [""] * len(TILES)
    small_disk.leave(50 << 10)
    with pytest.raises(CatalogueError, match="could not be partitioned"):
        partition(config)
    small_disk.make_room()
    partition(config)
    check(survey, config, tally, f"ingest, {engine}: disk full twice, each time run again", times=2)
