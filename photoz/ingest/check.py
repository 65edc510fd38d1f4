"""Look at a survey's first files before any work is done: settings that fit no tile are told at once."""

from collections.abc import Callable, Sequence

from photoz.errors import ConfigError, PhotozError, SurveyFileError, TableError
from photoz.ingest.bands import inspect_images
from photoz.ingest.bright import read_bright_ids
from photoz.ingest.catalogue import require_catalogue
from photoz.ingest.tables import check_catalogue, locate_shared, open_catalogue
from photoz.survey.files import TileFiles, has_shared_catalogue
from photoz.survey.fits import base_name
from photoz.survey.settings import Selection, Survey
from photoz.survey.sources import list_catalogue_columns
from photoz.survey.table import list_columns, require_columns

TILES_TO_CHECK = 5
"""Tiles that `check_survey` tries before it blames the settings and not a file."""


def check_survey(survey: Survey, selection: Selection, tiles: Sequence[TileFiles], *, folder: str) -> None:
    """Check the settings against the survey's first readable files, before any work is done.

    Parameters
    ----------
    survey : Survey
    selection : Selection
    tiles : sequence of TileFiles
        From `photoz.survey.files.find_tiles`.
    folder : str
        Location of the survey, for the list of bright galaxies.

    Raises
    ------
    ConfigError, TableError
        A band that no tile has an image of; a catalogue that is not what ``survey.catalogue_survey`` says.
    SurveyFileError
        None of the first tiles has images that fit ``survey``, or none a catalogue with the columns asked for: the
        first tile's problem is told.
    """
    # From the cheapest on: names, then headers of the first tiles, then the list of bright galaxies as a whole.
    _check_bands(survey, tiles)
    _pass_any(tiles, lambda tile: inspect_images(tile, survey))
    if has_shared_catalogue(survey):
        if selection.bright_columns:
            raise ConfigError(
                f"selection.bright_columns = {list(selection.bright_columns)} are kept with catalogues of a tile each, "
                "and survey.catalogue_file names one of many tiles: carry the columns by survey.catalogue_survey's file"
            )
        location = locate_shared(survey, folder)
        check_catalogue(open_catalogue(location, survey, selection, folder=folder))
    else:
        _pass_any(tiles, lambda tile: _check_columns(tile, survey, selection, folder=folder))
    # Kept by the cache for the tiles that this process ingests; a missing list is told before the first.
    read_bright_ids(folder, survey, selection)


def _check_bands(survey: Survey, tiles: Sequence[TileFiles]) -> None:
    for band in survey.image_bands:
        # Over all tiles: one that lacks a band fails by itself, a band that all lack is a wrong setting.
        if not any(band in tile.images for tile in tiles):
            raise ConfigError(
                f"no tile has an image of band {band!r} of survey.image_bands: looked for names like "
                f"{survey.of_band(band).image_file!r}; correct the band or survey.image_file"
            )


def _check_columns(tile: TileFiles, survey: Survey, selection: Selection, *, folder: str) -> None:
    require_catalogue(tile, survey)
    if survey.catalogue_survey:
        check_catalogue(open_catalogue(tile.catalogue, survey, selection, folder=folder))
        return
    # Headers alone: a KiDS catalogue has 28 MB, and is read whole when it is ingested.
    wanted = list_catalogue_columns(survey, selection)
    require_columns(list_columns(tile.catalogue), wanted, base_name(tile.catalogue))


def _pass_any(tiles: Sequence[TileFiles], check: Callable[[TileFiles], object]) -> None:
    """Run a check on the first few tiles until one passes; raise the first problem when none does."""
    problem: PhotozError | None = None
    for tile in tiles[:TILES_TO_CHECK]:
        try:
            check(tile)
            return
        except (SurveyFileError, TableError, ConfigError) as error:
            # The first tile's: later ones may fail for reasons of their own.
            problem = problem or error
    if problem is not None:
        raise problem
