"""A simulated survey: plan, tiles, tables."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
from astropy.io import fits

import photoz.simulate.packages  # noqa: F401
from photoz.errors import ConfigError
from photoz.settings.config import Config
from photoz.simulate.catalogue import measure_sources, select_bright
from photoz.simulate.files import Card, format_name, write_band, write_table
from photoz.simulate.render import render_band
from photoz.simulate.sky import Centre, join_sources, make_sources
from photoz.simulate.spectra import observe_spectra
from photoz.storage import join

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


def plan_survey(config: Config) -> list[TilePlan]:
    """Plan the tiles of the survey.

    Raises
    ------
    ConfigError
        Two centres give the same file names, or a band has no response, depth or seeing.
    """
    _check(config)
    simulation = config.simulation
    side = simulation.pixels * config.survey.pixel_scale / 3600
    return [
        TilePlan(
            name=format_name(config.survey.tile, centre),
            centre=centre,
            neighbours=tuple(other for other in simulation.centres if other != centre and _touch(centre, other, side)),
        )
        for centre in simulation.centres
    ]


def _touch(one: Centre, other: Centre, side: float) -> bool:
    reach = 1.2 * side  # galaxies just beyond the border still shed light over it
    offset = (one[0] - other[0] + 180) % 360 - 180
    return abs(offset * np.cos(np.radians(one[1]))) < reach and abs(one[1] - other[1]) < reach


def _check(config: Config) -> None:
    simulation, survey = config.simulation, config.survey
    names = [format_name(survey.tile, centre) for centre in simulation.centres]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"simulation.centres gives {twice} more than once: names hold one decimal of a degree")
    tables = {"responses": survey.bands, "depth": survey.bands, "seeing": survey.image_bands}
    for table, bands in tables.items():
        lacking = [band for band in bands if band not in getattr(simulation, table)]
        if lacking:
            raise ConfigError(f"simulation.{table} lacks the bands {lacking} of the survey: add them")


def simulate_tile(config: Config, plan: TilePlan) -> dict[str, Any]:
    """Render a tile and write its images and its catalogue.

    Returns
    -------
    dict
        "tile", "files" (number written), "galaxies" (in the catalogue, r < 20), "rows", "seconds".
    """
    start = time.perf_counter()
    own = make_sources(config, plan.centre)
    scene = join_sources([own, *(make_sources(config, centre) for centre in plan.neighbours)])
    files: list[str] = []
    for band in config.survey.image_bands:
        files += write_band(config, plan.centre, band, render_band(config, plan.centre, band, scene))
    columns = measure_sources(config, plan.centre, own, scene)
    files.append(_write_catalogue(config, plan, columns))
    return {
        "tile": plan.name,
        "files": len(files),
        "galaxies": int(np.count_nonzero(select_bright(config, columns))),
        "rows": len(own),
        "seconds": time.perf_counter() - start,
    }


def _write_catalogue(config: Config, plan: TilePlan, columns: dict[str, npt.NDArray[Any]]) -> str:
    cards: dict[str, Card] = {"OBJECT": (plan.name, "tile")}
    for band in config.survey.image_bands:
        key = config.survey.zeropoint_offset.format(BAND=band.upper(), band=band)
        cards[key] = (0.0, "[mag] homogenisation offset")
    return write_table(_locate_catalogue(config, plan), columns, name="OBJECTS", cards=cards)


def _locate_catalogue(config: Config, plan: TilePlan) -> str:
    return join(config.locations.survey, format_name(config.survey.catalogue_file, plan.centre))


def write_survey_tables(config: Config, plans: Sequence[TilePlan]) -> dict[str, Any]:
    """Write the KiDS-Bright file and the GAMA-like table from the tiles' catalogues, one tile at a time.

    Returns
    -------
    dict
        "bright" and "spectra": rows written.
    """
    bright, spectra = [], []
    for plan in plans:
        columns = _read_catalogue(config, plan)
        bright.append(_make_bright_sample(config, columns))
        spectra.append(observe_spectra(config, plan.centre, make_sources(config, plan.centre), columns))
    tables = {BRIGHT_SAMPLE_FILE: _concatenate(bright), config.crossmatch.file: _concatenate(spectra)}
    for name, columns in tables.items():
        write_table(join(config.locations.survey, name), columns, name="CATALOGUE")
    rows = {"bright": len(tables[BRIGHT_SAMPLE_FILE]["ID"]), "spectra": len(tables[config.crossmatch.file]["uberID"])}
    logger.info("wrote %(bright)d bright galaxies and %(spectra)d spectra", rows)
    return rows


def _read_catalogue(config: Config, plan: TilePlan) -> dict[str, npt.NDArray[Any]]:
    with fsspec.open(_locate_catalogue(config, plan), "rb") as file, fits.open(file) as hdus:
        table = hdus[1].data
        return {name: np.array(table[name]) for name in table.names}


def _make_bright_sample(config: Config, columns: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Make the rows of the KiDS-Bright file; ``zphot_ANNz2`` is NaN, since no ANNz2 was run on a simulation."""
    which = select_bright(config, columns)
    names = ("ID", "RAJ2000", "DECJ2000", "MAGERR_AUTO", "MASK")
    rows = {name: columns[name][which] for name in names}
    rows["MAG_AUTO_CALIB"] = (columns["MAG_AUTO"] - columns["EXTINCTION_r"])[which].astype(np.float32)
    rows["zphot_ANNz2"] = np.full(np.count_nonzero(which), np.nan, dtype=np.float32)
    rows["masked"] = ((rows["MASK"] & MASKED_BITS) > 0).astype(np.int16)
    order = ("ID", "RAJ2000", "DECJ2000", "MAG_AUTO_CALIB", "MAGERR_AUTO", "zphot_ANNz2", "MASK", "masked")
    return {name: rows[name] for name in order}


def _concatenate(tables: Sequence[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
