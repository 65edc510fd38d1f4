"""Ingest of a survey's tiles on any engine, by one run at a time."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from cluster.engines.base import Engine
from cluster.engines.choose import open_engine
from cluster.engines.retries import insist
from cluster.engines.tasks import run_tasks
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
    retries = config.engine.retries
    survey, folder, weights = config.survey, config.locations.survey, config.tiles.store_weights
    tiles = insist(lambda: find_tiles(survey, folder, weights=weights), retries, "listing the survey's files")
    # Before lock and cluster, so that settings which fit no tile are told at once.
    insist(lambda: check_survey(config, tiles), retries, "looking at the first tiles")
    with ingest_alone(config) as locks, open_engine(config) as engine:
        status = ingest_tiles(config, tiles, engine)
        # Between the two: a run that was taken over must not partition what its successor is staging.
        for lock in locks:
            insist(lock.check, retries, "looking at the lock")
        partition_sources(config, engine)
    return status


@contextmanager
def ingest_alone(config: Config) -> Iterator[tuple[Lock, Lock]]:
    """Keep others from ingesting into the same tile store or source catalogue.

    Raises
    ------
    CatalogueError
        Another run is at it.
    """
    staging = staging_location(config.locations.sources)
    # Two locks, since two runs may share either of the folders and not the other.
    with hold_lock(config.locations.tiles) as of_tiles, hold_lock(staging) as of_sources:
        yield of_tiles, of_sources


def ingest_tiles(config: Config, tiles: Sequence[TileFiles], engine: Engine) -> int:
    """Ingest all tiles and record the outcome of each; one whose files or store do not answer to the last is failed.

    Parameters
    ----------
    config : Config
    tiles : sequence of TileFiles
        From `photoz.survey.files.find_tiles`.
    engine : Engine

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
    start, again = time.monotonic(), Counter[str]()
    ingest = partial(ingest_tile, config)
    # Until then a store that does not answer raises, and the tile is tried again; the last time it is a failed tile.
    last = partial(ingest, give_up=True)
    outcomes = run_tasks(ingest, tiles, engine, label="tiles", last=last, again=again)
    # While they come, not after: all tiles that are left would meet the same full disk.
    results = list(stop_without_room(outcomes))
    run = {"seconds": round(time.monotonic() - start, 3), "retried_tiles": again["retried"]}
    run |= {"rerun_after_lost_worker": again["reruns"]}
    least = config.ingest.min_completeness
    return report_ingest(results, config.locations.tiles, min_completeness=least, run=run)
