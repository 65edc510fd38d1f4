"""A simulated survey: plan, tiles, tables."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

# Before the imports below, of which some load galsim and kcorrect and would fail without the remedy.
import photoz.simulate.packages  # noqa: F401
from photoz.errors import ConfigError
from photoz.settings.config import Config
from photoz.simulate.catalogue import measure_sources, select_bright
from photoz.simulate.files import Card, format_name, write_band, write_table
from photoz.simulate.render import render_band
from photoz.simulate.settings import Simulation
from photoz.simulate.sky import Centre, Recipe, join_sources, make_sources
from photoz.simulate.spectra import observe_spectra
from photoz.storage import join, open_file
from photoz.survey.settings import Survey

logger = logging.getLogger(__name__)

BRIGHT_SAMPLE_FILE = "KiDS_DR4_brightsample.fits"
MASKED_BITS = 28668
"""Of MASK, in KiDS-Bright (Bilicki et al. 2021)."""


@dataclass(frozen=True)
class TilePlan:
    """One tile to simulate.

    Parameters
    ----------
    name : str
        Of the tile, as in KIDS_TILE.
    centre : (float, float)
        [deg]
    neighbours : tuple of (float, float)
        [deg] centres of the tiles whose sources this tile's image may show.
    """

    name: str
    centre: Centre
    neighbours: tuple[Centre, ...]


@dataclass(frozen=True)
class SimulatedTile:
    """What came of a tile, for the engine's progress and the log.

    Parameters
    ----------
    tile : str
        Its name.
    files : int
        Written.
    galaxies, rows : int
        Of the bright sample (r < 20 by default), and sources of the tile in all.
    seconds : float
        [s] it took.
    """

    tile: str
    files: int
    galaxies: int
    rows: int
    seconds: float


@dataclass(frozen=True)
class TableRows:
    """Rows written to the KiDS-Bright file and to the GAMA-like table."""

    bright: int
    spectra: int


def plan_survey(simulation: Simulation, survey: Survey) -> list[TilePlan]:
    """Plan the tiles of the survey.

    Raises
    ------
    ConfigError
        Two centres give the same file names, or a band has no response, depth or seeing.
    """
    _check(simulation, survey)
    side = simulation.pixels * survey.pixel_scale / 3600
    return [
        TilePlan(
            name=format_name(survey.tile, centre),
            centre=centre,
            neighbours=tuple(other for other in simulation.centres if other != centre and _touch(centre, other, side)),
        )
        for centre in simulation.centres
    ]


def _touch(one: Centre, other: Centre, side: float) -> bool:
    reach = 1.2 * side  # galaxies just beyond the border still shed light over it
    # The short way round right ascension 0.
    offset = (one[0] - other[0] + 180) % 360 - 180
    return abs(offset * np.cos(np.radians(one[1]))) < reach and abs(one[1] - other[1]) < reach


def _check(simulation: Simulation, survey: Survey) -> None:
    names = [format_name(survey.tile, centre) for centre in simulation.centres]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"simulation.centres gives {twice} more than once: names hold one decimal of a degree")
    tables = {"responses": survey.bands, "depth": survey.bands, "seeing": survey.image_bands}
    for table, bands in tables.items():
        # Images exist of few bands, hence seeing of few; depths and responses are those of the catalogue's nine.
        lacking = [band for band in bands if band not in getattr(simulation, table)]
        if lacking:
            raise ConfigError(f"simulation.{table} lacks the bands {lacking} of the survey: add them")


def make_recipe(config: Config) -> Recipe:
    """Take from the settings what a simulated survey is made from."""
    return Recipe(config.simulation, config.survey, config.run.seed)


def simulate_tile(config: Config, plan: TilePlan) -> SimulatedTile:
    """Render a tile and write its images and its catalogue."""
    start = time.perf_counter()
    recipe, folder = make_recipe(config), config.locations.survey
    own = make_sources(recipe, plan.centre)
    # Drawn again from seed and centre, not handed over: tiles can be simulated on any workers in any order.
    scene = join_sources([own, *(make_sources(recipe, centre) for centre in plan.neighbours)])
    files: list[str] = []
    for band in recipe.survey.image_bands:
        files += write_band(folder, recipe, plan.centre, render_band(recipe, plan.centre, band, scene))
    columns = measure_sources(recipe, plan.centre, own, scene)
    # After its images: a tile that was interrupted lacks its catalogue, and ingest says so.
    files.append(_write_catalogue(folder, recipe.survey, plan, columns))
    return SimulatedTile(
        tile=plan.name,
        files=len(files),
        galaxies=int(np.count_nonzero(select_bright(columns, config.selection.mag_auto_below))),
        rows=len(own),
        seconds=time.perf_counter() - start,
    )


def _write_catalogue(folder: str, survey: Survey, plan: TilePlan, columns: dict[str, npt.NDArray[Any]]) -> str:
    cards: dict[str, Card] = {"OBJECT": (plan.name, "tile")}
    for band in survey.image_bands:
        key = survey.zeropoint_offset.format(BAND=band.upper(), band=band)
        # The images are at the survey's zero point already; the card is there for what reads it.
        cards[key] = (0.0, "[mag] homogenisation offset")
    return write_table(_locate_catalogue(folder, survey, plan), columns, name="OBJECTS", cards=cards)


def _locate_catalogue(folder: str, survey: Survey, plan: TilePlan) -> str:
    return join(folder, format_name(survey.catalogue_file, plan.centre))


def write_survey_tables(config: Config, plans: Sequence[TilePlan]) -> TableRows:
    """Write the KiDS-Bright file and the GAMA-like table from the tiles' catalogues, one tile at a time."""
    recipe, folder = make_recipe(config), config.locations.survey
    bright, spectra = [], []
    for plan in plans:
        # From the files, since other processes may have made them; one at a time bounds the memory.
        columns = _read_catalogue(_locate_catalogue(folder, recipe.survey, plan))
        bright.append(_make_bright_sample(columns, config.selection.mag_auto_below))
        # The truth is drawn anew from the seed: the catalogue does not hold it, nor may it.
        spectra.append(observe_spectra(recipe, plan.centre, make_sources(recipe, plan.centre), columns))
    tables = {BRIGHT_SAMPLE_FILE: _concatenate(bright), config.crossmatch.file: _concatenate(spectra)}
    for name, columns in tables.items():
        write_table(join(folder, name), columns, name="CATALOGUE")
    rows = TableRows(len(tables[BRIGHT_SAMPLE_FILE]["ID"]), len(tables[config.crossmatch.file]["uberID"]))
    logger.info("wrote %d bright galaxies and %d spectra", rows.bright, rows.spectra)
    return rows


def _read_catalogue(location: str) -> dict[str, npt.NDArray[Any]]:
    with open_file(location) as file, fits.open(file) as hdus:
        table = hdus[1].data
        # Copies, since astropy reads a column when it is looked at, and the file is closed by then.
        return {name: np.array(table[name]) for name in table.names}


def _make_bright_sample(columns: dict[str, npt.NDArray[Any]], limit: float) -> dict[str, npt.NDArray[Any]]:
    """Make the rows of the KiDS-Bright file; ``zphot_ANNz2`` is NaN, since no ANNz2 was run on a simulation."""
    which = select_bright(columns, limit)
    names = ("ID", "RAJ2000", "DECJ2000", "MAGERR_AUTO", "MASK")
    rows = {name: columns[name][which] for name in names}
    rows["MAG_AUTO_CALIB"] = (columns["MAG_AUTO"] - columns["EXTINCTION_r"])[which].astype(np.float32)
    rows["zphot_ANNz2"] = np.full(np.count_nonzero(which), np.nan, dtype=np.float32)
    rows["masked"] = ((rows["MASK"] & MASKED_BITS) > 0).astype(np.int16)
    order = ("ID", "RAJ2000", "DECJ2000", "MAG_AUTO_CALIB", "MAGERR_AUTO", "zphot_ANNz2", "MASK", "masked")
    return {name: rows[name] for name in order}


def _concatenate(tables: Sequence[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
