"""Sources of an image that has no catalogue: found, measured in total and in matched apertures, stars told apart.

SExtractor's algorithms through the library sep (Barbary 2016, JOSS 1(6), 58), because KiDS's catalogues are made with
SExtractor too: MAG_AUTO and FLUX_RADIUS mean the same here. Pure functions of arrays; positions are 0-based pixels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, gaussian_filter

from photoz.optional import needs

Floats = npt.NDArray[np.float64]

KRON_FACTOR, SMALLEST_KRON = 2.5, 3.5
"""AUTO apertures have 2.5 Kron radii and at least 3.5 (in units of a and b): SExtractor's PHOT_AUTOPARAMS."""
MERGED = 1
"""Bit of `Detections.flag` of an object that was split from another (sep's OBJ_MERGED)."""
STELLAR_RANGE = (1.0, 5.0)
"""[mag] below the saturation limit: between these the half-light radii of stars lie on a narrow ridge."""
STELLAR_WIDTH = 0.12
"""Relative half-width of that ridge. In the nine-band frame stars scatter by 3 %, and galaxies begin at 15 %."""
# Of a Gaussian: 2 sqrt(2 ln 2).
_SIGMA_TO_FWHM = 2.3548


@dataclass(frozen=True, eq=False)
class Detections:
    """N objects of an image.

    Parameters
    ----------
    x, y, a, b, theta : ndarray of float64, shape (N,)
        [pixel] centres and r.m.s. lengths of the axes; [rad] angle of the long axis from x.
    flag : ndarray of int64, shape (N,)
        sep's extraction flags; ``MERGED`` marks a blend.
    segments : ndarray of int32, shape (Y, X)
        0: sky; n: pixel of object n - 1.
    """

    x: Floats
    y: Floats
    a: Floats
    b: Floats
    theta: Floats
    flag: npt.NDArray[np.int64]
    segments: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class SkyImage:
    """An image without its background.

    Parameters
    ----------
    pixels, noise : ndarray of float64, shape (Y, X)
        [flux] pixels, 0 where not observed; local standard deviation of the sky.
    bad : ndarray of bool, shape (Y, X)
        True where the image was not finite.
    """

    pixels: Floats
    noise: Floats
    bad: npt.NDArray[np.bool_]


def load_sep() -> Any:
    """Import sep, an optional dependency; raises `MissingPackageError` that says how to install it."""
    # Not at the head of this module: who reads a survey that has a catalogue does without it.
    with needs("measuring a frame", "sep", extra="frame"):
        import sep
    return sep


def subtract_background(image: npt.NDArray[Any], box: int) -> SkyImage:
    """Subtract the background, estimated as SExtractor does in squares of ``box`` pixels; NaN pixels are left out."""
    # A copy, in the machine's byte order and one block: sep takes no other, and the caller keeps its image.
    pixels = np.array(image, np.float64, order="C")
    bad = ~np.isfinite(pixels)
    pixels[bad] = 0
    sky = load_sep().Background(pixels, mask=bad, bw=box, bh=box)
    pixels -= sky.back()
    # Once more, since the background was subtracted from these pixels too: sums over apertures must find nothing there.
    pixels[bad] = 0
    return SkyImage(pixels, np.asarray(sky.rms(), np.float64), bad)


def find_sources(image: SkyImage, *, threshold: float, min_pixels: int) -> Detections:
    """Detect and deblend objects.

    Parameters
    ----------
    image : SkyImage
        From `subtract_background`.
    threshold : float
        In units of the local noise.
    min_pixels : int
        Connected pixels above the threshold that make an object.

    Examples
    --------
    >>> sky = np.random.default_rng(1).normal(0, 1, (64, 64))
    >>> y, x = np.mgrid[:64, :64]
    >>> sky += 100 * np.exp(-((x - 20) ** 2 + (y - 40) ** 2) / 8)
    >>> found = find_sources(subtract_background(sky, 32), threshold=3, min_pixels=5)
    >>> found.x.round(), found.y.round()
    (array([20.]), array([40.]))
    """
    sep = load_sep()
    sep.set_extract_pixstack(max(300_000, image.pixels.size // 2))  # a whole frame can lie above a low threshold
    # With the map of segments, by which `measure_total` leaves neighbours out and `measure_empty_noise` finds empty
    # sky.
    objects, segments = sep.extract(
        image.pixels, threshold, err=image.noise, mask=image.bad, minarea=min_pixels, segmentation_map=True
    )
    axes = {name: np.ascontiguousarray(objects[name], np.float64) for name in ("x", "y", "a", "b", "theta")}
    # Rounding can leave an angle a hair beyond the half-turn that sep's own apertures accept.
    axes["theta"] = np.clip(axes["theta"], -np.pi / 2, np.pi / 2)
    return Detections(**axes, flag=objects["flag"].astype(np.int64), segments=segments.astype(np.int32))


@dataclass(frozen=True, eq=False)
class Totals:
    """Total light of N objects within their Kron ellipses.

    Parameters
    ----------
    flux : ndarray of float64, shape (N,)
        [flux]
    area : ndarray of float64, shape (N,)
        [pixel^2] of the ellipse.
    radius : ndarray of float64, shape (N,)
        [pixel] that holds half of the flux.
    """

    flux: Floats
    area: Floats
    radius: Floats


def measure_total(image: SkyImage, found: Detections) -> Totals:
    """Measure the total flux within Kron ellipses (MAG_AUTO), neighbours' pixels left out.

    References
    ----------
    Kron 1980, ApJS 43, 305; Bertin & Arnouts 1996, A&AS 117, 393.
    """
    sep = load_sep()
    place = (found.x, found.y)
    shape = (found.a, found.b, found.theta)
    # sep numbers objects in the map of segments from 1; 0 is the sky.
    own = {"seg_id": np.arange(1, len(found) + 1, dtype=np.int32), "segmap": found.segments, "mask": image.bad}
    # 6 is the radius, in units of a and b, within which SExtractor takes the first moment, too.
    kron, _ = sep.kron_radius(image.pixels, *place, *shape, 6.0, **own)
    # No Kron radius comes of an object whose light sums to nothing; it gets the smallest aperture.
    scale = np.maximum(KRON_FACTOR * np.nan_to_num(kron), SMALLEST_KRON)
    flux, _, _ = sep.sum_ellipse(image.pixels, *place, *shape, scale, subpix=5, **own)
    # Half of the flux in the Kron ellipse, as FLUX_RADIUS; a flux below 0 has no half, and sep must not be given 0 to
    # divide by.
    radius, _ = sep.flux_radius(
        image.pixels, *place, 6.0 * found.a, 0.5, normflux=np.maximum(flux, 1e-300), subpix=5, **own
    )
    return Totals(flux, np.pi * found.a * found.b * scale**2, radius)


def find_stars(mag_N: Floats, radius_N: Floats, saturated: float) -> npt.NDArray[np.bool_]:
    """Tell stars by their half-light radius: those on the ridge of equal radii, and saturated ones a little above it.

    Parameters
    ----------
    mag_N, radius_N : ndarray of float64, shape (N,)
        [mag] total magnitude; [pixel] half-light radius.
    saturated : float
        [mag] stars brighter than this are saturated.

    Returns
    -------
    ndarray of bool, shape (N,)
        Fainter than the ridge is narrow, compact galaxies count as stars.
    """
    ridge = find_stellar_radius(mag_N, radius_N, saturated)
    point_like = radius_N < (1 + STELLAR_WIDTH) * ridge
    # Saturation flattens the core, and so makes the half-light radius of a bright star larger.
    blown_up = (mag_N < saturated) & (radius_N < 2.5 * ridge)
    return np.asarray(point_like | blown_up, bool)


def find_stellar_radius(mag_N: Floats, radius_N: Floats, saturated: float) -> float:
    """Find the half-light radius of stars: the one within whose ridge's width most bright objects lie.

    Parameters
    ----------
    mag_N, radius_N, saturated
        As in `find_stars`.

    Returns
    -------
    float
        [pixel]; NaN where no object is bright enough.
    """
    low, high = saturated + STELLAR_RANGE[0], saturated + STELLAR_RANGE[1]
    radii = np.sort(radius_N[(mag_N > low) & (mag_N < high) & (radius_N > 0.5)])
    if not len(radii):
        return float("nan")
    # How many lie within the width from each radius on: the ridge is the densest place, whatever the seeing.
    count = np.searchsorted(radii, radii * (1 + STELLAR_WIDTH)) - np.arange(len(radii))
    start = int(np.argmax(count))
    return float(np.median(radii[start : start + int(count[start])]))


def measure_seeing(image: SkyImage, found: Detections, stars_N: npt.NDArray[np.bool_]) -> float:
    """Measure the seeing [pixel] as twice the half-light radius of stars.

    That is the FWHM of a Gaussian; of a Moffat profile, whose wings hold more light, it is more than the FWHM (by a
    quarter for beta = 3).

    Parameters
    ----------
    image : SkyImage
    found : Detections
        N objects.
    stars_N : ndarray of bool, shape (N,)
        Unsaturated stars.
    """
    x, y = found.x[stars_N], found.y[stars_N]
    flux, _, _ = load_sep().sum_circle(image.pixels, x, y, 10.0, subpix=5)
    good = flux > 0
    radius, _ = load_sep().flux_radius(
        image.pixels, x[good], y[good], np.full(good.sum(), 10.0), 0.5, normflux=flux[good], subpix=5
    )
    return float(2 * np.median(radius))


def match_seeing(image: SkyImage, fwhm: float, target: float) -> SkyImage:
    """Blur an image with the Gaussian that takes its seeing to the target's; the noise map is left as it is.

    Parameters
    ----------
    image : SkyImage
    fwhm, target : float
        [pixel] full widths at half maximum; an image no sharper than the target stays as it is.
    """
    # The squares of the widths of Gaussians add up.
    sigma = np.sqrt(max(target**2 - fwhm**2, 0.0)) / _SIGMA_TO_FWHM
    return SkyImage(gaussian_filter(image.pixels, sigma) if sigma else image.pixels, image.noise, image.bad)


def measure_apertures(image: SkyImage, found: Detections, radius: float) -> tuple[Floats, Floats]:
    """Measure the flux in circles and its error.

    The error is that of the sky as sums over empty circles show it, so it holds whatever correlates the noise of
    neighbouring pixels. The sources' own photon noise is not in it: the gain of a frame is not known.

    Parameters
    ----------
    image : SkyImage
        Blurred to the seeing of the worst band.
    found : Detections
        N positions.
    radius : float
        [pixel]

    Returns
    -------
    flux_N, error_N : ndarray of float64, shape (N,)
        [flux] NaN where more than half of the circle was not observed.
    """
    sep = load_sep()
    flux, _, _ = sep.sum_circle(image.pixels, found.x, found.y, radius, subpix=5)
    # A sum of ones tells how much of the circle was observed, edges of the frame included.
    seen, _, _ = sep.sum_circle((~image.bad).astype(np.float64), found.x, found.y, radius, subpix=5)
    # The local noise takes up what differs over the frame, as where fewer dithers lie on each other.
    error = measure_empty_noise(image, found, radius) * _look_up(image.noise, found.x, found.y)
    lost = seen < 0.5 * np.pi * radius**2
    return np.where(lost, np.nan, flux), np.where(lost, np.nan, error)


def measure_empty_noise(image: SkyImage, found: Detections, radius: float) -> float:
    """Measure the noise of a circle's sum on empty sky, in units of the local noise of a pixel.

    Parameters
    ----------
    image : SkyImage
    found : Detections
        What the sky is not empty of.
    radius : float
        [pixel] of the circle.
    """
    # A diameter apart, so that no two circles share a pixel and the sums are independent but for the correlation.
    step = int(np.ceil(2 * radius))
    shape = image.pixels.shape
    grids = np.mgrid[step : shape[0] - step : step, step : shape[1] - step : step]
    y, x = (grid.ravel().astype(np.float64) for grid in grids)
    # Two pixels wider: light below the threshold of detection goes on beyond a segment's edge.
    taken = binary_dilation((found.segments > 0) | image.bad, iterations=2).astype(np.float64)
    empty = load_sep().sum_circle(taken, x, y, radius, subpix=1)[0] == 0
    sums, _, _ = load_sep().sum_circle(image.pixels, x[empty], y[empty], radius, subpix=5)
    # A robust width, since some of the circles hold sources that are too faint to be detected.
    return mad_sigma(sums / _look_up(image.noise, x[empty], y[empty]))


def measure_growth(
    image: SkyImage, found: Detections, stars_N: npt.NDArray[np.bool_], radii: tuple[float, float]
) -> float:
    """Measure the median ratio of stars' flux in the larger of two circles to that in the smaller.

    Parameters
    ----------
    image : SkyImage
    found : Detections
        N objects.
    stars_N : ndarray of bool, shape (N,)
        Unsaturated stars; those without flux in the smaller circle are left out.
    radii : (float, float)
        [pixel] of the smaller and the larger circle.
    """
    small, large = (
        load_sep().sum_circle(image.pixels, found.x[stars_N], found.y[stars_N], radius, subpix=5)[0] for radius in radii
    )
    good = small > 0
    return float(np.median(large[good] / small[good]))


def mad_sigma(values: npt.NDArray[Any]) -> float:
    """Return 1.4826 times the median absolute deviation: the standard deviation of a Gaussian, outliers ignored."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _look_up(image_YX: Floats, x_N: Floats, y_N: Floats) -> Floats:
    # A centroid near the edge can lie outside the frame by a part of a pixel.
    rows = np.clip(np.rint(y_N).astype(np.int64), 0, image_YX.shape[0] - 1)
    columns = np.clip(np.rint(x_N).astype(np.int64), 0, image_YX.shape[1] - 1)
    return np.asarray(image_YX[rows, columns], np.float64)
