"""Ingest of a survey's tiles on any engine, by one run at a time."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from cluster.engines import Again, insist, join_cluster, run_tasks
from cluster.lock import Lock, hold_lock
from cluster.partitioning import partition_sources
from photoz.ingest.check import check_survey
from photoz.ingest.report import report_ingest, stop_without_room
from photoz.ingest.staging import staging_location
from photoz.ingest.tile import ingest_tile
from photoz.settings.config import Config
from photoz.survey.files import TileFiles, find_tiles


def ingest_survey(config: Config) -> int:
    """Find the tiles, check the settings against them, ingest each, and partition the sources.

    Parameters
    ----------
    config : Config

    Returns
    -------
    int
        Exit status of `ingest_tiles`.

    Raises
    ------
    ConfigError, SurveyFileError, CatalogueError
        Before any work: settings that fit no tile, or another run at it. After it: sources that cannot be partitioned.
    """
    survey, folder, weights = config.survey, config.locations.survey, config.tiles.store_weights
    tiles = insist(lambda: find_tiles(survey, folder, weights=weights), config, "listing the survey's files")
    insist(lambda: check_survey(config, tiles), config, "looking at the first tiles")
    with ingest_alone(config) as locks:
        status = ingest_tiles(config, tiles)
        for lock in locks:
            insist(lock.check, config, "looking at the lock")
        partition_sources(config)
    return status


@contextmanager
def ingest_alone(config: Config) -> Iterator[tuple[Lock, Lock]]:
    """Keep others from ingesting into the same tile store or source catalogue, and one cluster for all that is done.

    Raises
    ------
    CatalogueError
        Another run is at it.
    """
    staging = staging_location(config.locations.sources)
    with hold_lock(config.locations.tiles) as of_tiles, hold_lock(staging) as of_sources, join_cluster(config):
        yield of_tiles, of_sources


def ingest_tiles(config: Config, tiles: Sequence[TileFiles]) -> int:
    """Ingest all tiles and record the outcome of each; one whose files or store do not answer to the last is failed.

    Parameters
    ----------
    config : Config
    tiles : sequence of TileFiles
        From `photoz.survey.files.find_tiles`.

    Returns
    -------
    int
        Exit status, as `photoz.ingest.report.report_ingest` gives it: 1 too when the completeness is below
        ``ingest.min_completeness``.

    Raises
    ------
    StorageFullError
        The disk is full.
    """
    start, again = time.monotonic(), Again()
    ingest = partial(ingest_tile, config)
    last = partial(ingest, give_up=True)
    outcomes = run_tasks(ingest, tiles, config, label="tiles", last=last, again=again)
    results = list(stop_without_room(outcomes))
    run = {"seconds": round(time.monotonic() - start, 3), "retried_tiles": again.retried}
    run |= {"rerun_after_lost_worker": again.reruns}
    least = config.ingest.min_completeness
    return report_ingest(results, config.locations.tiles, min_completeness=least, run=run)
