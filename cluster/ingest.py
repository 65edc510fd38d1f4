"""Ingest of a survey's tiles on any engine, by one run at a time."""

import logging
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
from cluster.partitioning.sources import partition_sources
from photoz.ingest.bright import read_bright_ids
from photoz.ingest.check import check_survey
from photoz.ingest.footprints import read_footprints
from photoz.ingest.report import report_ingest, stop_without_room
from photoz.ingest.staging import read_staged_schema, staging_location
from photoz.ingest.tables import drop_parts, locate_shared, open_catalogue, remove_other_parts, stage_part
from photoz.ingest.tile import ingest_tile
from photoz.schema import make_source_schema
from photoz.settings.config import Config
from photoz.settings.run import Locations
from photoz.survey.files import TileFiles, find_tiles, has_shared_catalogue
from photoz.survey.settings import Selection, Survey

logger = logging.getLogger(__name__)


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
    insist(lambda: check_survey(survey, config.selection, tiles, folder=folder), retries, "looking at the first tiles")
    with ingest_alone(config.locations) as locks, open_engine(config.engine, config.storage_options) as engine:
        status = ingest_tiles(config, tiles, engine)
        # Between the two: a run that was taken over must not partition what its successor is staging.
        for lock in locks:
            insist(lock.check, retries, "looking at the lock")
        sources, schema = config.locations.sources, make_source_schema(survey.bands)
        if survey.catalogue_survey or config.selection.bright_columns:
            # The columns that are carried along are known when they are staged.
            schema = read_staged_schema(sources)
        partition_sources(config.sources, sources, engine, schema=schema)
    return status


@contextmanager
def ingest_alone(locations: Locations) -> Iterator[tuple[Lock, Lock]]:
    """Keep others from ingesting into the same tile store or source catalogue.

    Raises
    ------
    CatalogueError
        Another run is at it.
    """
    staging = staging_location(locations.sources)
    # Two locks, since two runs may share either of the folders and not the other.
    with hold_lock(locations.tiles) as of_tiles, hold_lock(staging) as of_sources:
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
    # When all tiles are there: a source goes to the one that holds it best.
    shared = None
    if has_shared_catalogue(config.survey):
        shared = stage_catalogue(config.survey, config.selection, tiles, engine, places=config.locations)
    else:
        remove_other_parts(config.locations.sources, 0)
    run = {"seconds": round(time.monotonic() - start, 3), "retried_tiles": again["retried"]}
    run |= {"rerun_after_lost_worker": again["reruns"]}
    least = config.ingest.min_completeness
    return report_ingest(results, config.locations.tiles, min_completeness=least, run=run, shared=shared)


def stage_catalogue(
    survey: Survey, selection: Selection, tiles: Sequence[TileFiles], engine: Engine, *, places: Locations
) -> Counter[str]:
    """Stage the sources of a catalogue of many tiles, each with the tile that holds it best.

    Parameters
    ----------
    survey : Survey
    selection : Selection
    tiles : sequence of TileFiles
        Those that are in the store count.
    engine : Engine
    places : Locations
        Of the survey, the store and the sources.

    Returns
    -------
    Counter
        Rows of the catalogue by what became of them; ``sources``: staged.

    Raises
    ------
    ConfigError, TableError, SurveyFileError
        The catalogue is missing or damaged, or is not what its survey's file says.
    """
    retries = engine.settings.retries
    location = locate_shared(survey, places.survey)
    catalogue = insist(
        lambda: open_catalogue(location, survey, selection, folder=places.survey), retries, "opening the catalogue"
    )
    names = [tile.name for tile in tiles]
    footprints = insist(lambda: read_footprints(places.tiles, names), retries, "reading where the tiles lie")
    tasks = list(enumerate(catalogue.table.parts))
    remove_other_parts(places.sources, len(tasks))
    # Each task is handed its own part, and not the list of all of them with it.
    read_ids = partial(read_bright_ids, places.survey, survey, selection)
    stage = partial(stage_part, drop_parts(catalogue), footprints, read_ids, places.sources)
    counts = Counter[str]()
    for part in run_tasks(stage, tasks, engine, label="parts of the catalogue"):
        counts.update(part.counts, sources=part.rows)
    if counts["off_tiles"]:
        logger.warning(
            "%d of %d sources lie on none of the tiles in the store, and will be estimated from their fluxes alone",
            counts["off_tiles"],
            counts["sources"],
        )
    return counts
