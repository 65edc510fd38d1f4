"""Images of a tile: sources drawn by GalSim, sky and photon noise, masks.

The point-spread function is the effective one, pixel included: a Moffat profile of the band's seeing. The noise is
that of the stated depth; the sky brightness of a dark night at Paranal turns it into a gain, and so gives bright
sources their photon noise. Bright stars have the aureole that scattering makes, and saturated pixels are not modelled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import galsim
import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS
from scipy.special import gamma

from photoz.simulate.seds import Floats
from photoz.simulate.sky import (
    NEAR_INFRARED,
    Centre,
    Recipe,
    Sources,
    compute_extinction,
    draw_zero_points,
    make_rng,
    make_wcs,
)

MOFFAT_BETA = 3.5
HALO_LIMIT = 14.5
"""[mag(AB)] of r: brighter stars have a visible aureole and a masked halo."""
CORE_BIT, HALO_BIT = 1, 2
"""Bits of the single-band flag image: the core of a bright star (saturated in nature), its halo."""

_AUREOLE_SHARE = 0.03  # of a star's light, scattered far out
_SMALLEST_STAMP, _LARGEST_STAMP, _HALO_STAMP = 24, 768, 1400  # pixel
_STAMP_EDGE = 0.25  # of the sky noise: fainter light than this is cut off at the edge of a stamp
_APERTURE_RADIUS = 1.0  # arcsec; of the depth
SERSIC_TRUNCATION = 8.0  # half-light radii, about where SDSS ends its de Vaucouleurs profiles
# [mag(AB)/arcsec^2] of the dark sky at Paranal: Patat 2003, A&A 400, 1183 (about), and for VISTA's bands its exposure
# time calculator (CASU); converted to AB.
SKY = {"u": 22.5, "g": 22.3, "r": 21.2, "i": 20.0, "Z": 18.7, "Y": 17.8, "J": 16.9, "H": 15.5, "Ks": 14.8}
# Two to ten times looser than GalSim's defaults, for speed; the largest FFT is the default's.
_PARAMETERS = galsim.GSParams(folding_threshold=1e-2, maxk_threshold=5e-3, kvalue_accuracy=1e-4, maximum_fft_size=8192)


@dataclass(frozen=True)
class Psf:
    """A tile's point-spread function in one band.

    Parameters
    ----------
    seeing : float
        [arcsec] FWHM.
    shear : (float, float)
        Its two components.
    """

    seeing: float
    shear: tuple[float, float]


@dataclass(frozen=True, eq=False)
class View:
    """How one band of a tile is looked at.

    Parameters
    ----------
    bands : tuple of str
        Of the sources' magnitudes.
    band : str
        The one looked at.
    wcs : WCS
    pixel_scale : float
        [arcsec / pixel]
    sky_noise : float
        [maggies] standard deviation of a pixel of empty sky.
    zero_point : float
        [mag] by which everything in it is too faint.
    """

    bands: tuple[str, ...]
    band: str
    wcs: WCS
    pixel_scale: float
    sky_noise: float
    zero_point: float

    @property
    def column(self) -> int:
        """Of the band in the sources' magnitudes."""
        return self.bands.index(self.band)


@dataclass(frozen=True, eq=False)
class BandImage:
    """One band of a tile.

    Parameters
    ----------
    band : str
    image, weight : ndarray of float32, shape (Y, X)
        [maggies] flux, and [maggies^-2] inverse variance of the sky noise.
    mask : ndarray of uint8, shape (Y, X)
        `CORE_BIT` and `HALO_BIT`.
    psf : Psf
    gain : float
        [electron / maggy]
    sky_noise : float
        [maggies] standard deviation of a pixel of empty sky.
    """

    band: str
    image: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint8]
    psf: Psf
    gain: float
    sky_noise: float


def render_band(recipe: Recipe, centre: Centre, band: str, sources: Sources) -> BandImage:
    """Render one band of a tile.

    Parameters
    ----------
    recipe : Recipe
    centre : (float, float)
        [deg] of the tile.
    band : str
        One of the survey's image bands.
    sources : Sources
        Everything near enough to be seen, the neighbouring tiles' too.
    """
    view = make_view(recipe, centre, band)
    psf = draw_psf(recipe, centre, band)
    pixels = count_pixels(recipe, band)
    image = galsim.ImageF(pixels, pixels, init_value=0.0)
    draw_sources(image, view, sources, make_psf(psf))
    sigma = view.sky_noise
    gain = compute_gain(band, view.pixel_scale, sigma)
    # A stream for each band, so that the noise does not depend on which bands are rendered, or in what order.
    rng = make_rng(recipe.seed, centre, "noise", view.column)
    noisy = image.array
    noise = rng.standard_normal(noisy.shape, dtype=np.float32)
    # The sky's variance and the sources' photons; float32 throughout, or a tile of 3700 x 3700 would take twice the
    # memory.
    noisy += noise * np.sqrt(np.float32(sigma**2) + np.maximum(noisy, 0) / np.float32(gain))
    return BandImage(
        band=band,
        image=noisy,
        weight=np.full(noisy.shape, 1.0 / sigma**2, dtype=np.float32),
        mask=make_mask(view, sources, pixels),
        psf=psf,
        gain=gain,
        sky_noise=sigma,
    )


def make_view(recipe: Recipe, centre: Centre, band: str) -> View:
    """Tell how a band of a tile is looked at.

    Parameters
    ----------
    recipe, centre
        As in `render_band`.
    band : str
        One of the survey's.
    """
    simulation, scale = recipe.simulation, recipe.survey.get_pixel_scale(band)
    return View(
        bands=recipe.survey.bands,
        band=band,
        wcs=make_wcs(centre, count_pixels(recipe, band), scale),
        pixel_scale=scale,
        sky_noise=compute_sky_noise(simulation.depth[band], scale),
        zero_point=float(draw_zero_points(recipe, centre)[recipe.survey.bands.index(band)]),
    )


def count_pixels(recipe: Recipe, band: str) -> int:
    """Count the pixels along a side of a band's image, of whichever scale: all cover the same sky, or just more."""
    scale = recipe.survey.get_pixel_scale(band)
    return math.ceil(recipe.simulation.pixels * recipe.survey.pixel_scale / scale)


def is_drawn_infrared(recipe: Recipe, band: str) -> bool:
    """Tell whether a band is one of VISTA's of which no image is made.

    Its noise is then drawn without photons of the source or a seeing that is divided out, as it was before there were
    images of it: a seed gives the same sky.
    """
    return band in NEAR_INFRARED and band not in recipe.survey.image_bands


def compute_sky_noise(depth: float, pixel_scale: float) -> float:
    """Compute the standard deviation of a pixel of empty sky [maggies] for a depth [mag(AB)], 5 sigma in 2 arcsec."""
    area = math.pi * (_APERTURE_RADIUS / pixel_scale) ** 2
    return float(10.0 ** (-0.4 * depth) / 5.0 / math.sqrt(area))


def compute_gain(band: str, pixel_scale: float, sky_noise: float) -> float:
    """Compute the electrons of a maggy by the noise of a pixel of empty sky [maggies]; infinite for an unknown sky."""
    if band not in SKY:
        return math.inf
    # Electrons of a pixel's sky over its variance: sky noise is taken for photon noise, sigma^2 = sky / gain.
    return float(10.0 ** (-0.4 * SKY[band]) * pixel_scale**2 / sky_noise**2)


def draw_psf(recipe: Recipe, centre: Centre, band: str) -> Psf:
    """Draw a tile's point-spread function in one band.

    Parameters
    ----------
    recipe, centre, band
        As in `render_band`.
    """
    rng = make_rng(recipe.seed, centre, "psf", recipe.survey.bands.index(band))
    # Log-normal, so that it is never negative; cut at 2 sigma, which is 13 %.
    seeing = recipe.simulation.seeing[band] * math.exp(0.06 * float(np.clip(rng.standard_normal(), -2, 2)))
    g1, g2 = 0.01 * rng.standard_normal(2)
    return Psf(seeing, (float(g1), float(g2)))


def make_psf(psf: Psf) -> galsim.GSObject:
    """Make the profile of a point source."""
    g1, g2 = psf.shear
    return galsim.Moffat(beta=MOFFAT_BETA, fwhm=psf.seeing, gsparams=_PARAMETERS).shear(g1=g1, g2=g2)


def draw_sources(image: galsim.Image, view: View, sources: Sources, psf: galsim.GSObject) -> None:
    """Add sources to an image without noise, dimmed by Galactic extinction as in the real sky.

    Parameters
    ----------
    image : galsim.Image
        [maggies] changed in place.
    view : View
    sources : Sources
    psf : galsim.GSObject
        Profile of a point source of unit flux.
    """
    column, scale = view.column, view.pixel_scale
    # GalSim's images begin at pixel 1, as FITS's do.
    x_N, y_N = view.wcs.all_world2pix(sources.ra, sources.dec, 1)
    extinction_N = compute_extinction(sources.ra, sources.dec, (view.band,))[:, 0]
    dimmed_N = sources.magnitude[:, column] + extinction_N + view.zero_point
    flux_N = 10.0 ** (-0.4 * dimmed_N) * sources.calibration[:, column]
    halo_N = find_halo_stars(sources, view.bands)
    # 1400 pixels of 0.2 arcsec hold the aureole, which ends at 130 arcsec.
    size_N = np.where(halo_N, _HALO_STAMP, choose_stamp_size(sources, column, flux_N / view.sky_noise, scale))
    inside_N = (
        # A source beyond the edge counts as long as its stamp reaches in.
        np.maximum(np.abs(x_N - image.center.x), np.abs(y_N - image.center.y)) < (image.array.shape[0] + size_N) / 2
    )
    for number in map(int, np.flatnonzero(inside_N)):
        profile = make_profile(sources, number, column, psf)
        if halo_N[number]:
            profile = (1 - _AUREOLE_SHARE) * profile + _AUREOLE_SHARE * _make_aureole()
        position = (float(x_N[number]), float(y_N[number]))
        _add_stamp(profile * float(flux_N[number]), image, position, (int(size_N[number]), scale))


def find_halo_stars(sources: Sources, bands: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Tell which sources, whose magnitudes are in these bands, are stars with an aureole and a masked halo."""
    return np.asarray(sources.star & (sources.magnitude[:, bands.index("r")] < HALO_LIMIT))


def choose_stamp_size(sources: Sources, column: int, significance_N: Floats, scale: float) -> npt.NDArray[np.int64]:
    """Choose the side of each source's stamp [pixel], so that its edge is lost in the sky noise.

    Parameters
    ----------
    sources : Sources
    column : int
        Of the band.
    significance_N : ndarray of float64
        Flux over the sky noise of a pixel.
    scale : float
        [arcsec / pixel]
    """
    level_N = significance_N * scale**2 / _STAMP_EDGE  # flux per arcsec^2 in units of the faintest that is drawn
    # A Moffat profile's wings fall as r^(-2 beta).
    psf_N = (level_N * (MOFFAT_BETA - 1) / np.pi) ** (1 / (2 * MOFFAT_BETA))  # arcsec, for a core of about 1 arcsec
    share_N = sources.bulge_fraction[:, column]
    disc_N = _find_extent(np.ones(len(sources)), sources.disc_radius, level_N * (1 - share_N))
    bulge_N = _find_extent(np.maximum(sources.bulge_index, 0.5), sources.bulge_radius, level_N * share_N)
    # Beyond the truncation nothing is drawn.
    bulge_N = np.minimum(bulge_N, SERSIC_TRUNCATION * sources.bulge_radius)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Radii are circularised: the long axis is longer by 1 / sqrt(q). fmax, since what has no bulge or
        # disc gives 0 / 0.
        galaxy_N = np.fmax(disc_N / np.sqrt(sources.disc_ratio), bulge_N / np.sqrt(sources.bulge_ratio))
    extent_N = psf_N + np.where(sources.star, 0.0, galaxy_N)
    size_N = 2 * np.ceil(extent_N / scale).astype(np.int64)
    return np.clip(size_N, _SMALLEST_STAMP, _LARGEST_STAMP)


def _find_extent(index_N: Floats, radius_N: Floats, level_N: Floats) -> Floats:
    """Find the radius at which Sersic profiles of flux ``level_N`` fall below one per square arcsecond."""
    # To 1 % from n = 1 on; the exact one is an inverse of the gamma function (photometry.py).
    b_N = 2 * index_N - 1 / 3
    area_N = 2 * np.pi * index_N * gamma(2 * index_N) * np.maximum(radius_N, 1e-3) ** 2 / b_N ** (2 * index_N)
    return np.asarray(radius_N * (np.log(np.maximum(level_N / area_N, 1.0)) / b_N) ** index_N)


def make_profile(sources: Sources, number: int, column: int, psf: galsim.GSObject) -> galsim.GSObject:
    """Make the profile of one source in one band, convolved with the PSF, of unit flux.

    Parameters
    ----------
    sources : Sources
    number : int
        Which of them.
    column : int
        Of the band.
    psf : galsim.GSObject
        Profile of a point source of unit flux; lengths in arcsec.
    """
    if sources.star[number]:
        return psf
    share = float(sources.bulge_fraction[number, column])
    angle = float(sources.angle[number]) * galsim.radians
    parts = []
    if share > 0:
        bulge = _make_sersic(float(sources.bulge_index[number])).dilate(float(sources.bulge_radius[number]))
        parts.append(share * bulge.shear(q=float(sources.bulge_ratio[number]), beta=angle))
    if share < 1:
        disc = _make_sersic(1.0).dilate(float(sources.disc_radius[number]))
        parts.append((1 - share) * disc.shear(q=float(sources.disc_ratio[number]), beta=angle))
    # Bulge and disc are added before the convolution: one FFT a galaxy and not two.
    return galsim.Convolve(galsim.Add(parts) if len(parts) > 1 else parts[0], psf, gsparams=_PARAMETERS)


@lru_cache(maxsize=32)
def _make_sersic(index: float) -> galsim.GSObject:
    if index == 1.0:
        return galsim.Exponential(half_light_radius=1.0, gsparams=_PARAMETERS)
    # Of unit radius and dilated later, so that GalSim's tables for an index are made once.
    return galsim.Sersic(index, half_light_radius=1.0, trunc=SERSIC_TRUNCATION, gsparams=_PARAMETERS)


@lru_cache(maxsize=1)
def _make_aureole() -> galsim.GSObject:
    return galsim.Moffat(beta=1.5, fwhm=12.0, trunc=130.0, gsparams=_PARAMETERS)


def _add_stamp(
    profile: galsim.GSObject, image: galsim.Image, position: tuple[float, float], sampling: tuple[int, float]
) -> None:
    size, scale = sampling
    x, y = round(position[0]), round(position[1])
    bounds = galsim.BoundsI(x - size // 2, x + size // 2, y - size // 2, y + size // 2)
    overlap = bounds & image.bounds
    if not overlap.isDefined():
        return
    # Drawn whole and then cut to the image. no_pixel: the profile of a point source is the effective one, pixel
    # included.
    stamp = profile.drawImage(
        bounds=bounds, scale=scale, center=galsim.PositionD(*position), method="no_pixel", dtype=np.float32
    )
    image[overlap] += stamp[overlap]


def compute_halo_radius(magnitude_N: Floats) -> Floats:
    """Compute the radius [arcsec] of the masked halo of a star of r magnitude; 0 for stars without one.

    Chosen for this aureole, not measured on KiDS: where a star of magnitude 14.5 leaves 12 arcsec, each magnitude
    adds a quarter.
    """
    return np.asarray(np.where(magnitude_N < HALO_LIMIT, 12.0 * 10.0 ** (0.1 * (HALO_LIMIT - magnitude_N)), 0.0))


def make_mask(view: View, sources: Sources, pixels: int) -> npt.NDArray[np.uint8]:
    """Make the flag image of a tile: discs around the bright stars.

    Parameters
    ----------
    view : View
    sources : Sources
    pixels : int
        [pixel] side of the image.

    Returns
    -------
    ndarray of uint8, shape (Y, X)
        `CORE_BIT` and `HALO_BIT`, or 0.
    """
    mask = np.zeros((pixels, pixels), dtype=np.uint8)
    bright = sources.select(find_halo_stars(sources, view.bands))
    radius_N = compute_halo_radius(bright.magnitude[:, view.bands.index("r")]) / view.pixel_scale
    # 0-based: this one goes into NumPy's arrays, not into GalSim's images.
    x_N, y_N = view.wcs.all_world2pix(bright.ra, bright.dec, 0)
    for x, y, radius in zip(x_N, y_N, radius_N, strict=True):
        _set_disc(mask, (x, y), radius, HALO_BIT)
        _set_disc(mask, (x, y), radius / 4, CORE_BIT)
    return mask


def _set_disc(mask: npt.NDArray[np.uint8], centre: tuple[float, float], radius: float, bit: int) -> None:
    # A negative start would count from the far edge. Beyond the end NumPy cuts by itself.
    rows = slice(max(0, math.floor(centre[1] - radius)), max(0, math.ceil(centre[1] + radius) + 1))
    columns = slice(max(0, math.floor(centre[0] - radius)), max(0, math.ceil(centre[0] + radius) + 1))
    part = mask[rows, columns]
    y, x = np.ogrid[rows.start : rows.start + part.shape[0], columns.start : columns.start + part.shape[1]]
    part[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2] |= bit
