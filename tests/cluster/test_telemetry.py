"""What a run says of itself: its record's figures, its progress line, and the metrics that Ray exports."""

import os
import shutil
import socket
import time
import urllib.request
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty import SlowDown, inject
from runs import ManyPartitions, change, make_survey, name_tiles

from cluster.inference.run import infer_catalogue
from cluster.telemetry import Progress, RunTelemetry
from photoz.catalogue.records import Record
from photoz.settings.config import Config
from photoz.storage import list_folder, read_json
from photoz.telemetry import count, gather, timed

*WHOLE, LOST = name_tiles(5)
HALF_MS = 6e-4
"""[s] what rounding to a millisecond may change, and a little more."""


class Clock:
    """Stands in for the module `time`, and goes on when it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = time = monotonic


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in ("cluster.telemetry", "photoz.telemetry"):
        monkeypatch.setattr(f"{module}.time", made)
    return made


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    """A partition of nine galaxies a tile; one tile has been lost."""
    made = make_survey(tmp_path_factory.mktemp("telemetry"), (*WHOLE, LOST))
    shutil.rmtree(locate_tile(made.config, LOST))
    return made


@pytest.fixture(scope="module")
def finished(survey: ManyPartitions) -> Config:
    infer_catalogue(survey.config)
    return survey.config


@pytest.fixture(scope="module")
def this_run(finished: Config) -> dict[str, Any]:
    """The figures of a run by the serial engine, as they stand in its record."""
    return read_figures(finished)


def locate_tile(config: Config, name: str) -> Path:
    return Path(config.locations.tiles) / f"KIDS_{name}.zarr"


def read_figures(config: Config) -> dict[str, Any]:
    figures: dict[str, Any] = read_json(f"{config.locations.catalogue}/run/run.json")["this_run"]
    return figures


def read_records(config: Config) -> list[Record]:
    return [Record(**read_json(file)) for file in list_folder(f"{config.locations.catalogue}/run/records", "*.json")]


def add_up(records: list[Record], name: str) -> float:
    return sum(record.sums.get(name, 0) for record in records)


def approx_fraction(records: list[Record], seconds: float) -> Any:
    """Return what share of a run a process estimated; ``seconds`` is rounded to 1e-3, the share to 1e-4."""
    busy = add_up(records, "estimate_stage_s")
    return pytest.approx(busy / seconds, rel=HALF_MS / seconds, abs=6e-5)


def test_counts_and_rates(survey: ManyPartitions, this_run: dict[str, Any]) -> None:
    assert this_run["partitions"] == 5
    assert this_run["galaxies"] == len(survey.object_ids) == 45
    assert this_run["galaxies_per_second"] == pytest.approx(45 / this_run["seconds"], rel=0.01, abs=0.06)
    assert this_run["quarantined"] == 1
    assert this_run["retried_partitions"] == this_run["rerun_after_lost_worker"] == 0


def test_seconds_of_every_stage(finished: Config, this_run: dict[str, Any]) -> None:
    seconds, total = this_run["stage_seconds"], this_run["seconds"]
    within_estimate = {"prepare", "forward", "pdf"}
    assert seconds.keys() == {"read", "decode", *within_estimate, "read_stage", "estimate_stage", "write_stage"}
    records = read_records(finished)
    for name, value in seconds.items():
        exact = add_up(records, f"{name}_s")
        assert 0 < exact < np.inf
        assert value == pytest.approx(exact, abs=HALF_MS)
    assert sum(seconds[name] for name in within_estimate) <= seconds["estimate_stage"] + 4 * HALF_MS
    assert seconds["read"] + seconds["decode"] <= seconds["read_stage"] + 3 * HALF_MS
    assert seconds["read_stage"] <= total + HALF_MS  # in a thread of its own, beside the other two
    assert seconds["estimate_stage"] + seconds["write_stage"] <= total + 3 * HALF_MS
    assert seconds["forward"] > 0.1 * seconds["estimate_stage"]


def test_each_byte_of_a_tile_is_read_once(finished: Config, this_run: dict[str, Any]) -> None:
    """Their galaxies lie all over these small tiles, so that everything that is stored must be read."""
    files = [file for name in WHOLE for file in locate_tile(finished, name).rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    assert add_up(read_records(finished), "bytes_read") == size > len(WHOLE) * 64 * 64 * 4 * 4
    assert this_run["bytes_read_per_galaxy"] == round(size / 45, 1)


def test_requests(finished: Config, this_run: dict[str, Any]) -> None:
    """A tile takes three for what describes it, one for its mask, one for its shard's index and 1 to 4 for chunks."""
    requests = add_up(read_records(finished), "requests")
    assert 6 * len(WHOLE) <= requests <= 9 * len(WHOLE)
    assert this_run["requests_per_galaxy"] == round(requests / 45, 3)


def test_the_one_process_and_how_busy_it_was(finished: Config, this_run: dict[str, Any]) -> None:
    process = f"{socket.gethostname()}:{os.getpid()}"
    assert this_run["busy_fraction"].keys() == {process}
    assert this_run["busy_fraction"][process] == approx_fraction(read_records(finished), this_run["seconds"])
    assert 0 < this_run["busy_fraction"][process] <= 1


def test_a_run_with_nothing_but_the_lost_tile_to_do(finished: Config, tmp_path: Path) -> None:
    shutil.copytree(finished.locations.catalogue, tmp_path / "catalogue")
    config = change(finished, locations__catalogue=str(tmp_path / "catalogue"))
    infer_catalogue(config)
    figures = read_figures(config)
    assert (figures["partitions"], figures["galaxies"], figures["quarantined"]) == (1, 9, 1)
    assert (figures["bytes_read_per_galaxy"], figures["requests_per_galaxy"]) == (0, 0)


@pytest.mark.slow
def test_how_busy_each_worker_of_dask_was(
    survey: ManyPartitions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = change(
        survey.config, engine__name="dask", engine__workers=2, locations__catalogue=str(tmp_path / "catalogue")
    )
    inject(monkeypatch, SlowDown(0.3))
    infer_catalogue(config)
    figures, records = read_figures(config), read_records(config)
    by_worker = {name: [each for each in records if each.estimator == name] for name in figures["busy_fraction"]}
    assert len(by_worker) == 2
    assert f"{socket.gethostname()}:{os.getpid()}" not in by_worker
    assert sum(len(mine) for mine in by_worker.values()) == len(records) == 5
    for name, mine in by_worker.items():
        assert figures["busy_fraction"][name] == approx_fraction(mine, figures["seconds"])
        assert 0.3 * len(mine) / figures["seconds"] <= figures["busy_fraction"][name] + 1e-3
        assert figures["busy_fraction"][name] <= 1
    assert figures["stage_seconds"]["estimate_stage"] >= 5 * 0.3


def make_record(pixel: int, rows: int, estimator: str, *, shared: bool = False, **sums: float) -> Record:
    problems: list[dict[str, str | int]] = [{"stage": "read"}] * (pixel % 3)
    return Record(1, pixel, "key", rows, rows, "sha", problems=problems, sums=sums, estimator=estimator, shared=shared)


def test_the_sums_of_a_run(clock: Clock) -> None:
    telemetry = RunTelemetry()
    telemetry.expect(5)
    telemetry.add(make_record(1, 10, "a:1", estimate_stage_s=1.0, forward_s=0.5, bytes_read=1000, requests=5))
    telemetry.add(make_record(2, 20, "b:2", estimate_stage_s=2.0, forward_s=1.5, bytes_read=3500, requests=6))
    telemetry.add(make_record(3, 10, "a:1", estimate_stage_s=3.0, read_s=0.25, bytes_read=500, requests=4, reruns=1))
    telemetry.add(make_record(4, 99, "c:3", shared=True))  # another run did it
    telemetry.add(make_record(5, 10, "b:2", shared=True, reruns=2))  # this one did it, and then lost its worker
    for _ in range(3):
        telemetry.retry()
    clock.now += 8.0
    assert asdict(telemetry.summarize()) == {
        "seconds": 8.0,
        "partitions": 4,
        "galaxies": 50,
        "galaxies_per_second": 6.2,  # 6.25, rounded to even
        "retried_partitions": 3,
        "rerun_after_lost_worker": 3,
        "quarantined": 1 + 2 + 0 + 2,
        "stage_seconds": {"estimate_stage": 6.0, "forward": 2.0, "read": 0.25},
        "bytes_read_per_galaxy": 100.0,
        "requests_per_galaxy": 0.3,
        "busy_fraction": {"a:1": 0.5, "b:2": 0.25},
    }


def test_the_figures_of_a_run_that_found_nothing_to_do(clock: Clock) -> None:
    telemetry = RunTelemetry()
    telemetry.expect(0)
    clock.now += 4.0
    figures = asdict(telemetry.summarize())
    assert (figures.pop("seconds"), figures.pop("stage_seconds"), figures.pop("busy_fraction")) == (4.0, {}, {})
    assert set(figures.values()) == {0}


def test_the_progress_line(clock: Clock) -> None:
    progress = Progress(10, "partitions", retried=3)
    for quarantined in (0, 2, 0, 0):
        clock.now += 5.0
        progress.advance(galaxies=1000, quarantined=quarantined)
    assert progress.describe() == (
        "4/10 partitions, 4,000 galaxies, 200/s, 3 retried, 2 quarantined, 20 s so far, about 30 s left"
    )


def test_the_progress_line_leaves_out_what_there_is_none_of(clock: Clock) -> None:
    progress = Progress(4, "tiles")
    clock.now += 12.0
    progress.advance()
    assert progress.describe() == "1/4 tiles, 12 s so far, about 36 s left"


def test_a_line_is_logged_every_ten_seconds_and_at_the_end(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress(4, "tiles")
    with caplog.at_level("INFO"):
        for pause in (1.0, 10.0, 1.0, 1.0):
            clock.now += pause
            progress.advance()
    lines = [each.getMessage() for each in caplog.records if each.name == "cluster.telemetry"]
    assert lines == ["2/4 tiles, 11 s so far, about 11 s left", "4/4 tiles, 13 s so far, about 0 s left"]


def test_seconds_add_up_within_gather_alone(clock: Clock) -> None:
    def work(seconds: float) -> None:
        with timed("forward"):
            clock.now += seconds

    def fail() -> None:
        with timed("forward"):
            clock.now += 4.0
            raise ValueError

    work(1.0)
    with gather() as sums:
        work(2.0)
        with gather() as inner:
            work(16.0)
        with pytest.raises(ValueError):  # noqa: PT011 - ours
            fail()
        count("requests", 2)
        count("requests", 3)
    work(8.0)
    assert sums == {"forward_s": 2.0 + 4.0, "requests": 5}
    assert inner == {"forward_s": 16.0}


Metrics = dict[tuple[str, str], float]
"""Name and, where it has one, stage or estimator -> value."""


def scrape() -> Metrics:
    """Read what the driver's node shows Prometheus of this process."""
    import ray
    from prometheus_client.parser import text_string_to_metric_families

    context = ray.get_runtime_context()
    node = next(each for each in ray.nodes() if each["NodeID"] == context.get_node_id())
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=20) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        (sample.name, sample.labels.get("stage", "") or sample.labels.get("estimator", "")): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("WorkerId") == context.get_worker_id()
    }


def read_metrics() -> Metrics:
    """Read this process's metrics as they are now: when Ray has come to export a mark, it has what was set before."""
    from ray.util.metrics import Gauge

    mark = time.time()
    Gauge("telemetry_test_mark", "When metrics were asked for").set(mark)
    deadline, found = time.monotonic() + 60, Metrics()
    while found.get(("ray_telemetry_test_mark", "")) != mark:
        assert time.monotonic() < deadline, "Ray does not export its metrics"
        time.sleep(0.5)
        found = scrape()
    time.sleep(0.5)  # of one export, the mark may be taken in first
    return found | scrape()


@pytest.mark.slow
def test_prometheus_is_shown_what_the_record_says(survey: ManyPartitions, ray_cluster: None, tmp_path: Path) -> None:
    """Counters go on from earlier runs of this process, so what counts is by how much they have grown."""
    config = change(survey.config, engine__name="ray", locations__catalogue=str(tmp_path / "catalogue"))
    before = read_metrics()
    infer_catalogue(config)
    after = read_metrics()
    figures, records = read_figures(config), read_records(config)

    grown = {key: value - before.get(key, 0.0) for key, value in after.items()}
    assert grown["ray_photoz_partitions_done_total", ""] == figures["partitions"] == 5
    assert grown["ray_photoz_galaxies_done_total", ""] == pytest.approx(45, abs=1e-6)
    assert grown["ray_photoz_quarantined_total", ""] == figures["quarantined"] == 1
    assert grown["ray_photoz_bytes_read_total", ""] == pytest.approx(add_up(records, "bytes_read"))
    assert figures["bytes_read_per_galaxy"] == pytest.approx(grown["ray_photoz_bytes_read_total", ""] / 45, abs=0.06)
    stages = {
        stage: value for (name, stage), value in grown.items() if name == "ray_photoz_stage_seconds_total" and value
    }
    assert stages == pytest.approx(figures["stage_seconds"], abs=HALF_MS)

    # Set when the last partition was done; the record is made a little later.
    assert after["ray_photoz_partitions_remaining", ""] == 0
    rate = after["ray_photoz_galaxies_per_second", ""]
    assert figures["galaxies_per_second"] <= rate
    by_process = {name: [each for each in records if each.estimator == name] for name in figures["busy_fraction"]}
    assert len(by_process) == config.engine.estimators == 1
    for name, mine in by_process.items():
        assert figures["busy_fraction"][name] == approx_fraction(mine, figures["seconds"])
        fraction = after["ray_photoz_busy_fraction", name]
        assert figures["busy_fraction"][name] <= fraction <= 1
        assert fraction == pytest.approx(add_up(mine, "estimate_stage_s") * rate / 45, abs=2e-4, rel=0.06 / rate)


@pytest.mark.slow
def test_a_run_that_stands_still_keeps_its_gauges(ray_cluster: None) -> None:
    """Ray forgets a gauge that has not been set for some 20 s, and the alert on stalled runs asks for it."""
    telemetry = RunTelemetry()
    telemetry.expect(7)
    with telemetry.keep_telling():
        time.sleep(35)
        assert read_metrics()["ray_photoz_partitions_remaining", ""] == 7
