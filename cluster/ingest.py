"""Ingest of a survey's tiles on any engine."""

import time
from collections.abc import Sequence
from functools import partial

from cluster.engines import Again, run_tasks
from photoz.config import Config
from photoz.ingest import ingest_tile, report_ingest, stop_without_room
from photoz.survey.kids import TileFiles


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
        Exit status, as `photoz.ingest.report_ingest` gives it.

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
