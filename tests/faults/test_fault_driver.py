"""The job itself killed, ten times over, and submitted again."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_places import Place, assert_nothing_half_written
from fault_table import Tally
from killed_jobs import kill_when, start_job
from runs import ManyPartitions, assert_same_rows, change, make_survey, name_tiles, read_all

from cluster.inference.run import infer_catalogue
from cluster.local import Head, start_head
from photoz.catalogue.records import locate_in_run
from photoz.settings.config import Config
from photoz.storage import list_folder, read_json, remove

pytestmark = pytest.mark.faults

KILLS = 10
JOB = "infer_dr4.py"


@pytest.fixture(scope="module")
def survey(place: Place, tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    settings = place.settle("survey") | {"run": {"name": "driver"}}
    made = make_survey(tmp_path_factory.mktemp("driver"), name_tiles(24), **settings)
    infer_catalogue(made.config)
    return made


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with start_head(cpus=3) as head:
        yield head


def count_records(config: Config) -> int:
    return len(list_folder(locate_in_run(config.locations.catalogue, "records"), "N*.json"))


def works(config: Config, process: int) -> bool:
    """Tell whether a process holds the output's lock."""
    try:
        return bool(read_json(locate_in_run(config.locations.catalogue, "lock.json"))["process"] == process)
    except FileNotFoundError:
        return False


def test_the_driver_killed_ten_times(
    survey: ManyPartitions, head: Head, tally: Tally, tmp_path: Path, output: str
) -> None:
    """Each time another engine goes on with what is there; after a run that ends before its kill all begins anew."""
    config = change(survey.config, locations__catalogue=output)
    log = tmp_path / "run.log"
    chance = random.Random(3)
    expected = read_all(survey.config.locations.catalogue)
    kills, starts = 0, 0
    while kills < KILLS:
        starts += 1
        job = start_job(JOB, config, tmp_path, ("serial", "ray", "dask")[starts % 3], head=head)
        target = count_records(config) + chance.randint(0, 3)
        ready = lambda job=job, target=target: works(config, job.pid) and count_records(config) >= target  # noqa: E731
        if kill_when(job, ready, chance.uniform(0.0, 0.5)):
            kills += 1
            continue
        assert job.returncode == 0, log.read_text()
        assert_same_rows(read_all(config.locations.catalogue), expected)
        remove(config.locations.catalogue)
        assert starts < 3 * KILLS
    assert start_job(JOB, config, tmp_path, "serial", head=head).wait(timeout=300) == 0, log.read_text()
    tally.check("driver killed at random and submitted again", config, survey.object_ids, times=kills)
    assert_same_rows(read_all(config.locations.catalogue), expected)
    assert_nothing_half_written(output)
