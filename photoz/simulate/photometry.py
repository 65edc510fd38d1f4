"""Sizes and fluxes of sources as measured, with the errors that a measurement tells.

Nothing that is measured may tell what only the simulation knows. So aperture, star or galaxy, and errors come from what
was measured, never from the truth: the error of a flux is that of the sky in its aperture and a share of the measured
flux itself, as in SExtractor (FLUXERR_AUTO: noise of the background and counted photons of the source) and in GAaP
(Kuijken 2008, A&A 482, 1053: noise of the pixels). An error of the true flux gives the noise away: over the measured
flux, it is the ratio of true to measured flux. And MAG_AUTO holds the noise of the r aperture, which lies within its
own: a second, independent measurement would take the noise off the first.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gamma, gammainccinv

from photoz.simulate.render import draw_psf
from photoz.simulate.seds import Floats
from photoz.simulate.sky import Centre, Recipe, Sources, compute_extinction

POGSON = 2.5 / np.log(10)
"""[mag] per relative change of a flux."""

_APERTURES = (0.7, 2.0)  # arcsec; smallest and largest Gaussian width of GAaP in DR4
_SIZE_ERROR = 0.02  # of a size, 1 sigma


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


def measure_sizes(recipe: Recipe, centre: Centre, rng: np.random.Generator, sources: Sources) -> Sizes:
    """Measure how large sources look in r, to 2 %.

    Parameters
    ----------
    recipe : Recipe
    centre : (float, float)
        [deg] of the tile.
    rng : numpy.random.Generator
    sources : Sources
    """
    seeing = draw_psf(recipe, centre, "r").seeing
    return Sizes(seeing, np.hypot(sources.radius, seeing / 2) * (1 + _SIZE_ERROR * rng.standard_normal(len(sources))))


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


def measure_fluxes(recipe: Recipe, rng: np.random.Generator, sources: Sources, sizes: Sizes) -> Fluxes:
    """Measure fluxes within the Gaussian apertures, and the total in r.

    The noise is of the truth; the errors are of what was measured. Photon noise of the source is left out of both: for
    a galaxy of r = 19 it would be a fifteenth of the floor in r, and two thirds of it in u.

    Parameters
    ----------
    recipe : Recipe
    rng : numpy.random.Generator
    sources : Sources
    sizes : Sizes
        Of the same N sources.
    """
    simulation, bands = recipe.simulation, recipe.survey.bands
    r_band = bands.index("r")
    # Dimmed before noise is added: dust takes from the source, not from the noise of the sky.
    total_NB = 10.0 ** (-0.4 * (sources.magnitude + compute_extinction(sources.ra, sources.dec, bands)))
    depth_B = np.array([simulation.depth[band] for band in bands])
    # A Gaussian weight of width A gathers the noise of a circle of radius A; depths are for 1 arcsec.
    sky_B = 10.0 ** (-0.4 * depth_B) / 5
    sky_NB = sky_B * sizes.aperture_N[:, None]
    floor = simulation.photometry_floor / POGSON
    # One error of calibration for a source and a band: it scales the flux, so MAG_AUTO has the same one as MAG_GAAP_r.
    gain_NB = 1 + floor * rng.standard_normal(total_NB.shape)
    noise_NB = sky_NB * rng.standard_normal(total_NB.shape)
    gaap_NB = total_NB * compute_aperture_share(sources, sizes.aperture_N) * gain_NB + noise_NB
    # At least as wide as the r aperture, so that the rest below has no negative variance.
    auto_sky_N = sky_B[r_band] * np.maximum(2.5 * sizes.seen_N, sizes.aperture_N)
    # Noise of the ring beyond the r aperture alone: what lies within is shared. Once it was independent: a second
    # measurement of r, whose noise was four times smaller (docs/benchmarks/simulated.md).
    rest_N = np.sqrt(auto_sky_N**2 - sky_NB[:, r_band] ** 2) * rng.standard_normal(len(sources))
    auto_N = total_NB[:, r_band] * gain_NB[:, r_band] + noise_NB[:, r_band] + rest_N
    return Fluxes(
        gaap_NB=gaap_NB,
        # Of the measured flux, below 0 as if there were none; of the true one, errors gave R2 of up to 0.90 on the
        # noise (docs/benchmarks/simulated.md).
        gaap_error_NB=np.hypot(sky_NB, floor * np.maximum(gaap_NB, 0.0)),
        gaap_sky_NB=sky_NB,
        auto_N=auto_N,
        auto_error_N=np.hypot(auto_sky_N, floor * np.maximum(auto_N, 0.0)),
    )


def compute_aperture_share(sources: Sources, aperture_N: Floats) -> Floats:
    """Compute the share of the flux that Gaussian apertures of width A [arcsec] gather before seeing, shape (N, B).

    Ellipticity is left out: profiles are taken as circular of the same area.
    """
    disc_N = share_of_profile(1.0, _divide(aperture_N, sources.disc_radius))
    bulge_N = np.ones(len(sources))
    # Indices come in steps of 0.5, so the integral is tabulated a few times and not for every galaxy.
    for index in np.unique(sources.bulge_index[~sources.star]):
        which = (sources.bulge_index == index) & ~sources.star
        bulge_N[which] = share_of_profile(float(index), aperture_N[which] / sources.bulge_radius[which])
    share_NB = sources.bulge_fraction * bulge_N[:, None] + (1 - sources.bulge_fraction) * disc_N[:, None]
    # Before seeing a star is a point, all of which any aperture holds.
    return np.where(sources.star[:, None], 1.0, share_NB)


def share_of_profile(index: float, aperture_N: Floats) -> Floats:
    """Compute the share of a Sersic profile under a Gaussian weight of width A, in half-light radii.

    Examples
    --------
    >>> share_of_profile(0.5, np.array([1.0 / np.sqrt(2 * np.log(2))])).round(3)  # a Gaussian under its equal
    array([0.5])
    """
    grid, share = _tabulate_share(index)
    # Beyond the table interp holds its ends: at exp(5) half-light radii nearly all light is in, at exp(-5) next to
    # none.
    return np.asarray(np.interp(np.log(aperture_N), grid, share))


@lru_cache(maxsize=32)
def _tabulate_share(index: float) -> tuple[Floats, Floats]:
    # Exactly what makes R hold half of the light; render's 2 n - 1/3 will do for the size of a stamp.
    b = gammainccinv(2 * index, 0.5)
    t = np.logspace(-8, 3, 4000)  # b (r / R)^(1/n)
    radius = (t / b) ** index
    # In t a Sersic profile's light within r is the incomplete gamma function of 2 n, so one grid serves every index.
    light = t ** (2 * index) * np.exp(-t) / gamma(2 * index)  # per unit log t
    grid = np.linspace(-5, 5, 201)
    weight = np.exp(-0.5 * (radius / np.exp(grid)[:, None]) ** 2)
    return grid, np.trapezoid(weight * light, np.log(t), axis=1)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    # Stars have no disc; the 1 is not used, and its logarithm exists.
    return np.divide(numerator, denominator, out=np.ones_like(numerator), where=denominator > 0)
