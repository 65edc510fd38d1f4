"""A frame without a catalogue: co-registered FITS images, a band each, written out as a tile of the survey's format.

The frame needs no WCS: it is given a nominal one, so positions on the sky mean nothing beyond the frame itself. What is
written has the names and columns of ``config.survey``, so ingest and everything after it take it for any other tile.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS

from photoz.errors import ConfigError, SurveyFileError
from photoz.settings.config import Config
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

logger = logging.getLogger(__name__)

Image = npt.NDArray[np.float32]
Columns = dict[str, npt.NDArray[Any]]

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
    cards: dict[str, tuple[Any, str]]
    saturated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def read_frame(config: Config) -> dict[str, Image]:
    """Read the frame's images.

    Parameters
    ----------
    config : Config
        Its ``frame`` and ``survey.bands``.

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
    _check_settings(config)
    images: dict[str, Image] = {}
    for band in config.survey.bands:
        image = _read_image(join(config.frame.folder, config.frame.image_file.format(band=band)))
        first = next(iter(images.values()), image)
        if image.shape != first.shape:
            raise SurveyFileError(
                f"band {band} of the frame has {image.shape[0]} x {image.shape[1]} pixels and the first band has "
                f"{first.shape[0]} x {first.shape[1]}: co-register them first"
            )
        images[band] = image * np.float32(10 ** (-0.4 * _zeropoint_difference(config, band)))
    return images


def measure_frame(config: Config, images: Mapping[str, npt.NDArray[Any]]) -> FrameSources:
    """Detect on one band and measure all: totals, stars, and magnitudes in apertures matched over the bands.

    Every band is blurred to the seeing of the worst by a Gaussian and measured in the same circle; then each band's
    flux is multiplied by what that circle misses of a star, so colours are right for stars whatever the shape of the
    PSF, and total magnitudes too. Of a galaxy larger than the circle the outer part is missed, in all bands alike.

    Raises
    ------
    SurveyFileError
        The frame has no sources, or no stars to measure the seeing on.
    """
    frame = config.frame
    skies = {band: subtract_background(image, frame.background_pixels) for band, image in images.items()}
    detection = skies[frame.detection_band]
    found = find_sources(detection, threshold=frame.threshold, min_pixels=frame.min_pixels)
    if not len(found):
        raise SurveyFileError(f"no source above {frame.threshold} sigma in band {frame.detection_band} of the frame")
    columns = _list_positions(config, found, detection.pixels.shape)
    columns |= _measure_auto(config, detection, found)
    stars = columns["SG2DPHOT"] == 1
    columns |= _flag_bad(config, columns, found)
    bright = columns[config.survey.columns.mag_auto] < frame.saturated_mag + STELLAR_RANGE[1]
    fit = stars & bright & (columns["MASK"] == 0) & (found.flag == 0)
    if not fit.any():
        raise SurveyFileError(
            f"no unsaturated star in band {frame.detection_band} of the frame to measure the seeing on: "
            f"correct frame.saturated_mag = {frame.saturated_mag}"
        )
    magnitudes, cards = _measure_bands(config, skies, found, fit)
    return FrameSources(columns | magnitudes, cards, _draw_saturated(config, columns, detection.pixels.shape))


def make_nominal_wcs(config: Config, shape: Sequence[int], pixel_scale: float) -> WCS:
    """Make a TAN projection, north up and east left, with ``frame.centre`` at the image's centre."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = list(config.frame.centre)
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cdelt = [-pixel_scale / 3600, pixel_scale / 3600]
    return wcs


def fill_name(config: Config, pattern: str, band: str = "") -> str:
    """Fill a name pattern of the survey; a glob's choice ``[01]`` becomes its first character."""
    ra, dec = config.frame.centre
    return re.sub(r"\[(.)[^\]]*\]", r"\1", pattern.format(ra=f"{ra:.1f}", dec=f"{dec:.1f}", band=band))


# Reading -----------------------------------------------------------------------------------------------------------


def _check_settings(config: Config) -> None:
    frame, bands = config.frame, config.survey.bands
    if not frame.folder:
        raise ConfigError("frame.folder is not set: give the folder of the frame's images")
    if frame.pixel_scale <= 0:
        raise ConfigError(f"frame.pixel_scale = {frame.pixel_scale} arcsec: give that of the frame's images")
    unknown = sorted((set(frame.zeropoints) | set(frame.ab_offsets) | {frame.detection_band}) - set(bands))
    if unknown:
        raise ConfigError(f"[frame] names the bands {unknown}, which survey.bands {list(bands)} lacks")


def _zeropoint_difference(config: Config, band: str) -> float:
    own = config.frame.zeropoints.get(band, config.survey.zeropoint) + config.frame.ab_offsets.get(band, 0.0)
    return own - config.survey.zeropoint


def _read_image(location: str) -> Image:
    info = inspect_image(location)
    with RowReader(info) as reader:
        image = np.array(reader.read_rows(info.shape[0]), np.float32)
        reader.finish()
    return image


# Measuring ---------------------------------------------------------------------------------------------------------


def _list_positions(config: Config, found: Detections, shape: tuple[int, ...]) -> Columns:
    names = config.survey.columns
    ra, dec = make_nominal_wcs(config, shape, config.frame.pixel_scale).all_pix2world(found.x, found.y, 0)
    tile = fill_name(config, config.survey.tile)
    return {
        names.object_id: np.array([f"{tile}-{number:06d}" for number in range(len(found))]),
        names.tile: np.full(len(found), tile),
        names.ra: ra,
        names.dec: dec,
        "X_FRAME": (found.x + 1).astype(np.float32),  # FITS counts from 1
        "Y_FRAME": (found.y + 1).astype(np.float32),
        "FLAGS": found.flag.astype(np.int32),
    }


def _measure_auto(config: Config, image: SkyImage, found: Detections) -> Columns:
    names, survey = config.survey.columns, config.survey
    flux, area, radius = measure_total(image, found)
    circle = config.frame.aperture / 2 / config.frame.pixel_scale
    # Correlated noise grows faster than the root of the area; empty circles say by how much.
    per_pixel = measure_empty_noise(image, found, circle) / np.sqrt(np.pi * circle**2)
    rows, columns = np.rint(found.y).astype(int), np.rint(found.x).astype(int)
    error = per_pixel * np.sqrt(area) * image.noise[rows, columns]
    mag, magerr = _to_magnitudes(config, flux, error)
    stars = find_stars(np.where(mag == survey.not_detected, np.inf, mag), radius, config.frame.saturated_mag)
    return {
        names.mag_auto: mag,
        names.magerr_auto: magerr,
        "FLUX_RADIUS": radius.astype(np.float32),
        "CLASS_STAR": stars.astype(np.float32),  # no classifier has run: the cut in size, as 0 and 1
        "SG2DPHOT": stars.astype(np.int16),
        "SG_FLAG": (~stars).astype(np.int16),
    }


def _flag_bad(config: Config, columns: Columns, found: Detections) -> Columns:
    stars = columns["SG2DPHOT"] == 1
    bright = stars & (columns[config.survey.columns.mag_auto] < config.frame.saturated_mag)
    distance_NS = config.frame.pixel_scale * np.hypot(
        found.x[:, None] - found.x[bright], found.y[:, None] - found.y[bright]
    )
    inside = (distance_NS < config.frame.saturated_radius).any(axis=1)
    # Larger than the squares of the background, it can be no source: its light is in the background.
    seam = found.a > config.frame.background_pixels
    return {
        "MASK": np.where(inside | seam, SATURATED, 0).astype(np.int32),
        "SATURATED": bright.astype(np.int16),
    }


def _draw_saturated(config: Config, columns: Columns, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    y, x = np.ogrid[: shape[0], : shape[1]]
    radius = config.frame.saturated_radius / config.frame.pixel_scale
    for star in np.flatnonzero(columns["SATURATED"]):
        mask |= np.hypot(x + 1 - columns["X_FRAME"][star], y + 1 - columns["Y_FRAME"][star]) < radius
    return mask


def _measure_bands(
    config: Config, skies: Mapping[str, SkyImage], found: Detections, stars_N: npt.NDArray[np.bool_]
) -> tuple[Columns, dict[str, tuple[Any, str]]]:
    names, scale = config.survey.columns, config.frame.pixel_scale
    seeing = {band: measure_seeing(sky, found, stars_N) for band, sky in skies.items()}
    worst, circle = max(seeing.values()), config.frame.aperture / 2 / scale
    columns: Columns = {}
    cards: dict[str, tuple[Any, str]] = {}
    for band, sky in skies.items():
        matched = match_seeing(sky, seeing[band], worst)
        growth = measure_growth(matched, found, stars_N, (circle, 2.5 * circle))
        flux, error = measure_apertures(matched, found, circle)
        mag, magerr = _to_magnitudes(config, growth * flux, growth * error)
        columns[names.mag.format(band=band)], columns[names.magerr.format(band=band)] = mag, magerr
        columns[names.extinction.format(band=band)] = np.zeros(len(found), np.float32)  # the position is not known
        key = band.upper()
        cards[f"SEEING{key}"] = (seeing[band] * scale, f"[arcsec] FWHM of stars, band {band}")
        cards[f"GROWTH{key}"] = (growth, f"aperture correction for stars, band {band}")
        logger.info("band %s: seeing %.2f arcsec, aperture correction %.3f", band, seeing[band] * scale, growth)
    return columns, cards


def _to_magnitudes(
    config: Config, flux_N: npt.NDArray[np.float64], error_N: npt.NDArray[np.float64]
) -> tuple[Image, Image]:
    """Return magnitudes and errors with the survey's sentinels: flux below its error, and not observed."""
    detected = flux_N > error_N
    flux = np.where(detected, flux_N, 1.0)
    empty = np.where(np.isfinite(flux_N), config.survey.not_detected, config.survey.not_observed)
    mag = config.survey.zeropoint - 2.5 * np.log10(flux)
    magerr = _MAG_PER_RATIO * error_N / flux
    return (
        np.where(detected, mag, empty).astype(np.float32),
        np.where(detected, magerr, empty).astype(np.float32),
    )
