"""Sizes and fluxes of sources as measured, with the errors that a measurement tells.

Nothing that is measured may tell what only the simulation knows. So aperture, star or galaxy, and errors come from what
was measured, never from the truth: the error of a flux is that of the sky in its aperture and a share of the measured
flux itself, as in SExtractor (FLUXERR_AUTO: noise of the background and counted photons of the source) and in GAaP
(Kuijken 2008, A&A 482, 1053: noise of the pixels). An error of the true flux gives the noise away: over the measured
flux, it is the ratio of true to measured flux. And MAG_AUTO holds the noise of the r aperture, which lies within its
own: a second, independent measurement would take the noise off the first.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import brentq
from scipy.spatial import cKDTree
from scipy.special import gamma, gammainc, i0e, kv

from photoz.simulate.apertures import FAINTEST_WAVE, PixelFluxes
from photoz.simulate.render import (
    MOFFAT_BETA,
    SERSIC_TRUNCATION,
    compute_gain,
    compute_sky_noise,
    draw_psf,
    is_drawn_infrared,
)
from photoz.simulate.seds import Floats
from photoz.simulate.sky import Centre, Recipe, Sources, compute_received_fluxes, make_rng

POGSON = 2.5 / np.log(10)
"""[mag] per relative change of a flux."""

_APERTURES = (0.7, 2.0)  # arcsec; smallest and largest Gaussian width of GAaP in DR4
_SIZE_ERROR = 0.02  # of a size, 1 sigma
_REACH = 12.0  # arcsec; farther neighbours shed next to nothing into an aperture
# Of the flux under an aperture, about what lies under its square, of which the noise of photons is made: all of a
# point, half of an even surface.
_SQUARE_SHARE = 0.7
_RATIOS = np.linspace(0.2, 1.0, 9)


@dataclass(frozen=True, eq=False)
class Sizes:
    """How large N sources look in r, as measured.

    Parameters
    ----------
    seeing : float
        [arcsec] FWHM of the tile's point-spread function in r.
    seen_N : ndarray of float64
        [arcsec] half-light radius, seeing included.
    """

    seeing: float
    seen_N: Floats

    @property
    def intrinsic_N(self) -> Floats:
        """[arcsec] half-light radius with the seeing taken off; 0 for what looks no larger than a star."""
        # Half-light radii added in squares, as for Gaussians, whose half-light radius is half of the FWHM. Errors
        # of 2 % leave some stars below the seeing.
        return np.asarray(np.sqrt(np.maximum(self.seen_N**2 - (self.seeing / 2) ** 2, 0.0)))

    @property
    def aperture_N(self) -> Floats:
        """[arcsec] width of the Gaussian aperture of GAaP."""
        return np.clip(np.hypot(_APERTURES[0], 0.6 * self.intrinsic_N), *_APERTURES)


def measure_sizes(recipe: Recipe, centre: Centre, sources: Sources) -> Sizes:
    """Measure how large sources look in r, to 2 %.

    Parameters
    ----------
    recipe : Recipe
    centre : (float, float)
        [deg] of the tile.
    sources : Sources
    """
    # A stream of its own: apertures are needed before the catalogue is made, and are the same again then.
    rng = make_rng(recipe.seed, centre, "sizes")
    seeing = draw_psf(recipe, centre, "r").seeing
    return Sizes(seeing, np.hypot(sources.radius, seeing / 2) * (1 + _SIZE_ERROR * rng.standard_normal(len(sources))))


@dataclass(frozen=True, eq=False)
class Light:
    """What N sources send in B bands, dimmed by the Galaxy and with the errors of calibration, before noise.

    Parameters
    ----------
    total_NB, aperture_NB, neighbours_NB : ndarray of float64
        [maggies] of the source; of it, under its Gaussian aperture; and there, of its neighbours.
    sky_NB : ndarray of float64
        [maggies] noise of the sky under the aperture.
    gain_B : ndarray of float64
        [electron / maggy]
    """

    total_NB: Floats
    aperture_NB: Floats
    neighbours_NB: Floats
    sky_NB: Floats
    gain_B: Floats


def gather_light(recipe: Recipe, centre: Centre, sources: Sources, scene: Sources, sizes: Sizes) -> Light:
    """Gather the light of sources and of their neighbours.

    Parameters
    ----------
    recipe : Recipe
    centre : (float, float)
        [deg] of the tile.
    sources : Sources
        N sources.
    scene : Sources
        Those, first, and whatever else may be near them.
    sizes : Sizes
        Of the N sources.
    """
    bands, depth, scale = recipe.survey.bands, recipe.simulation.depth, recipe.survey.pixel_scale
    received_NB = compute_received_fluxes(recipe, centre, scene)
    total_NB = received_NB[: len(sources)]
    noise_B = np.array([compute_sky_noise(depth[band], scale) for band in bands])
    # A Gaussian weight of width A gathers the noise of a circle of radius A; depths are for 1 arcsec.
    sky_B = 10.0 ** (-0.4 * np.array([depth[band] for band in bands])) / 5
    blur_NB = np.stack([_amplify_noise(recipe, centre, band, sizes.aperture_N) for band in bands], axis=1)
    return Light(
        total_NB=total_NB,
        aperture_NB=total_NB * compute_aperture_share(sources, sizes.aperture_N),
        neighbours_NB=_gather_neighbours(centre, sources, (scene, received_NB), sizes.aperture_N),
        sky_NB=sky_B * sizes.aperture_N[:, None] * blur_NB,
        gain_B=np.array(
            [
                math.inf if is_drawn_infrared(recipe, band) else compute_gain(band, scale, noise)
                for band, noise in zip(bands, noise_B, strict=True)
            ]
        ),
    )


def _amplify_noise(recipe: Recipe, centre: Centre, band: str, aperture_N: Floats) -> Floats:
    """Compute by how much the noise of an aperture grows as the seeing is divided out, where the seeing is known."""
    if band not in recipe.simulation.seeing or is_drawn_infrared(recipe, band):
        return np.ones_like(aperture_N)
    seeing = draw_psf(recipe, centre, band).seeing
    wave = np.linspace(1e-3, 12.0, 1000)  # 1 / arcsec
    radius, power = seeing / 2 / math.sqrt(2 ** (1 / MOFFAT_BETA) - 1), MOFFAT_BETA - 1
    # A Moffat profile in Fourier space.
    point = 2 * (wave * radius / 2) ** power * kv(power, wave * radius) / gamma(power)
    width = np.linspace(*_APERTURES, 27)
    aperture = np.exp(-0.5 * (width[:, None] * wave) ** 2)
    # The variance is the integral of the square of the weights' waves; `photoz.simulate.apertures` keeps the same ones.
    kept = np.where(aperture > FAINTEST_WAVE, aperture / point, 0.0)
    ratio = np.trapezoid(kept**2 * wave, axis=1) / np.trapezoid(aperture**2 * wave, axis=1)
    return np.asarray(np.interp(aperture_N, width, np.sqrt(ratio)))


def _gather_neighbours(centre: Centre, sources: Sources, others: tuple[Sources, Floats], aperture_N: Floats) -> Floats:
    """Gather the light of neighbours under apertures, as if their profiles were Gaussians of their half-light radii."""
    scene, received_MB = others
    stretch = np.array([3600 * np.cos(np.radians(centre[1])), 3600.0])
    place_M2 = np.stack([(scene.ra - centre[0] + 180) % 360 - 180, scene.dec - centre[1]], axis=1) * stretch
    near = cKDTree(place_M2).query_ball_point(place_M2[: len(sources)], _REACH, return_sorted=True)
    own_P = np.repeat(np.arange(len(sources)), [len(each) for each in near])
    other_P = np.concatenate([np.empty(0, dtype=np.intp), *near]).astype(np.intp)
    # The scene begins with the sources themselves.
    own_P, other_P = own_P[own_P != other_P], other_P[own_P != other_P]
    distance_P = np.hypot(*(place_M2[own_P] - place_M2[other_P]).T)
    # A Gaussian of half-light radius R has a width of R / 1.1774.
    width_P = aperture_N[own_P] ** 2 + (scene.radius[other_P] / 1.1774) ** 2
    share_P = aperture_N[own_P] ** 2 / width_P * np.exp(-(distance_P**2) / (2 * width_P))
    light_NB = np.zeros((len(sources), received_MB.shape[1]))
    np.add.at(light_NB, own_P, share_P[:, None] * received_MB[other_P])
    return light_NB


@dataclass(frozen=True, eq=False)
class Fluxes:
    """Fluxes of N sources in B bands as measured, dimmed by the Galaxy, with the errors that the measurement tells.

    Parameters
    ----------
    gaap_NB, gaap_error_NB, gaap_sky_NB : ndarray of float64
        [maggies] within the Gaussian apertures; 1-sigma error, and the part of it that the sky makes.
    auto_N, auto_error_N : ndarray of float64
        [maggies] total in r.
    """

    gaap_NB: Floats
    gaap_error_NB: Floats
    gaap_sky_NB: Floats
    auto_N: Floats
    auto_error_N: Floats


def measure_fluxes(
    recipe: Recipe,
    rng: np.random.Generator,
    light: Light,
    sizes: Sizes,
    pixels: Mapping[str, PixelFluxes] | None = None,
) -> Fluxes:
    """Measure fluxes within the Gaussian apertures, and the total in r.

    The noise is of the truth; the errors are of what was measured.

    Parameters
    ----------
    recipe : Recipe
    rng : numpy.random.Generator
    light : Light
    sizes : Sizes
        Of the same N sources.
    pixels : mapping of str to PixelFluxes, optional
        What was measured on images, by band; of bands without an image fluxes are drawn, with the same kind of noise.
    """
    bands = recipe.survey.bands
    r_band, floor = bands.index("r"), recipe.simulation.photometry_floor / POGSON
    photons_NB = np.sqrt(_SQUARE_SHARE * light.aperture_NB / light.gain_B)
    noise_NB = np.hypot(light.sky_NB, photons_NB) * rng.standard_normal(light.sky_NB.shape)
    gaap_NB = light.aperture_NB + light.neighbours_NB + noise_NB
    # Of the measured flux, below 0 as if there were none; of the true one, errors gave R2 of up to 0.90 on the noise
    # (docs/benchmarks/simulated.md).
    seen_NB, sky_NB = np.sqrt(_SQUARE_SHARE * np.maximum(gaap_NB, 0.0) / light.gain_B), light.sky_NB.copy()
    for band, measured in (pixels or {}).items():
        column = bands.index(band)
        gaap_NB[:, column], sky_NB[:, column] = measured.flux_N, measured.sky_N
        seen_NB[:, column] = measured.photons_N
    # At least as wide as the r aperture.
    auto_sky_N = np.maximum(sky_NB[:, r_band] / sizes.aperture_N * 2.5 * sizes.seen_N, sky_NB[:, r_band])
    # Noise of the ring beyond the r aperture alone: what lies within is shared. Once it was independent: a second
    # measurement of r, whose noise was four times smaller (docs/benchmarks/simulated.md).
    rest_N = np.sqrt(auto_sky_N**2 - sky_NB[:, r_band] ** 2) * rng.standard_normal(len(auto_sky_N))
    auto_N = light.total_NB[:, r_band] + (gaap_NB - light.aperture_NB)[:, r_band] + rest_N
    return Fluxes(
        gaap_NB=gaap_NB,
        gaap_error_NB=np.sqrt(sky_NB**2 + seen_NB**2 + (floor * np.maximum(gaap_NB, 0.0)) ** 2),
        gaap_sky_NB=sky_NB,
        auto_N=auto_N,
        auto_error_N=np.hypot(auto_sky_N, floor * np.maximum(auto_N, 0.0)),
    )


def compute_aperture_share(sources: Sources, aperture_N: Floats) -> Floats:
    """Compute the share of the flux within round Gaussian apertures of width A [arcsec] before seeing, shape (N, B)."""
    disc_N = share_of_profile(1.0, _divide(aperture_N, sources.disc_radius), sources.disc_ratio)
    bulge_N = np.ones(len(sources))
    # Indices come in steps of 0.5, so the integral is tabulated a few times and not for every galaxy.
    for index in np.unique(sources.bulge_index[~sources.star]):
        which = (sources.bulge_index == index) & ~sources.star
        radius_N, ratio_N = sources.bulge_radius[which], sources.bulge_ratio[which]
        bulge_N[which] = share_of_profile(float(index), aperture_N[which] / radius_N, ratio_N)
    share_NB = sources.bulge_fraction * bulge_N[:, None] + (1 - sources.bulge_fraction) * disc_N[:, None]
    # Before seeing a star is a point, all of which any aperture holds.
    return np.where(sources.star[:, None], 1.0, share_NB)


def share_of_profile(index: float, aperture_N: Floats, ratio_N: Floats) -> Floats:
    """Compute the share of Sersic profiles under a round Gaussian weight.

    Parameters
    ----------
    index : float
    aperture_N : ndarray of float64
        Width (sigma) of the weight, in circularised half-light radii.
    ratio_N : ndarray of float64
        Axis ratio, minor over major; below 0.2 as if it were 0.2.

    Examples
    --------
    >>> width = np.array([1.0 / np.sqrt(2 * np.log(2))])
    >>> share_of_profile(0.5, width, np.ones(1)).round(3)  # a Gaussian under its equal
    array([0.5])
    """
    table = _tabulate_share(index)
    # Beyond the table its ends hold: at exp(5) half-light radii nearly all light is in, at exp(-5) next to none.
    width_N = np.clip(np.log(aperture_N), table.grid[1][0], table.grid[1][-1])
    share_N = table(np.stack([np.clip(ratio_N, *_RATIOS[[0, -1]]), width_N], axis=1))
    # Between points of the table, where it has nearly all light, it overshoots by up to 0.2 %.
    return np.asarray(np.minimum(share_N, 1.0))


@lru_cache(maxsize=32)
def _tabulate_share(index: float) -> RegularGridInterpolator:
    # Rendered bulges end somewhere, discs do not (`photoz.simulate.render`).
    end = math.inf if index == 1.0 else SERSIC_TRUNCATION ** (1 / index)

    def exceed(b: float) -> float:
        return float(gammainc(2 * index, b) - 0.5 * gammainc(2 * index, b * end))

    # Exactly what makes R hold half of the light; render's 2 n - 1/3 will do for the size of a stamp.
    b = float(brentq(exceed, 1e-3, 3 * index))
    t = np.logspace(-8, 3, 800)  # b (r / R)^(1/n)
    radius = (t / b) ** index
    # In t a Sersic profile's light within r is the incomplete gamma function of 2 n, so one grid serves every index.
    light = t ** (2 * index) * np.exp(-t) / gamma(2 * index)  # per unit log t
    light = np.where(t <= b * end, light, 0.0) / gammainc(2 * index, b * end)
    width = np.linspace(-5, 5, 151)
    shares = []
    for ratio in _RATIOS:
        # At r on the ellipse of axes r / sqrt(q) and r sqrt(q), the weight's mean over the angle.
        square = (radius / np.exp(width)[:, None]) ** 2
        weight = np.exp(-0.5 * ratio * square) * i0e((1 / ratio - ratio) / 4 * square)
        shares.append(np.trapezoid(weight * light, np.log(t), axis=1))
    return RegularGridInterpolator((_RATIOS, width), np.stack(shares))


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    # Stars have no disc; the 1 is not used, and its logarithm exists.
    return np.divide(numerator, denominator, out=np.ones_like(numerator), where=denominator > 0)
