"""What `jobs/status.py` tells of a run that is at work, was killed, or is finished: from its files alone."""

import logging
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from other_runs import keep_beating
from runs import ManyPartitions, change, make_survey, name_tiles, write_toml

import cluster.lock
from cluster.command import main
from cluster.inference.run import infer_catalogue
from cluster.lock import hold_lock
from cluster.status import format_status, read_status
from photoz.catalogue.hats import list_partitions, locate_partition, locate_primary
from photoz.catalogue.records import locate_in_run, locate_record
from photoz.errors import CatalogueError, PhotozError
from photoz.settings.config import Config
from photoz.storage import join, read_json, remove, write_json

JOB = Path(__file__).parents[2] / "jobs" / "status.py"


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    """Four partitions; a damaged tile costs one of them its images."""
    made = make_survey(tmp_path_factory.mktemp("status"), name_tiles(4), run={"name": "status"})
    shutil.rmtree(f"{made.config.locations.tiles}/KIDS_180.5_-0.5.zarr/image")
    infer_catalogue(change(made.config, engine__retries=0))
    return made


@pytest.fixture
def config(survey: ManyPartitions, tmp_path: Path) -> Config:
    """Settings of a copy of the catalogue, to be changed at will."""
    shutil.copytree(survey.config.locations.catalogue, tmp_path / "catalogue")
    return change(survey.config, locations__catalogue=str(tmp_path / "catalogue"))


def lose(config: Config, partitions: int) -> None:
    """Take the run back to where some partitions were to do."""
    for partition in list_partitions(config.locations.sources)[:partitions]:
        remove(locate_record(config.locations.catalogue, partition))
    remove(join(config.locations.catalogue, "collection.properties"))


def test_a_finished_run(config: Config, survey: ManyPartitions) -> None:
    status = read_status(config.locations)
    assert (status.state, status.done, status.total) == ("finished", 4, 4)
    record = read_json(locate_in_run(config.locations.catalogue, "run.json"))
    assert (status.rows, status.estimated) == (record["rows"], record["estimated"])
    assert status.rows == len(survey.object_ids)
    assert len(status.problems) == record["failures"] > 0
    assert status.stage_seconds.keys() == {"read", "estimate", "write"}
    assert 0 <= time.time() - status.last_done < 600
    text = format_status(status)
    assert "4 of 4 done (100%), 0 to do" in text
    assert "KIDS_180.5_-0.5 (read, " in text
    assert "audit:          not made" in text


def test_a_run_at_work_and_a_dead_one(config: Config) -> None:
    lose(config, 3)
    folder = locate_in_run(config.locations.catalogue)
    with hold_lock(folder):
        status = read_status(config.locations)
        lock = read_json(join(folder, "lock.json"))
    assert (status.state, status.done, status.total) == ("running", 1, 4)
    assert f"running: process {lock['process']} on {lock['host']}\n" in format_status(status)
    assert read_status(config.locations).state == "unfinished"
    assert "nobody is at work on it" in format_status(read_status(config.locations))
    write_json(join(folder, "lock.json"), lock | {"process": 2**22 + 1, "beat": time.time() - 7200})
    status = read_status(config.locations)
    assert status.state == "unfinished"
    text = format_status(status)
    assert "last sign of life 2 hours ago by its host's clock, is dead; start the job again to go on" in text


@pytest.mark.parametrize("clock", [-3600.0, -45.0, 45.0, 3600.0])
def test_another_hosts_clock_says_nothing(config: Config, monkeypatch: pytest.MonkeyPatch, clock: float) -> None:
    """A run is at work while its beat changes, whatever time it tells, and no longer."""
    monkeypatch.setattr(cluster.lock, "SECONDS_TO_EXPIRE", 2.0)
    monkeypatch.setattr(cluster.lock, "_SECONDS_BETWEEN_LOOKS", 0.1)
    lose(config, 1)
    with keep_beating(locate_in_run(config.locations.catalogue), clock=clock):
        assert read_status(config.locations).state == "running"
    status = read_status(config.locations)
    assert status.state == "unfinished"
    assert "its process 1 on elsewhere, last sign of life" in format_status(status)


def test_a_watch_ends_with_the_run_and_shows_the_sky(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_toml(config, tmp_path / "run.toml")
    lose(config, 1)
    root = logging.getLogger()
    # A command sets up the log of its process.
    monkeypatch.setattr(root, "handlers", root.handlers[:])
    monkeypatch.setattr(root, "level", root.level)
    held = threading.Event()

    def work() -> None:
        with hold_lock(locate_in_run(config.locations.catalogue)):
            held.set()
            time.sleep(1.5)

    run = threading.Thread(target=work)
    run.start()
    held.wait()
    assert main(["status", "--config", str(tmp_path / "run.toml"), "--watch", "0.5"]) == 1
    run.join()
    told = capsys.readouterr().out
    assert told.count("running: process") >= 2
    assert told.count("state:          unfinished") == 1
    last = told.rpartition("audit:")[2]
    assert "█" in last
    assert "·" in last
    assert "east to the left" in last


def test_the_run_leaves_a_page_of_itself(config: Config) -> None:
    page = Path(locate_in_run(config.locations.catalogue, "index.html"))
    for lost in (0, 2):
        lose(config, lost)
        # The damaged tile's partition is tried again by each run.
        infer_catalogue(change(config, engine__retries=0))
        told = page.read_text()
        assert "4 of 4 partitions done" in told
        assert ": finished</h1>" in told
        assert "KIDS_180.5_-0.5" in told
        assert "http-equiv" not in told


def test_a_run_that_fails_says_so_on_its_page(config: Config) -> None:
    lose(config, 1)
    (partition,) = list_partitions(config.locations.sources)[:1]
    source = Path(locate_partition(locate_primary(config.locations.sources), partition))
    kept = source.read_bytes()
    source.write_bytes(b"no table")
    try:
        with pytest.raises(PhotozError):
            infer_catalogue(change(config, engine__retries=0))
    finally:
        source.write_bytes(kept)
    assert "stopped by an error" in Path(locate_in_run(config.locations.catalogue, "index.html")).read_text()


def test_half_written_records_do_not_count(config: Config) -> None:
    partition = list_partitions(config.locations.sources)[0]
    Path(locate_record(config.locations.catalogue, partition)).write_text('{"order": 3, "pix')
    status = read_status(config.locations)
    assert (status.state, status.done) == ("unfinished", 3)


def test_a_run_of_another_source_catalogue_counts_only_its_own(config: Config) -> None:
    lost = change(config, locations__sources=str(Path(config.locations.catalogue).parent / "gone"))
    status = read_status(lost.locations)
    assert (status.state, status.done, status.total) == ("finished", 4, 4)  # the run record tells how many there were
    remove(locate_in_run(config.locations.catalogue, "run.json"))
    assert read_status(lost.locations).total is None
    assert "4 done, of an unknown number" in format_status(read_status(lost.locations))


def test_where_no_run_has_begun(survey: ManyPartitions, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="no run has begun"):
        read_status(change(survey.config, locations__catalogue=str(tmp_path / "nothing")).locations)


def test_the_job_ends_with_the_state(config: Config, tmp_path: Path) -> None:
    def run() -> tuple[int, str]:
        command = [sys.executable, str(JOB), "--config", str(tmp_path / "run.toml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout

    write_toml(config, tmp_path / "run.toml")
    assert run()[0] == 0
    lose(config, 1)
    status, output = run()
    assert status == 1
    assert "3 of 4 done (75%), 1 to do" in output
