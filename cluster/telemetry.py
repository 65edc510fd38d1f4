"""Progress of long work, told in the log (inside jobs Ray shows none of its own) and as Ray metrics."""

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from photoz.catalogue.hats import Partition
from photoz.catalogue.records import Record
from photoz.telemetry import Pace

logger = logging.getLogger(__name__)

# Ray forgets gauges that are not told again after some 20 s.
_SECONDS_BETWEEN_GAUGES = 5.0
_PROBLEMS_KEPT = 20


@dataclass(frozen=True)
class RunFigures:
    """What a run measured about itself alone; earlier runs on its output may have done a part.

    Parameters
    ----------
    seconds : float
        [s] since it began.
    partitions, galaxies : int
        Done by itself.
    galaxies_per_second : float
    retried_partitions, rerun_after_lost_worker, quarantined : int
        As in `RunTelemetry.retried`, `RunTelemetry.lose`, and tiles and rows set aside.
    stage_seconds : dict of str to float
        [s] by stage, over all workers.
    bytes_read_per_galaxy, requests_per_galaxy : float
    busy_fraction : dict of str to float
        Of each estimator: host and process -> share of the run's time in which it estimated.
    """

    seconds: float
    partitions: int
    galaxies: int
    galaxies_per_second: float
    retried_partitions: int
    rerun_after_lost_worker: int
    quarantined: int
    stage_seconds: dict[str, float]
    bytes_read_per_galaxy: float
    requests_per_galaxy: float
    busy_fraction: dict[str, float]


class Progress:
    """Count finished tasks and galaxies, and log done/total, rate and time left as `Pace` does.

    Parameters
    ----------
    total : int
        Number of tasks.
    label : str
        What the tasks are ("partitions").
    retried : int, optional
        Times that tasks have raised before, and are now tried again.
    """

    def __init__(self, total: int, label: str, *, retried: int = 0) -> None:
        self._total = total
        self._label = label
        # Each pass over what is left has a `Progress` of its own: what failed in those before it counts on.
        self._counts = Counter(retried=retried)
        self._start = time.monotonic()
        self._pace = Pace(logger)

    def advance(self, *, galaxies: int = 0, quarantined: int = 0) -> None:
        """Count one more finished task with this many galaxies and things set aside."""
        self._counts.update(done=1, galaxies=galaxies, quarantined=quarantined)
        # The last line in any case, or the log would end before the work does.
        self._pace.tell(self.describe, last=self._counts["done"] == self._total)

    def retry(self) -> None:
        """Count a task that raised and will be tried again."""
        self._counts["retried"] += 1

    def describe(self) -> str:
        """Return the progress as one line."""
        done, galaxies = self._counts["done"], self._counts["galaxies"]
        elapsed = max(time.monotonic() - self._start, 1e-9)
        # By the mean so far, however much partitions differ in size.
        left = elapsed * (self._total - done) / max(done, 1)
        line = f"{done}/{self._total} {self._label}"
        if galaxies:
            line += f", {galaxies:,} galaxies, {galaxies / elapsed:,.0f}/s"
        for name in ("retried", "quarantined"):
            if self._counts[name]:
                line += f", {self._counts[name]} {name}"
        return f"{line}, {elapsed:.0f} s so far, about {left:.0f} s left"


@dataclass(frozen=True)
class Look:
    """What a run has done so far, for who looks on.

    Parameters
    ----------
    figures : RunFigures
    done : frozenset of Partition
        Done by it or, since it began, by a run beside it.
    rows, estimated : int
        In these, and with a redshift.
    problems : tuple of dict
        Tiles and rows set aside in these, as in ``run/failures.parquet``; of many those that cost most rows.
    """

    figures: RunFigures
    done: frozenset[Partition]
    rows: int
    estimated: int
    problems: tuple[dict[str, str | int], ...]


class RunTelemetry:
    """What a run measured about itself: sums over the partitions it did, for its record and for Ray's metrics."""

    def __init__(self) -> None:
        # For the record; what is a duration comes from a clock that nobody sets.
        self.started = time.time()
        self._start = time.monotonic()
        self._counts = Counter[str]()
        self._sums: dict[str, float] = {}
        self._busy: dict[str, float] = {}
        self._done: set[Partition] = set()
        self._problems: list[dict[str, str | int]] = []
        self._metrics = _make_ray_metrics()
        self._lock = threading.Lock()  # between who adds and who keeps telling

    @property
    def partitions(self) -> int:
        """Partitions this run did itself."""
        return self._counts["partitions"]

    @property
    def retried(self) -> int:
        """Partitions that raised and were tried again, each time counted.

        Not among them: requests that the store's client repeats by itself, and what the engine runs again because a
        worker was lost (`lose`; on Ray the ``reruns`` of a record, stages that had begun before).
        """
        return self._counts["retried"]

    @contextmanager
    def keep_telling(self) -> Iterator[None]:
        """Tell Ray the gauges every few seconds within the block: it forgets those that are not told again.

        After some 20 s (seen with Ray 2.60), so that a run that stands still would have none, and set off no alert.
        """
        # Waited for in place of sleeping, so that the end of the block need not wait for the next beat.
        over = threading.Event()

        def tell() -> None:
            while not over.wait(_SECONDS_BETWEEN_GAUGES):
                self._tell_gauges()

        thread = threading.Thread(target=tell, daemon=True)
        # Outside of Ray there is nobody to tell.
        if self._metrics:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if self._metrics:
                thread.join()

    def expect(self, partitions: int) -> None:
        """Say how many partitions are to do, this one's share of them or another run's."""
        self._counts["remaining"] = partitions
        self._tell_gauges()

    def retry(self) -> None:
        """Count a partition that raised."""
        self._counts["retried"] += 1
        if self._metrics:
            self._metrics["photoz_retried"].inc(1)

    def lose(self, reruns: int) -> None:
        """Count work that the engine began again because a worker was lost."""
        self._counts["reruns"] += reruns

    def add(self, record: Record) -> None:
        """Add a finished partition, unless another run finished it.

        One that was found finished when a stage began again was finished by this run before its worker was lost.
        """
        with self._lock:
            self._counts["remaining"] = max(self._counts["remaining"] - 1, 0)
            self._done.add(record.partition)
            self._counts.update(all_rows=record.rows, estimated=record.estimated)
            # A few: every row of a survey may have a problem.
            told = sorted([*self._problems, *record.problems], key=lambda problem: -int(problem.get("rows", 0)))
            self._problems[:] = told[:_PROBLEMS_KEPT]
            # What another run did is no rate of this one's.
            if not record.shared or record.sums.get("reruns"):
                self._add_own(record)
        # Outside of the lock, which it takes itself and which one thread cannot hold twice.
        self._tell_gauges()

    def _add_own(self, record: Record) -> None:
        self._counts.update(
            partitions=1,
            galaxies=record.rows,
            quarantined=len(record.problems),
            reruns=int(record.sums.get("reruns", 0)),
        )
        for name, amount in record.sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + amount
        busy = record.sums.get("estimate_stage_s", 0.0)
        self._busy[record.estimator] = self._busy.get(record.estimator, 0.0) + busy
        self._tell_ray(record)

    def look(self) -> Look:
        """Return what has been done so far."""
        with self._lock:
            counts, done, problems = self._counts, frozenset(self._done), tuple(self._problems)
            return Look(self.summarize(), done, counts["all_rows"], counts["estimated"], problems)

    def summarize(self) -> RunFigures:
        """Return the run's own figures so far."""
        elapsed = max(time.monotonic() - self._start, 1e-9)
        # A run that found all done read nothing: 0 bytes a galaxy, not 0 / 0.
        galaxies = max(self._counts["galaxies"], 1)
        return RunFigures(
            seconds=round(elapsed, 3),
            partitions=self.partitions,
            galaxies=self._counts["galaxies"],
            galaxies_per_second=round(self._counts["galaxies"] / elapsed, 1),
            retried_partitions=self.retried,
            rerun_after_lost_worker=self._counts["reruns"],
            quarantined=self._counts["quarantined"],
            stage_seconds={
                name.removesuffix("_s"): round(value, 3) for name, value in self._sums.items() if name.endswith("_s")
            },
            bytes_read_per_galaxy=round(self._sums.get("bytes_read", 0) / galaxies, 1),
            requests_per_galaxy=round(self._sums.get("requests", 0) / galaxies, 3),
            busy_fraction={name: round(value / elapsed, 4) for name, value in self._busy.items()},
        )

    def _tell_gauges(self) -> None:
        if not self._metrics:
            return
        # `summarize` goes through dictionaries that `add` may be adding to in another thread.
        with self._lock:
            figures = self.summarize()
        self._metrics["photoz_partitions_remaining"].set(self._counts["remaining"])
        self._metrics["photoz_galaxies_per_second"].set(figures.galaxies_per_second)
        for name, fraction in figures.busy_fraction.items():
            self._metrics["photoz_busy_fraction"].set(fraction, tags={"estimator": name})

    def _tell_ray(self, record: Record) -> None:
        if not self._metrics:
            return
        self._metrics["photoz_partitions_done"].inc(1)
        # Ray's counters refuse 0, which a partition without rows has.
        self._metrics["photoz_galaxies_done"].inc(max(record.rows, 1e-9))
        counts = {name: record.sums.get(name, 0) for name in ("reruns", "bytes_read")}
        # With the same refusal: a 0 is not told.
        for name, value in (counts | {"quarantined": len(record.problems)}).items():
            if value:
                self._metrics[f"photoz_{name}"].inc(value)
        for name, value in record.sums.items():
            if name.endswith("_s") and value > 0:
                self._metrics["photoz_stage_seconds"].inc(value, tags={"stage": name.removesuffix("_s")})


def _make_ray_metrics() -> dict[str, Any]:
    """Make the run's Ray metrics, which Ray exports to Prometheus; none outside Ray."""
    if "ray" not in sys.modules:  # importing it takes seconds, which other engines need not wait
        return {}
    import ray

    if not ray.is_initialized():
        return {}
    from ray.util.metrics import Counter as RayCounter
    from ray.util.metrics import Gauge

    # Their names are those of deploy/monitoring/alerts.yaml, where Ray's prefix ray_ stands before them.
    return {
        "photoz_partitions_done": RayCounter("photoz_partitions_done", "Partitions finished"),
        "photoz_partitions_remaining": Gauge("photoz_partitions_remaining", "Partitions to do"),
        "photoz_galaxies_done": RayCounter("photoz_galaxies_done", "Galaxies in finished partitions"),
        "photoz_quarantined": RayCounter("photoz_quarantined", "Tiles and rows set aside"),
        "photoz_retried": RayCounter("photoz_retried", "Partitions that raised, each time counted"),
        "photoz_reruns": RayCounter("photoz_reruns", "Stages of partitions begun again after a worker was lost"),
        "photoz_bytes_read": RayCounter("photoz_bytes_read", "Bytes of pixels read"),
        "photoz_stage_seconds": RayCounter("photoz_stage_seconds", "Seconds by stage", tag_keys=("stage",)),
        "photoz_galaxies_per_second": Gauge("photoz_galaxies_per_second", "Galaxies a second since the start"),
        "photoz_busy_fraction": Gauge("photoz_busy_fraction", "Busy share of an estimator", tag_keys=("estimator",)),
    }
