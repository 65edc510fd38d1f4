"""The page of a run under way, ``run/index.html`` in its output: written by the run itself, anew every few seconds."""

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from cluster.inference.plan import Plan
from cluster.telemetry import RunTelemetry
from photoz.catalogue.hats import Partition
from photoz.catalogue.records import locate_in_run
from photoz.report.live import Live, format_duration, render_live
from photoz.storage import write_aside

logger = logging.getLogger(__name__)

PAGE = "index.html"
_SECONDS_BETWEEN_PAGES = 10


@contextmanager
def keep_page(
    plan: Plan, partitions: Sequence[Partition], remaining: Collection[Partition], telemetry: RunTelemetry
) -> Iterator[None]:
    """Write the page every ten seconds within the block, and at its end.

    Parameters
    ----------
    plan : Plan
    partitions, remaining : collection of Partition
        All of the source catalogue, and those to do.
    telemetry : RunTelemetry
        That the run adds to.
    """
    before = frozenset(partitions) - frozenset(remaining)
    over = threading.Event()

    def write(state: str) -> None:
        refresh = 0 if over.is_set() else _SECONDS_BETWEEN_PAGES
        page = render_live(look(plan, partitions, before, telemetry, state=state), refresh=refresh)
        location = locate_in_run(plan.config.locations.catalogue, PAGE)
        if refused := write_aside(location, page.encode()):
            logger.debug("%s could not be written: %s", location, refused)

    def keep_writing() -> None:
        write("running")
        while not over.wait(_SECONDS_BETWEEN_PAGES):
            write("running")

    # In a thread: a store that is slow must not hold up the run, and the page must not wait for a partition.
    thread = threading.Thread(target=keep_writing, daemon=True)
    thread.start()
    state = "stopped by an error, which its log tells"
    try:
        yield
        state = "finished"
    finally:
        over.set()
        thread.join()
        write(state)


def look(
    plan: Plan, partitions: Sequence[Partition], before: Collection[Partition], telemetry: RunTelemetry, *, state: str
) -> Live:
    """Say how far a run is; ``before`` were done when it began."""
    seen = telemetry.look()
    figures, done = seen.figures, frozenset(before) | seen.done
    own = len(seen.done) or 1
    left = figures.seconds / own * (len(partitions) - len(done))
    share = f" ({seen.estimated / seen.rows:.2%})" if seen.rows else ""
    config = plan.config
    facts = [
        ("Estimator", config.inference.estimator),
        ("Survey", config.survey.name),
        ("Galaxies of this run", f"{seen.rows:,}, with a redshift: {seen.estimated:,}{share}"),
        ("Speed", f"{figures.galaxies_per_second:,.0f} galaxies/s since the start, {format_duration(figures.seconds)}"),
        ("Set aside", f"{figures.quarantined:,} tiles or rows" if figures.quarantined else "nothing"),
        ("Tried again", f"{figures.retried_partitions:,} partitions, {figures.rerun_after_lost_worker:,} lost workers"),
    ]
    live = Live(config.run.name, state, frozenset(partitions), done, facts=facts, problems=seen.problems)
    under_way = state == "running" and bool(seen.done)
    return replace(live, left=f"about {format_duration(left)} left") if under_way else live
