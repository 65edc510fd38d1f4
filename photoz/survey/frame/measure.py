"""A frame without a catalogue: co-registered FITS images, a band each, written out as a tile of the survey's format.

The frame needs no WCS: it is given a nominal one, so positions on the sky mean nothing beyond the frame itself. What is
written has the names and columns of the survey, so ingest and everything after it take it for any other tile.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS

from photoz.errors import ConfigError, SurveyFileError
from photoz.storage import join
from photoz.survey.fits import RowReader, inspect_image
from photoz.survey.frame.detection import (
    STELLAR_RANGE,
    Detections,
    SkyImage,
    find_sources,
    find_stars,
    match_seeing,
    measure_apertures,
    measure_empty_noise,
    measure_growth,
    measure_seeing,
    measure_total,
    subtract_background,
)
from photoz.survey.settings import Frame, Survey

logger = logging.getLogger(__name__)

Image = npt.NDArray[np.float32]
Columns = dict[str, npt.NDArray[Any]]
Cards = dict[str, tuple[Any, str]]
"""Keyword of a FITS header -> value and comment."""

SATURATED = 4
"""Bit of MASK and of the mask images around a saturated star, and of MASK for an artefact; the KiDS-Bright cut refuses
it."""
_MAG_PER_RATIO = 2.5 / np.log(10)


@dataclass(frozen=True, eq=False)
class FrameSources:
    """What was measured on a frame.

    Parameters
    ----------
    columns : dict of str to ndarray, each of length N
        Columns of the multi-band catalogue, under the survey's names.
    cards : dict of str to (value, comment)
        What was measured once a band: seeing, noise, aperture correction.
    saturated : ndarray of bool, shape (Y, X)
        Pixels near saturated stars, on the frame's own grid.
    """

    columns: Columns
    cards: Cards
    saturated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def read_frame(frame: Frame, survey: Survey) -> dict[str, Image]:
    """Read the frame's images.

    Parameters
    ----------
    frame : Frame
        Where the images lie and what their zero points are.
    survey : Survey
        Its ``bands`` are read, and brought to its ``zeropoint``.

    Returns
    -------
    dict of str to ndarray of float32, shape (Y, X)
        Band -> image [flux, zero point ``survey.zeropoint``, AB]; NaN where the file has none.

    Raises
    ------
    ConfigError
        ``frame.folder`` or ``frame.pixel_scale`` is not set, or a zero point is given for an unknown band.
    SurveyFileError
        An image is missing, damaged, or not of the others' size.
    """
    _check_settings(frame, survey)
    images: dict[str, Image] = {}
    for band in survey.bands:
        image = _read_image(join(frame.folder, frame.image_file.format(band=band)))
        first = next(iter(images.values()), image)
        if image.shape != first.shape:
            raise SurveyFileError(
                f"band {band} of the frame has {image.shape[0]} x {image.shape[1]} pixels and the first band has "
                f"{first.shape[0]} x {first.shape[1]}: co-register them first"
            )
        images[band] = image * np.float32(10 ** (-0.4 * _zeropoint_difference(band, frame, survey)))
    return images


def measure_frame(images: Mapping[str, npt.NDArray[Any]], frame: Frame, survey: Survey) -> FrameSources:
    """Detect on one band and measure all: totals, stars, and magnitudes in apertures matched over the bands.

    Every band is blurred to the seeing of the worst by a Gaussian and measured in the same circle; then each band's
    flux is multiplied by what that circle misses of a star, so colours are right for stars whatever the shape of the
    PSF, and total magnitudes too. Of a galaxy larger than the circle the outer part is missed, in all bands alike.

    Parameters
    ----------
    images : mapping of str to ndarray of float32, shape (Y, X)
        From `read_frame`: [flux, zero point ``survey.zeropoint``], NaN where not observed.
    frame : Frame
        How sources are found and measured.
    survey : Survey
        The catalogue's column names and sentinels.

    Returns
    -------
    FrameSources
        Magnitudes [mag(AB)] of all bands; the survey's sentinels where a source is not detected or not observed.

    Raises
    ------
    SurveyFileError
        The frame has no sources, or no stars to measure the seeing on.
    """
    skies = {band: subtract_background(image, frame.background_pixels) for band, image in images.items()}
    # One band finds them all, so that a source has the same place and the same circle in each.
    detection = skies[frame.detection_band]
    found = find_sources(detection, threshold=frame.threshold, min_pixels=frame.min_pixels)
    if not len(found):
        raise SurveyFileError(f"no source above {frame.threshold} sigma in band {frame.detection_band} of the frame")
    columns = _list_positions(found, detection.pixels.shape, frame, survey)
    columns |= _measure_auto(detection, found, frame, survey)
    stars = columns["SG2DPHOT"] == 1
    bright = stars & (columns[survey.columns.mag_auto] < frame.saturated_mag)
    columns |= _flag_bad(found, bright, frame)
    # Only as far down as the ridge is narrow, or compact galaxies widen the seeing.
    not_faint = columns[survey.columns.mag_auto] < frame.saturated_mag + STELLAR_RANGE[1]
    # Saturated stars are out by MASK, blends by sep's flags: neither has the profile of the seeing.
    fit = stars & not_faint & (columns["MASK"] == 0) & (found.flag == 0)
    if not fit.any():
        raise SurveyFileError(
            f"no unsaturated star in band {frame.detection_band} of the frame to measure the seeing on: "
            f"correct frame.saturated_mag = {frame.saturated_mag}"
        )
    measured = _measure_bands(skies, found, fit, circle=frame.aperture / 2 / frame.pixel_scale)
    return FrameSources(
        columns | _list_magnitudes(measured, survey),
        _list_cards(measured, frame.pixel_scale),
        _draw_saturated(columns, detection.pixels.shape, frame),
    )


def make_nominal_wcs(shape: Sequence[int], *, centre: tuple[float, float], pixel_scale: float) -> WCS:
    """Make a TAN projection, north up and east left, about an image's centre.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    centre : (float, float)
        [deg] right ascension and declination, ICRS.
    pixel_scale : float
        [arcsec / pixel]
    """
    keys = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": centre[0],
        "CRVAL2": centre[1],
        # FITS counts pixels from 1 at their centres: the middle of n pixels is (n + 1) / 2.
        "CRPIX1": (shape[1] + 1) / 2,
        "CRPIX2": (shape[0] + 1) / 2,
        "CDELT1": -pixel_scale / 3600,
        "CDELT2": pixel_scale / 3600,
    }
    return WCS(fits.Header(keys), naxis=2)


def fill_name(pattern: str, centre: tuple[float, float], band: str = "") -> str:
    """Fill a name pattern of the survey; a glob's choice ``[01]`` becomes its first character.

    Parameters
    ----------
    pattern : str
        ``{ra}``, ``{dec}`` and ``{band}`` stand for the frame's.
    centre : (float, float)
        [deg] right ascension and declination, written with one decimal.
    band : str

    Examples
    --------
    >>> fill_name("KiDS_DR4.[01]_{ra}_{dec}_cat.fits", (180, -0.5))
    'KiDS_DR4.0_180.0_-0.5_cat.fits'
    """
    ra, dec = centre
    # A name to write holds no choice; find_tiles looks for every one of them.
    return re.sub(r"\[(.)[^\]]*\]", r"\1", pattern.format(ra=f"{ra:.1f}", dec=f"{dec:.1f}", band=band))


# Reading -----------------------------------------------------------------------------------------------------------


def _check_settings(frame: Frame, survey: Survey) -> None:
    if not frame.folder:
        raise ConfigError("frame.folder is not set: give the folder of the frame's images")
    # 0 is the default, as without a WCS nothing tells it.
    if frame.pixel_scale <= 0:
        raise ConfigError(f"frame.pixel_scale = {frame.pixel_scale} arcsec: give that of the frame's images")
    # A misspelt band would leave its zero point unused without a word.
    unknown = sorted((set(frame.zeropoints) | set(frame.ab_offsets) | {frame.detection_band}) - set(survey.bands))
    if unknown:
        raise ConfigError(f"[frame] names the bands {unknown}, which survey.bands {list(survey.bands)} lacks")


def _zeropoint_difference(band: str, frame: Frame, survey: Survey) -> float:
    # m_AB = m_Vega + offset, so the offset adds to the zero point.
    own = frame.zeropoints.get(band, survey.zeropoint) + frame.ab_offsets.get(band, 0.0)
    return own - survey.zeropoint


def _read_image(location: str) -> Image:
    info = inspect_image(location)
    with RowReader(info) as reader:
        image = np.array(reader.read_rows(info.shape[0]), np.float32)
        # Only here the checksums are compared; the pixels are not used before.
        reader.finish()
    return image


# Measuring ---------------------------------------------------------------------------------------------------------


def _list_positions(found: Detections, shape: tuple[int, ...], frame: Frame, survey: Survey) -> Columns:
    names = survey.columns
    wcs = make_nominal_wcs(shape, centre=frame.centre, pixel_scale=frame.pixel_scale)
    ra, dec = wcs.all_pix2world(found.x, found.y, 0)
    tile = fill_name(survey.tile, frame.centre)
    return {
        # In sep's order, which is the same for the same pixels: identifiers stay from run to run.
        names.object_id: np.array([f"{tile}-{number:06d}" for number in range(len(found))]),
        names.tile: np.full(len(found), tile),
        names.ra: ra,
        names.dec: dec,
        "X_FRAME": (found.x + 1).astype(np.float32),  # FITS counts from 1
        "Y_FRAME": (found.y + 1).astype(np.float32),
        "FLAGS": found.flag.astype(np.int32),
    }


def _measure_auto(image: SkyImage, found: Detections, frame: Frame, survey: Survey) -> Columns:
    names = survey.columns
    total = measure_total(image, found)
    circle = frame.aperture / 2 / frame.pixel_scale
    # Correlated noise grows faster than the root of the area; empty circles say by how much.
    per_pixel = measure_empty_noise(image, found, circle) / np.sqrt(np.pi * circle**2)
    rows, columns = np.rint(found.y).astype(int), np.rint(found.x).astype(int)
    error = per_pixel * np.sqrt(total.area) * image.noise[rows, columns]
    mag, magerr = _to_magnitudes(total.flux, error, survey)
    # The sentinel may be a number below every magnitude in another survey; infinity is faint in all.
    stars = find_stars(np.where(mag == survey.not_detected, np.inf, mag), total.radius, frame.saturated_mag)
    return {
        names.mag_auto: mag,
        names.magerr_auto: magerr,
        "FLUX_RADIUS": total.radius.astype(np.float32),
        "CLASS_STAR": stars.astype(np.float32),  # no classifier has run: the cut in size, as 0 and 1
        "SG2DPHOT": stars.astype(np.int16),
        "SG_FLAG": (~stars).astype(np.int16),
    }


def _flag_bad(found: Detections, saturated_N: npt.NDArray[np.bool_], frame: Frame) -> Columns:
    x, y = found.x[saturated_N], found.y[saturated_N]
    distance_NS = frame.pixel_scale * np.hypot(found.x[:, None] - x, found.y[:, None] - y)
    inside = (distance_NS < frame.saturated_radius).any(axis=1)
    # Larger than the squares of the background, it can be no source: its light is in the background.
    seam = found.a > frame.background_pixels
    return {
        "MASK": np.where(inside | seam, SATURATED, 0).astype(np.int32),
        "SATURATED": saturated_N.astype(np.int16),
    }


def _draw_saturated(columns: Columns, shape: tuple[int, ...], frame: Frame) -> npt.NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    y, x = np.ogrid[: shape[0], : shape[1]]
    # X_FRAME counts from 1 and the grid from 0, hence x + 1 below.
    radius = frame.saturated_radius / frame.pixel_scale
    for star in np.flatnonzero(columns["SATURATED"]):
        mask |= np.hypot(x + 1 - columns["X_FRAME"][star], y + 1 - columns["Y_FRAME"][star]) < radius
    return mask


@dataclass(frozen=True, eq=False)
class _BandPhotometry:
    """One band: [flux] of N sources in the matched circle, corrected for what it misses of a star; [pixel] seeing."""

    flux: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]
    seeing: float
    growth: float


def _measure_bands(
    skies: Mapping[str, SkyImage], found: Detections, stars_N: npt.NDArray[np.bool_], *, circle: float
) -> dict[str, _BandPhotometry]:
    """Measure every band in circles of this radius [pixel], after blurring it to the seeing of the worst."""
    seeing = {band: measure_seeing(sky, found, stars_N) for band, sky in skies.items()}
    measured = {}
    for band, sky in skies.items():
        matched = match_seeing(sky, seeing[band], max(seeing.values()))
        # After blurring, so that it corrects what the Gaussian left of the bands' different wings:
        # 1.16 to 1.21 on the real frame (docs/real-pixels.md).
        growth = measure_growth(matched, found, stars_N, (circle, 2.5 * circle))
        flux, error = measure_apertures(matched, found, circle)
        # The error grows with the flux: the ratio of both is what the circle measured.
        measured[band] = _BandPhotometry(growth * flux, growth * error, seeing[band], growth)
    return measured


def _list_magnitudes(measured: Mapping[str, _BandPhotometry], survey: Survey) -> Columns:
    names, columns = survey.columns, Columns()
    for band, found in measured.items():
        mag, magerr = _to_magnitudes(found.flux, found.error, survey)
        columns[names.mag.format(band=band)], columns[names.magerr.format(band=band)] = mag, magerr
        columns[names.extinction.format(band=band)] = np.zeros(len(mag), np.float32)  # the position is not known
    return columns


def _list_cards(measured: Mapping[str, _BandPhotometry], pixel_scale: float) -> Cards:
    cards = Cards()
    for band, found in measured.items():
        key, seeing = band.upper(), found.seeing * pixel_scale
        cards[f"SEEING{key}"] = (seeing, f"[arcsec] FWHM of stars, band {band}")
        cards[f"GROWTH{key}"] = (found.growth, f"aperture correction for stars, band {band}")
        logger.info("band %s: seeing %.2f arcsec, aperture correction %.3f", band, seeing, found.growth)
    return cards


def _to_magnitudes(
    flux_N: npt.NDArray[np.float64], error_N: npt.NDArray[np.float64], survey: Survey
) -> tuple[Image, Image]:
    """Return magnitudes and errors with the survey's sentinels: flux below its error, and not observed."""
    # False for NaN, too, which the sentinel below tells from a flux that is too small.
    detected = flux_N > error_N
    # 1 stands in for what has no logarithm; the sentinel replaces it.
    flux = np.where(detected, flux_N, 1.0)
    empty = np.where(np.isfinite(flux_N), survey.not_detected, survey.not_observed)
    mag = survey.zeropoint - 2.5 * np.log10(flux)
    magerr = _MAG_PER_RATIO * error_N / flux
    return (
        np.where(detected, mag, empty).astype(np.float32),
        np.where(detected, magerr, empty).astype(np.float32),
    )
