"""The multi-band catalogue of a tile, measured with noise, with KiDS DR4's column names and sentinels.

GAaP magnitudes are fluxes within a Gaussian aperture on the sky before seeing, the same in all bands, corrected for
Galactic extinction, measured on the images of the bands that have one (`apertures`); so they are fainter than total
magnitudes, by more for larger galaxies, as in KiDS (Kuijken et al. 2019, section 4). MAG_AUTO is the total r magnitude
as measured, not corrected for extinction. Both sentinels stand in magnitude and error alike: 99 for a band that was
observed and gives no magnitude, -99 for a band not observed.
MAG_LIM says how faint a source could have been seen there: its flux would equal its noise.

Nothing here may tell what only the simulation knows: every column comes from what was measured (`photometry`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from photoz.simulate.apertures import PixelFluxes
from photoz.simulate.photometry import POGSON, Fluxes, Sizes, gather_light, measure_fluxes, measure_sizes
from photoz.simulate.render import compute_halo_radius, find_halo_stars
from photoz.simulate.seds import Floats
from photoz.simulate.sky import NEAR_INFRARED, Centre, Recipe, Sources, compute_extinction, make_rng, make_wcs
from photoz.survey.settings import Survey

BRIGHT_HALO, FAINT_HALO = 4, 2
"""Bits of MASK. The KiDS-Bright cut (28668) refuses the first and lets the second pass."""

_POSITION_ERROR = 0.02 / 3600  # deg
_CONFUSED_RADIUS = 0.3  # arcsec; galaxies that look smaller may be taken for stars
_STRIP_END = 0.9  # of the tile's width: inside what the tile owns, overlaps excised
_STAR_CONFUSION = 0.01  # of point-like or faint sources whose class is wrong


def measure_sources(
    recipe: Recipe,
    centre: Centre,
    sources: Sources,
    scene: Sources,
    pixels: Mapping[str, PixelFluxes] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Measure a tile's own sources.

    Parameters
    ----------
    recipe : Recipe
    centre : (float, float)
        [deg] of the tile.
    sources : Sources
        N sources that the tile owns.
    scene : Sources
        Those, first, and the neighbouring tiles', whose light and haloes reach over.
    pixels : mapping of str to PixelFluxes, optional
        What was measured on the tile's images, by band, in the apertures of `photoz.simulate.photometry.measure_sizes`;
        fluxes of the other bands are drawn.

    Returns
    -------
    dict of str to ndarray, each of length N
        Columns of the catalogue.
    """
    # One stream for all columns, drawn in this order: a draw more changes every column after it.
    rng = make_rng(recipe.seed, centre, "photometry")
    columns = _measure_positions(recipe, centre, rng, sources)
    sizes = measure_sizes(recipe, centre, sources)
    light = gather_light(recipe, centre, sources, scene, sizes)
    fluxes = measure_fluxes(recipe, rng, light, sizes, pixels)
    columns |= _describe_auto(recipe.survey, fluxes, sizes)
    columns |= _classify(rng, sources, columns["MAG_AUTO"], sizes)
    columns |= _flag_haloes(recipe.survey.bands, centre, sources, scene)
    extinction_NB = compute_extinction(columns["RAJ2000"], columns["DECJ2000"], recipe.survey.bands)
    missing_NB = find_unobserved(recipe, centre, columns["Xpos"].astype(np.float64))
    # Of the bands that were not observed, too, so that the number of draws does not depend on the strip.
    failed_NB = rng.random(missing_NB.shape) < recipe.simulation.failed_fraction
    columns |= _describe_gaap(recipe.survey, fluxes, extinction_NB, missing_NB=missing_NB, failed_NB=failed_NB)
    return columns


def _measure_positions(
    recipe: Recipe, centre: Centre, rng: np.random.Generator, sources: Sources
) -> dict[str, npt.NDArray[Any]]:
    survey = recipe.survey
    ra = sources.ra + _POSITION_ERROR * rng.standard_normal(len(sources)) / np.cos(np.radians(sources.dec))
    dec = sources.dec + _POSITION_ERROR * rng.standard_normal(len(sources))
    # From the measured position and 1-based, as FITS and SExtractor count: the true pixel would give the error of
    # RAJ2000 away (docs/benchmarks/simulated.md).
    x, y = make_wcs(centre, recipe.simulation.pixels, survey.pixel_scale).all_world2pix(ra, dec, 1)
    return {
        "ID": np.array([format_id(*position) for position in zip(ra, dec, strict=True)]),
        "KIDS_TILE": np.full(len(sources), survey.tile.format(ra=f"{centre[0]:.1f}", dec=f"{centre[1]:.1f}")),
        "RAJ2000": ra,
        "DECJ2000": dec,
        "ALPHA_J2000": ra,
        "DELTA_J2000": dec,
        "Xpos": x.astype(np.float32),
        "Ypos": y.astype(np.float32),
    }


def format_id(ra: float, dec: float) -> str:
    """Write a position [deg] as a KiDS DR4 identifier.

    >>> format_id(180.0, -0.5)
    'KiDSDR4 J120000.000-003000.00'
    """
    # In whole milliseconds of time and hundredths of an arcsecond from the start: rounded piece by piece, 59.9996 s
    # would be written as 60.000. 24 h is 0 h.
    time = round(ra / 15 * 3600 * 1000) % 86_400_000
    arc = round(abs(dec) * 3600 * 100)
    hours = f"{time // 3_600_000:02d}{time // 60_000 % 60:02d}{time // 1000 % 60:02d}.{time % 1000:03d}"
    degrees = f"{arc // 360_000:02d}{arc // 6000 % 60:02d}{arc // 100 % 60:02d}.{arc % 100:02d}"
    return f"KiDSDR4 J{hours}{'-' if dec < 0 else '+'}{degrees}"


def find_unobserved(recipe: Recipe, centre: Centre, x_N: Floats) -> npt.NDArray[np.bool_]:
    """Tell which bands were not observed.

    One near-infrared band, another from tile to tile, is missing in a strip of columns on the tile's western side.

    Parameters
    ----------
    recipe : Recipe
    centre : (float, float)
        [deg] of the tile.
    x_N : ndarray of float64
        [pixel] columns of the image, 1-based.

    Returns
    -------
    ndarray of bool, shape (N, B)
    """
    bands, simulation = recipe.survey.bands, recipe.simulation
    missing = np.zeros((len(x_N), len(bands)), dtype=bool)
    near = [band for band in bands if band in NEAR_INFRARED]
    if near:
        # Another band from tile to tile, so that every one of them lacks somewhere in a survey of five tiles.
        band = near[simulation.centres.index(centre) % len(near)]
        # East is left, so columns grow to the west.
        inward = (_STRIP_END * simulation.pixels - x_N) / simulation.pixels
        missing[:, bands.index(band)] = (inward >= 0) & (inward < simulation.missing_band_fraction)
    return missing


def _describe_auto(survey: Survey, fluxes: Fluxes, sizes: Sizes) -> dict[str, npt.NDArray[Any]]:
    pixel, empty = survey.pixel_scale, survey.not_detected
    seen_N = fluxes.auto_N > 0
    # 1 stands in for fluxes that have no logarithm; the sentinel replaces it.
    flux_N = np.where(seen_N, fluxes.auto_N, 1.0)
    return {
        "MAG_AUTO": np.where(seen_N, -2.5 * np.log10(flux_N), empty).astype(np.float32),
        "MAGERR_AUTO": np.where(seen_N, POGSON * fluxes.auto_error_N / flux_N, empty).astype(np.float32),
        "FLUX_RADIUS": (sizes.seen_N / pixel).astype(np.float32),
        "FWHM_IMAGE": (np.hypot(1.5 * sizes.intrinsic_N, sizes.seeing) / pixel).astype(np.float32),
    }


def _classify(
    rng: np.random.Generator, sources: Sources, magnitude_N: npt.NDArray[np.float32], sizes: Sizes
) -> dict[str, npt.NDArray[Any]]:
    small_N = sources.star | (sizes.intrinsic_N < _CONFUSED_RADIUS)
    # By measured size and magnitude: by the true ones, the class would tell them (docs/benchmarks/simulated.md).
    star = sources.star ^ ((rng.random(len(sources)) < _STAR_CONFUSION) & (magnitude_N > 19) & small_N)
    spread = np.abs(0.02 * rng.standard_normal(len(sources)))
    return {
        "CLASS_STAR": np.clip(np.where(star, 0.98 - spread, 0.02 + spread), 0, 1).astype(np.float32),
        "SG2DPHOT": star.astype(np.int16),
        "SG_FLAG": (~star).astype(np.int16),
    }


def _flag_haloes(bands: Sequence[str], centre: Centre, sources: Sources, scene: Sources) -> dict[str, npt.NDArray[Any]]:
    r_band = bands.index("r")
    # Of the whole scene: a neighbouring tile's star reaches over the border.
    stars = scene.select(find_halo_stars(scene, bands))
    stretch = np.cos(np.radians(centre[1]))
    apart_NS = sources.ra[:, None] - stars.ra
    # A tile at right ascension 0 has sources at 359.9 and at 0.1 deg; differences of others keep their last bit.
    apart_NS = np.where(np.abs(apart_NS) > 180, apart_NS - 360 * np.sign(apart_NS), apart_NS)
    distance_NS = 3600 * np.hypot(apart_NS * stretch, sources.dec[:, None] - stars.dec)
    radius_S = compute_halo_radius(stars.magnitude[:, r_band])
    inside = (distance_NS <= radius_S).any(1)
    # The faint flag, so that a selection which takes it for the bright one loses sources that KiDS-Bright keeps.
    near = (distance_NS <= 1.5 * radius_S).any(1)
    return {
        "MASK": np.where(inside, BRIGHT_HALO, np.where(near, FAINT_HALO, 0)).astype(np.int32),
        "IMAFLAGS_ISO": inside.astype(np.int32),
    }


def _describe_gaap(
    survey: Survey,
    fluxes: Fluxes,
    extinction_NB: Floats,
    *,
    missing_NB: npt.NDArray[np.bool_],
    failed_NB: npt.NDArray[np.bool_],
) -> dict[str, npt.NDArray[Any]]:
    # Below 1 sigma of the sky, where MAG_LIM lies.
    failed_NB = failed_NB | (fluxes.gaap_NB <= fluxes.gaap_sky_NB)
    flux_NB = np.where(failed_NB, 1.0, fluxes.gaap_NB)
    # Not observed comes first: a band that failed where nothing was observed was not observed.
    sentinel_NB = np.where(missing_NB, survey.not_observed, survey.not_detected)
    bad_NB = missing_NB | failed_NB
    tables_NB = {
        "EXTINCTION": extinction_NB,
        # NaN and no sentinel, since any number may be a flux; those below the noise are kept.
        "FLUX_GAAP": np.where(missing_NB, np.nan, fluxes.gaap_NB),
        "MAG_GAAP": np.where(bad_NB, sentinel_NB, -2.5 * np.log10(flux_NB) - extinction_NB),
        "MAGERR_GAAP": np.where(bad_NB, sentinel_NB, POGSON * fluxes.gaap_error_NB / flux_NB),
        "MAG_LIM": np.where(missing_NB, survey.not_observed, -2.5 * np.log10(fluxes.gaap_sky_NB) - extinction_NB),
    }
    return {
        f"{kind}_{band}": table_NB[:, number].astype(np.float32)
        for number, band in enumerate(survey.bands)
        for kind, table_NB in tables_NB.items()
    }


def select_bright(columns: Mapping[str, npt.NDArray[Any]], limit: float) -> npt.NDArray[np.bool_]:
    """Select the rows of a catalogue that the KiDS-Bright file lists, masked ones too: galaxies of r_auto < limit."""
    calibrated = columns["MAG_AUTO"] - columns["EXTINCTION_r"]
    galaxy = (columns["SG_FLAG"] == 1) & (columns["SG2DPHOT"] == 0) & (columns["CLASS_STAR"] < 0.5)
    return np.asarray(galaxy & (calibrated < limit))
