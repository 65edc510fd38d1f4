"""Ingest of a survey's tiles on any engine, by one run at a time."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from cluster.engines import Again, join_cluster, run_tasks
from cluster.lock import hold_lock
from photoz.config import Config
from photoz.ingest import ingest_tile
from photoz.ingest_report import report_ingest, stop_without_room
from photoz.survey.kids import TileFiles


@contextmanager
def ingest_alone(config: Config) -> Iterator[None]:
    """Keep others from ingesting into the same tile store or source catalogue, and one cluster for all that is done.

    Raises
    ------
    CatalogueError
        Another run is at it.
    """
    staging = f"{config.locations.sources.rstrip('/')}_staging"
    with hold_lock(config.locations.tiles), hold_lock(staging), join_cluster(config):
        yield


def ingest_tiles(config: Config, tiles: Sequence[TileFiles]) -> int:
    """Ingest all tiles and record the outcome of each; one whose files or store do not answer to the last is failed.

    Parameters
    ----------
    config : Config
    tiles : sequence of TileFiles
        From `photoz.survey.kids.find_tiles`.

    Returns
    -------
    int
        Exit status, as `photoz.ingest_report.report_ingest` gives it: 1 too when the completeness is below
        ``ingest.min_completeness``.

    Raises
    ------
    StorageFullError
        The disk is full.
    """
    start, again = time.monotonic(), Again()
    last = partial(ingest_tile, give_up=True)
    outcomes = run_tasks(ingest_tile, tiles, config, label="tiles", last=last, again=again)
    results = list(stop_without_room(outcomes))
    run = {"seconds": round(time.monotonic() - start, 3), "retried_tiles": again.retried}
    return report_ingest(config, results, run | {"rerun_after_lost_worker": again.reruns})
