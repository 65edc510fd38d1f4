"""Look at a survey's first files before any work is done: settings that fit no tile are told at once."""

from collections.abc import Callable, Sequence

from photoz.errors import ConfigError, SurveyFileError
from photoz.ingest.catalogue import read_bright_ids, require_catalogue
from photoz.ingest.images import inspect_images
from photoz.settings.config import Config
from photoz.survey.files import TileFiles
from photoz.survey.fits import base_name
from photoz.survey.settings import Selection, Survey
from photoz.survey.sources import list_catalogue_columns
from photoz.survey.table import list_columns

TILES_TO_CHECK = 5
"""Tiles that `check_survey` tries before it blames the settings and not a file."""


def check_survey(config: Config, tiles: Sequence[TileFiles]) -> None:
    """Check the settings against the survey's first readable files, before any work is done.

    Parameters
    ----------
    config : Config
        Settings of the run.
    tiles : sequence of TileFiles
        From `photoz.survey.files.find_tiles`.

    Raises
    ------
    ConfigError
        A band that no tile has an image of.
    SurveyFileError
        None of the first tiles has images that fit ``survey``, or none a catalogue with the columns asked for: the
        first tile's problem is told.
    """
    survey, selection = config.survey, config.selection
    # From the cheapest on: names, then headers of the first tiles, then the list of bright galaxies as a whole.
    _check_bands(survey, tiles)
    _pass_any(tiles, lambda tile: inspect_images(tile, survey))
    _pass_any(tiles, lambda tile: _check_columns(tile, survey, selection))
    # Kept by the cache for the tiles that this process ingests; a missing list is told before the first.
    read_bright_ids(config.locations.survey, survey, selection)


def _check_bands(survey: Survey, tiles: Sequence[TileFiles]) -> None:
    for band in survey.image_bands:
        # Over all tiles: one that lacks a band fails by itself, a band that all lack is a wrong setting.
        if not any(band in tile.images for tile in tiles):
            raise ConfigError(
                f"no tile has an image of band {band!r} of survey.image_bands: looked for names like "
                f"{survey.image_file!r}; correct the band or survey.image_file"
            )


def _check_columns(tile: TileFiles, survey: Survey, selection: Selection) -> None:
    require_catalogue(tile, survey)
    # Headers alone: a KiDS catalogue has 28 MB, and is read whole when it is ingested.
    present = set(list_columns(tile.catalogue))
    wanted = list_catalogue_columns(survey, selection)
    missing = [f"{column} ({setting})" for column, setting in wanted.items() if column not in present]
    if missing:
        raise SurveyFileError(
            f"{base_name(tile.catalogue)} lacks the column {', '.join(missing)}: "
            "correct the setting to the survey's column names"
        )


def _pass_any(tiles: Sequence[TileFiles], check: Callable[[TileFiles], object]) -> None:
    """Run a check on the first few tiles until one passes; raise the first problem when none does."""
    problem: SurveyFileError | None = None
    for tile in tiles[:TILES_TO_CHECK]:
        try:
            check(tile)
            return
        except SurveyFileError as error:
            # The first tile's: later ones may fail for reasons of their own.
            problem = problem or error
    if problem is not None:
        raise problem
