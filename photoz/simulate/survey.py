"""A simulated survey: plan, tiles, tables."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

# Before the imports below, of which some load galsim and kcorrect and would fail without the remedy.
import photoz.simulate.packages  # noqa: F401
from photoz.errors import ConfigError
from photoz.simulate.apertures import measure_pixels
from photoz.simulate.catalogue import find_unobserved, measure_sources, select_bright
from photoz.simulate.files import Card, format_name, write_band, write_table
from photoz.simulate.photometry import measure_sizes
from photoz.simulate.render import BandImage, make_view, render_band
from photoz.simulate.settings import Simulation
from photoz.simulate.sky import EXTINCTION, Centre, Recipe, draw_offsets, join_sources, make_sources
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
        Two centres give the same file names, a band has no response, depth or seeing, or is none that can be simulated.
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
    _check_bands(survey)
    # That of r, too, whether it has images or not: sizes are measured at it.
    tables = {"responses": survey.bands, "depth": survey.bands, "seeing": dict.fromkeys((*survey.image_bands, "r"))}
    for table, bands in tables.items():
        # Images exist of few bands, hence seeing of few; depths and responses are those of the catalogue's nine.
        lacking = [band for band in bands if band not in getattr(simulation, table)]
        if lacking:
            raise ConfigError(f"simulation.{table} lacks the bands {lacking} of the survey: add them")


def _check_bands(survey: Survey) -> None:
    """Refuse bands of which the tables of the sky know nothing, before a tile is begun."""
    strange = [band for band in survey.bands if band not in EXTINCTION]
    if strange:
        raise ConfigError(f"survey.bands has {strange}, which cannot be simulated: take some of {list(EXTINCTION)}")
    if "r" not in survey.bands:
        raise ConfigError(f"survey.bands = {list(survey.bands)} lacks r, by which sources are drawn: add it")


def simulate_tile(recipe: Recipe, folder: str, plan: TilePlan, *, limit: float) -> SimulatedTile:
    """Render a tile and write its images and its catalogue.

    Parameters
    ----------
    recipe : Recipe
    folder : str
        Location of the survey.
    plan : TilePlan
    limit : float
        [mag] of the bright sample, whose galaxies are counted.
    """
    start = time.perf_counter()
    own = make_sources(recipe, plan.centre)
    # Drawn again from seed and centre, not handed over: tiles can be simulated on any workers in any order.
    scene = join_sources([own, *(make_sources(recipe, centre) for centre in plan.neighbours)])
    aperture_N = measure_sizes(recipe, plan.centre, own).aperture_N
    files: list[str] = []
    pixels = {}
    for band in recipe.survey.image_bands:
        image = render_band(recipe, plan.centre, band, scene)
        pixels[band] = measure_pixels(make_view(recipe, plan.centre, band), image, own, aperture_N)
        # After it was measured: next to the strip an aperture of the catalogue reaches into it.
        _blank_unobserved(recipe, plan.centre, image)
        files += write_band(folder, recipe, plan.centre, _take_off(image, draw_offsets(recipe, plan.centre)[band]))
    columns = measure_sources(recipe, plan.centre, own, scene, pixels)
    # After its images: a tile that was interrupted lacks its catalogue, and ingest says so.
    files.append(_write_catalogue(folder, recipe, plan, columns))
    return SimulatedTile(
        tile=plan.name,
        files=len(files),
        galaxies=int(np.count_nonzero(select_bright(columns, limit))),
        rows=len(own),
        seconds=time.perf_counter() - start,
    )


def _blank_unobserved(recipe: Recipe, centre: Centre, image: BandImage) -> None:
    """Set the columns to NaN that the band's footprint leaves out; their weight is 0."""
    scale = recipe.survey.get_pixel_scale(image.band) / recipe.survey.pixel_scale
    # Both grids have the tile's centre in their middle.
    from_middle_X = np.arange(image.image.shape[1]) - (image.image.shape[1] - 1) / 2
    column_X = from_middle_X * scale + (recipe.simulation.pixels + 1) / 2
    missing_X = find_unobserved(recipe, centre, column_X)[:, recipe.survey.bands.index(image.band)]
    image.image[:, missing_X], image.weight[:, missing_X] = np.nan, 0.0


def _take_off(image: BandImage, offset: float) -> BandImage:
    """Return an image whose magnitudes lack an offset [mag]: m + offset is what they were."""
    factor = 10 ** (0.4 * offset)
    return replace(
        image,
        image=image.image * np.float32(factor),
        weight=image.weight / np.float32(factor**2),
        gain=image.gain / factor,
        sky_noise=image.sky_noise * factor,
    )


def _write_catalogue(folder: str, recipe: Recipe, plan: TilePlan, columns: dict[str, npt.NDArray[Any]]) -> str:
    survey, offsets = recipe.survey, draw_offsets(recipe, plan.centre)
    cards: dict[str, Card] = {"OBJECT": (plan.name, "tile")}
    for band, offset in offsets.items():
        key = survey.zeropoint_offset.format(BAND=band.upper(), band=band)
        cards[key] = (offset, "[mag] homogenisation offset")
    columns = _shift_auto(columns, -offsets.get("r", 0.0), survey)
    return write_table(_locate_catalogue(folder, survey, plan), columns, name="OBJECTS", cards=cards)


def _shift_auto(columns: dict[str, npt.NDArray[Any]], shift: float, survey: Survey) -> dict[str, npt.NDArray[Any]]:
    """Return the columns with MAG_AUTO, which is not homogenised in the files, shifted [mag]."""
    auto = columns["MAG_AUTO"]
    shifted = np.where(auto == survey.not_detected, auto, auto.astype(np.float64) + shift).astype(auto.dtype)
    return columns | {"MAG_AUTO": shifted}


def _locate_catalogue(folder: str, survey: Survey, plan: TilePlan) -> str:
    return join(folder, format_name(survey.catalogue_file, plan.centre))


def write_survey_tables(
    recipe: Recipe, folder: str, plans: Sequence[TilePlan], *, limit: float, spectra_file: str
) -> TableRows:
    """Write the KiDS-Bright file and the GAMA-like table from the tiles' catalogues, one tile at a time.

    Parameters
    ----------
    recipe : Recipe
    folder : str
        Location of the survey.
    plans : sequence of TilePlan
        All tiles, each with its catalogue in the folder.
    limit : float
        [mag] of the bright sample.
    spectra_file : str
        Name of the GAMA-like table.
    """
    bright, spectra = [], []
    for plan in plans:
        # From the files, since other processes may have made them; one at a time bounds the memory.
        columns = _read_catalogue(_locate_catalogue(folder, recipe.survey, plan))
        columns = _shift_auto(columns, draw_offsets(recipe, plan.centre).get("r", 0.0), recipe.survey)
        bright.append(_make_bright_sample(columns, limit))
        # The truth is drawn anew from the seed: the catalogue does not hold it, nor may it.
        spectra.append(observe_spectra(recipe, plan.centre, make_sources(recipe, plan.centre), columns))
    tables = {BRIGHT_SAMPLE_FILE: _concatenate(bright), spectra_file: _concatenate(spectra)}
    for name, columns in tables.items():
        write_table(join(folder, name), columns, name="CATALOGUE")
    rows = TableRows(len(tables[BRIGHT_SAMPLE_FILE]["ID"]), len(tables[spectra_file]["uberID"]))
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
