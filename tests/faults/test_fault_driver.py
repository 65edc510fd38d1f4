"""The job itself killed, ten times over, and submitted again."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_places import Place, assert_nothing_half_written
from fault_table import Tally
from runs import ManyPartitions, assert_same_rows, change, make_survey, name_tiles, read_all, write_toml

from cluster.infer import infer_catalogue
from cluster.ledger import RUN_FOLDER
from cluster.local import Head, start_head
from photoz.config import Config
from photoz.storage import join, list_files, read_json, remove

pytestmark = pytest.mark.faults

KILLS = 10
JOB = Path(__file__).parents[2] / "jobs" / "infer_dr4.py"


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


class Job:
    """The job in a process of its own, as a user starts it."""

    def __init__(self, config: Config, settings: Path, head: Head, engine: str) -> None:
        self._run = join(config.locations.catalogue, RUN_FOLDER)
        self.log = settings.with_suffix(".log")
        write_toml(config, settings)
        command = [sys.executable, str(JOB), "--config", str(settings), "--set", f"engine.name={engine}"]
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(
            command, env=head.environment, stdout=self._output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def kill_when(self, records: int, pause: float) -> bool:
        """Kill it a moment after so many more partitions are done; tell whether it was still alive."""
        target = self.count_records() + records
        while self._process.poll() is None and not (self._works() and self.count_records() >= target):
            time.sleep(0.02)
        time.sleep(pause)
        alive = self._process.poll() is None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._output.close()
        return alive

    def wait(self) -> int:
        status = self._process.wait(timeout=300)
        self._output.close()
        return status

    @property
    def status(self) -> int | None:
        return self._process.returncode

    def count_records(self) -> int:
        return len(list_files(join(self._run, "records", "N*.json")))

    def _works(self) -> bool:
        try:
            lock = read_json(join(self._run, "lock.json"))
        except FileNotFoundError:
            return False
        return bool(lock["process"] == self._process.pid)


def test_the_driver_killed_ten_times(
    survey: ManyPartitions, head: Head, tally: Tally, tmp_path: Path, output: str
) -> None:
    """Each time another engine goes on with what is there; after a run that ends before its kill all begins anew."""
    config = change(survey.config, locations__catalogue=output)
    chance = random.Random(3)
    expected = read_all(survey.config.locations.catalogue)
    kills, starts = 0, 0
    while kills < KILLS:
        starts += 1
        engine = ("serial", "ray", "dask")[starts % 3]
        job = Job(config, tmp_path / "run.toml", head, engine)
        if job.kill_when(chance.randint(0, 3), chance.uniform(0.0, 0.5)):
            kills += 1
            continue
        assert job.status == 0, job.log.read_text()
        assert_same_rows(read_all(config.locations.catalogue), expected)
        remove(config.locations.catalogue)
        assert starts < 3 * KILLS
    assert Job(config, tmp_path / "run.toml", head, "serial").wait() == 0, (tmp_path / "run.log").read_text()
    tally.check("driver killed at random and submitted again", config, survey.object_ids, times=kills)
    assert_same_rows(read_all(config.locations.catalogue), expected)
    assert_nothing_half_written(output)
