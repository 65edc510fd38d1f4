"""The multi-band catalogue of a tile, measured with noise, with KiDS DR4's column names and sentinels.

GAaP magnitudes are fluxes within a Gaussian aperture on the sky before seeing, the same in all bands, corrected for
Galactic extinction; so they are fainter than total magnitudes, by more for larger galaxies, as in KiDS (Kuijken et al.
2019, section 4). MAG_AUTO is the total r magnitude as measured, not corrected for extinction. Both sentinels stand in
magnitude and error alike: 99 for a band that was observed and gives no magnitude, -99 for a band not observed.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gamma, gammainccinv

from photoz.simulate.render import compute_halo_radius, draw_psf, find_halo_stars
from photoz.simulate.seds import Floats
from photoz.simulate.sky import Centre, Recipe, Sources, compute_extinction, make_rng, make_wcs

BRIGHT_HALO, FAINT_HALO = 4, 2
"""Bits of MASK. The KiDS-Bright cut (28668) refuses the first and lets the second pass."""
NEAR_INFRARED = ("Z", "Y", "J", "H", "Ks")

_APERTURES = (0.7, 2.0)  # arcsec; smallest and largest Gaussian width of GAaP in DR4
_STRIP_END = 0.9  # of the tile's width: inside what the tile owns, overlaps excised
_STAR_CONFUSION = 0.01  # of point-like or faint sources whose class is wrong


def measure_sources(recipe: Recipe, centre: Centre, sources: Sources, scene: Sources) -> dict[str, npt.NDArray[Any]]:
    """Measure a tile's own sources.

    Parameters
    ----------
    recipe : Recipe
    centre : (float, float)
        [deg] of the tile.
    sources : Sources
        N sources that the tile owns.
    scene : Sources
        Those and the neighbouring tiles', whose bright stars have haloes too.

    Returns
    -------
    dict of str to ndarray, each of length N
        Columns of the catalogue.
    """
    survey, simulation = recipe.survey, recipe.simulation
    rng = make_rng(recipe.seed, centre, "photometry")
    x, y = make_wcs(centre, simulation.pixels, survey.pixel_scale).all_world2pix(sources.ra, sources.dec, 1)
    ra = sources.ra + 0.02 / 3600 * rng.standard_normal(len(sources)) / np.cos(np.radians(sources.dec))
    dec = sources.dec + 0.02 / 3600 * rng.standard_normal(len(sources))
    columns: dict[str, npt.NDArray[Any]] = {
        "ID": np.array([format_id(*position) for position in zip(ra, dec, strict=True)]),
        "KIDS_TILE": np.full(len(sources), survey.tile.format(ra=f"{centre[0]:.1f}", dec=f"{centre[1]:.1f}")),
        "RAJ2000": ra,
        "DECJ2000": dec,
        "ALPHA_J2000": ra,
        "DELTA_J2000": dec,
        "Xpos": x.astype(np.float32),
        "Ypos": y.astype(np.float32),
    }
    columns |= _measure_auto(recipe, centre, rng, sources)
    columns |= _classify(rng, sources, survey.bands.index("r"))
    columns |= _flag_haloes(survey.bands, centre, sources, scene)
    columns |= _measure_gaap(recipe, rng, sources, find_unobserved(recipe, centre, x))
    return columns


def format_id(ra: float, dec: float) -> str:
    """Write a position [deg] as a KiDS DR4 identifier.

    >>> format_id(180.0, -0.5)
    'KiDSDR4 J120000.000-003000.00'
    """
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
        band = near[simulation.centres.index(centre) % len(near)]
        inward = (_STRIP_END * simulation.pixels - x_N) / simulation.pixels
        missing[:, bands.index(band)] = (inward >= 0) & (inward < simulation.missing_band_fraction)
    return missing


def _measure_auto(
    recipe: Recipe, centre: Centre, rng: np.random.Generator, sources: Sources
) -> dict[str, npt.NDArray[Any]]:
    r_band = recipe.survey.bands.index("r")
    seeing = draw_psf(recipe, centre, "r").seeing
    size = np.hypot(sources.radius, seeing / 2)  # arcsec, half-light radius as seen
    extinction = compute_extinction(sources.ra, sources.dec, ("r",))[:, 0]
    total = 10.0 ** (-0.4 * (sources.magnitude[:, r_band] + extinction))
    sky = 10.0 ** (-0.4 * recipe.simulation.depth["r"]) / 5 * np.maximum(2.5 * size, 1.0)
    error = np.hypot(sky / total, 0.005)
    magnitude = -2.5 * np.log10(np.maximum(total * (1 + error * rng.standard_normal(len(sources))), sky / 5))
    pixel = recipe.survey.pixel_scale
    return {
        "MAG_AUTO": magnitude.astype(np.float32),
        "MAGERR_AUTO": (1.0857 * error).astype(np.float32),
        "FLUX_RADIUS": (size / pixel * (1 + 0.02 * rng.standard_normal(len(sources)))).astype(np.float32),
        "FWHM_IMAGE": (np.hypot(1.5 * sources.radius, seeing) / pixel).astype(np.float32),
    }


def _classify(rng: np.random.Generator, sources: Sources, r_band: int) -> dict[str, npt.NDArray[Any]]:
    wrong = (rng.random(len(sources)) < _STAR_CONFUSION) & (sources.magnitude[:, r_band] > 19)
    wrong &= sources.star | (sources.radius < 0.3)
    star = sources.star ^ wrong
    spread = np.abs(0.02 * rng.standard_normal(len(sources)))
    return {
        "CLASS_STAR": np.clip(np.where(star, 0.98 - spread, 0.02 + spread), 0, 1).astype(np.float32),
        "SG2DPHOT": star.astype(np.int16),
        "SG_FLAG": (~star).astype(np.int16),
    }


def _flag_haloes(bands: Sequence[str], centre: Centre, sources: Sources, scene: Sources) -> dict[str, npt.NDArray[Any]]:
    r_band = bands.index("r")
    stars = scene.select(find_halo_stars(scene, bands))
    stretch = np.cos(np.radians(centre[1]))
    distance_NS = 3600 * np.hypot((sources.ra[:, None] - stars.ra) * stretch, sources.dec[:, None] - stars.dec)
    radius_S = compute_halo_radius(stars.magnitude[:, r_band])
    inside = (distance_NS <= radius_S).any(1)
    near = (distance_NS <= 1.5 * radius_S).any(1)
    return {
        "MASK": np.where(inside, BRIGHT_HALO, np.where(near, FAINT_HALO, 0)).astype(np.int32),
        "IMAFLAGS_ISO": inside.astype(np.int32),
    }


def _measure_gaap(
    recipe: Recipe, rng: np.random.Generator, sources: Sources, missing_NB: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[Any]]:
    survey, simulation = recipe.survey, recipe.simulation
    aperture_N = np.clip(np.hypot(_APERTURES[0], 0.6 * sources.radius), *_APERTURES)
    flux_NB = 10.0 ** (-0.4 * sources.magnitude) * compute_aperture_share(sources, aperture_N)
    depth_B = np.array([simulation.depth[band] for band in survey.bands])
    # A Gaussian weight of width A gathers the noise of a circle of radius A; depths are for 1 arcsec.
    sky_NB = 10.0 ** (-0.4 * depth_B) / 5 * aperture_N[:, None]
    floor_NB = simulation.photometry_floor / 1.0857 * flux_NB
    measured_NB = flux_NB + np.hypot(sky_NB, floor_NB) * rng.standard_normal(flux_NB.shape)
    failed_NB = (measured_NB <= sky_NB) | (rng.random(flux_NB.shape) < simulation.failed_fraction)
    magnitude_NB = -2.5 * np.log10(np.where(failed_NB, 1.0, measured_NB))
    error_NB = 1.0857 * np.hypot(sky_NB, floor_NB) / np.where(failed_NB, 1.0, measured_NB)
    extinction_NB = compute_extinction(sources.ra, sources.dec, survey.bands)
    columns: dict[str, npt.NDArray[Any]] = {}
    for number, band in enumerate(survey.bands):
        sentinel = np.where(missing_NB[:, number], survey.not_observed, survey.not_detected)
        bad = missing_NB[:, number] | failed_NB[:, number]
        dimmed = measured_NB[:, number] * 10.0 ** (-0.4 * extinction_NB[:, number])
        columns[f"EXTINCTION_{band}"] = extinction_NB[:, number].astype(np.float32)
        columns[f"FLUX_GAAP_{band}"] = np.where(missing_NB[:, number], np.nan, dimmed).astype(np.float32)
        columns[f"MAG_GAAP_{band}"] = np.where(bad, sentinel, magnitude_NB[:, number]).astype(np.float32)
        columns[f"MAGERR_GAAP_{band}"] = np.where(bad, sentinel, error_NB[:, number]).astype(np.float32)
    return columns


def compute_aperture_share(sources: Sources, aperture_N: Floats) -> Floats:
    """Compute the share of the flux that Gaussian apertures of width A [arcsec] gather before seeing, shape (N, B).

    Ellipticity is left out: profiles are taken as circular of the same area.
    """
    disc_N = share_of_profile(1.0, _divide(aperture_N, sources.disc_radius))
    bulge_N = np.ones(len(sources))
    for index in np.unique(sources.bulge_index[~sources.star]):
        which = (sources.bulge_index == index) & ~sources.star
        bulge_N[which] = share_of_profile(float(index), aperture_N[which] / sources.bulge_radius[which])
    share_NB = sources.bulge_fraction * bulge_N[:, None] + (1 - sources.bulge_fraction) * disc_N[:, None]
    return np.where(sources.star[:, None], 1.0, share_NB)


def share_of_profile(index: float, aperture_N: Floats) -> Floats:
    """Compute the share of a Sersic profile under a Gaussian weight of width A, in half-light radii.

    Examples
    --------
    >>> share_of_profile(0.5, np.array([1.0 / np.sqrt(2 * np.log(2))])).round(3)  # a Gaussian under its equal
    array([0.5])
    """
    grid, share = _tabulate_share(index)
    return np.asarray(np.interp(np.log(aperture_N), grid, share))


@lru_cache(maxsize=32)
def _tabulate_share(index: float) -> tuple[Floats, Floats]:
    b = gammainccinv(2 * index, 0.5)
    t = np.logspace(-8, 3, 4000)  # b (r / R)^(1/n)
    radius = (t / b) ** index
    light = t ** (2 * index) * np.exp(-t) / gamma(2 * index)  # per unit log t
    grid = np.linspace(-5, 5, 201)
    weight = np.exp(-0.5 * (radius / np.exp(grid)[:, None]) ** 2)
    return grid, np.trapezoid(weight * light, np.log(t), axis=1)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.ones_like(numerator), where=denominator > 0)


def select_bright(columns: Mapping[str, npt.NDArray[Any]], limit: float) -> npt.NDArray[np.bool_]:
    """Select the rows of a catalogue that the KiDS-Bright file lists, masked ones too: galaxies of r_auto < limit."""
    calibrated = columns["MAG_AUTO"] - columns["EXTINCTION_r"]
    galaxy = (columns["SG_FLAG"] == 1) & (columns["SG2DPHOT"] == 0) & (columns["CLASS_STAR"] < 0.5)
    return np.asarray(galaxy & (calibrated < limit))
