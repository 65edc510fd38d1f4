"""One tile from survey files to the tile store and the staged source rows: the unit of work of ingest."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from photoz.errors import PhotozError, StorageFullError
from photoz.ingest.catalogue import ingest_catalogue
from photoz.ingest.images import ingest_images
from photoz.ingest.outcome import PartOutcome, TileOutcome
from photoz.ingest.staging import staged_location
from photoz.settings.config import Config
from photoz.storage import name_full_disk
from photoz.survey.files import TileFiles, has_shared_catalogue
from photoz.telemetry import gather, timed

logger = logging.getLogger(__name__)


def ingest_tile(config: Config, tile: TileFiles, *, give_up: bool = False) -> TileOutcome:
    """Store a tile's images and stage its selected sources; a bad file is reported, never raised.

    Parameters
    ----------
    config : Config
        Settings of the run.
    tile : TileFiles
        From `photoz.survey.files.find_tiles`.
    give_up : bool
        Report whatever else goes wrong too, such as a store that does not answer, instead of raising it. What an
        earlier run made of the files then stays, since they may be what they were.

    Returns
    -------
    TileOutcome
        Its status is "skipped" when both parts were there, from the same files and settings, "failed" when one part or
        both could not be had, "no room" when the disk is full.
    """
    with gather() as seconds, timed("tile"):
        outcome = _ingest_parts(config, tile, give_up=give_up)
    return replace(outcome, seconds=dict(seconds))


def _ingest_parts(config: Config, tile: TileFiles, *, give_up: bool) -> TileOutcome:
    places = config.locations
    staged = staged_location(places.sources, tile.name)
    # Files and settings are bound here, so that one loop treats both parts, errors and times alike.
    stage = partial(ingest_catalogue, tile, config.survey, config.selection, folder=places.survey, staged=staged)
    store = partial(ingest_images, tile, config.survey, config.tiles, store=places.tiles, staged=staged)
    parts: dict[str, PartOutcome] = {}
    # The catalogue first: its record holds the offsets that the images may be calibrated by. One of many tiles is read
    # when all of them are there.
    steps = [] if has_shared_catalogue(config.survey) else [("catalogue", stage, staged)]
    for name, ingest, location in (*steps, ("images", store, places.tiles)):
        with timed(name):
            parts[name] = _attempt(name, ingest, location, give_up=give_up)
        if parts[name].problem:
            logger.warning("%s: %s", tile.name, parts[name].problem)
        if parts[name].status == "no room":  # what the other part finds missing then would be no fault of the survey's
            break
    return TileOutcome(tile.name, parts)


def _attempt(name: str, ingest: Callable[[], PartOutcome], location: str, *, give_up: bool) -> PartOutcome:
    """Ingest a part; what the files are to blame for becomes its outcome, and with ``give_up`` all else too."""
    try:
        # An OSError of a full disk would otherwise be tried again like a store that does not answer.
        with name_full_disk(location):
            return ingest()
    except StorageFullError as error:
        return PartOutcome("no room", problem=str(error))
    # A full disk is a PhotozError too, hence its own clause before.
    except PhotozError as error:
        return PartOutcome("failed", problem=str(error))
    except Exception as error:  # whatever a store's client raises that does not answer to the last attempt
        if not give_up:
            raise
        return PartOutcome("failed", problem=f"{name}: {type(error).__name__}: {error}")
