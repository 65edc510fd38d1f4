"""World coordinates of a tile's images: checks, and how the bands lie on one pixel grid."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning, WcsError
from astropy.wcs.utils import proj_plane_pixel_scales

from photoz.errors import SurveyFileError
from photoz.survey.fits import ImageInfo
from photoz.survey.frames import convert_to_icrs

SCALE_TOLERANCE = 0.02
"""Relative difference of pixel scales at which a 36-pixel cutout is off by less than one pixel."""
LARGEST_OFFSET = 0.25
"""Of a side: bands of one tile differ in size by the dithers' edges, never by more."""
LARGEST_MISMATCH = 0.5
"""[pixel] how far the pixels of two bands may lie from each other after a shift by whole pixels, at most."""
_EXPONENT = re.compile(r"^([^=\n]{8}= *[-+]?[0-9]*[.]?[0-9]*)[dD](?=[-+]?[0-9])", re.MULTILINE)
"""Of a number, 1.8D+02, as IDL and Fortran write it (FITS Standard 4.0, section 4.2.4): astropy.wcs reads 1.8."""


@dataclass(frozen=True)
class Grid:
    """The pixel grid of a tile and where each band lies on it.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the smallest grid that holds every band.
    wcs_header : str
        The grid's WCS, cards of 80 characters joined by newlines.
    offsets : dict of str to (int, int)
        Band -> row and column of its first pixel.
    residuals : dict of str to (float, float)
        [pixel] band -> what the shift to whole pixels leaves, in rows and columns.
    """

    shape: tuple[int, int]
    wcs_header: str
    offsets: dict[str, tuple[int, int]]
    residuals: dict[str, tuple[float, float]]


def read_wcs(info: ImageInfo, *, pixel_scale: float, setting: str = "survey.pixel_scale") -> WCS:
    """Read an image's WCS, in ICRS whatever the header's frame, and check it against the survey's pixel scale.

    Parameters
    ----------
    info : ImageInfo
        Inspected image.
    pixel_scale : float
        [arcsec / pixel] expected.
    setting : str
        Where that is said, for the error message.

    Raises
    ------
    SurveyFileError
        The header has no celestial WCS, its scale is off by more than 2 %, or its frame cannot be converted.
    """
    wcs = parse_wcs(info.header, name=info.name)
    if not wcs.has_celestial:
        raise SurveyFileError(
            f"{info.name} has no celestial WCS (CTYPE1 = {wcs.wcs.ctype[0]!r}, CTYPE2 = {wcs.wcs.ctype[1]!r}): "
            "positions cannot be found on it; add one, for instance with astrometry.net"
        )
    # [arcsec / pixel], the geometric mean of both axes: pixels that are not square have the area that counts.
    scale = float(np.sqrt(np.prod(proj_plane_pixel_scales(wcs)))) * 3600
    # Written so that NaN is refused: comparisons with it are false.
    if not abs(scale / pixel_scale - 1) <= SCALE_TOLERANCE:
        raise SurveyFileError(
            f"{info.name} has {scale:.4f} arcsec/pixel and {setting} is {pixel_scale:.4f} arcsec/pixel: "
            f"set {setting} to the images', and use an estimator trained at that scale"
        )
    return convert_to_icrs(wcs, info.shape, name=info.name)


def parse_wcs(header: str, *, name: str) -> WCS:
    """Make a WCS of header text; raises `SurveyFileError` when it is contradictory."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            # Two axes whatever the header has: all_pix2world would ask for a third one, such as a frequency's.
            return WCS(fits.Header.fromstring(_EXPONENT.sub(r"\1E", header), sep="\n"), naxis=2)
    except (WcsError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise SurveyFileError(f"{name} has a WCS that cannot be used: {error}") from error


def align_bands(infos: Mapping[str, ImageInfo], *, pixel_scale: float, tolerance: float = LARGEST_MISMATCH) -> Grid:
    """Put the bands of a tile on one pixel grid by whole-pixel shifts.

    The coadds of a KiDS tile have one projection and differ in size by band (a DR4 download manifest lists
    1,499,284,800 bytes in r and 1,458,048,960 in u for the same tile), so equal shapes cannot be asked for.

    Parameters
    ----------
    infos : mapping of str to ImageInfo
        Band -> inspected image; the first is the reference.
    pixel_scale : float
        [arcsec / pixel] expected.
    tolerance : float
        [pixel] how far the bands' pixels may lie from each other, anywhere on the image, after the shift.

    Raises
    ------
    SurveyFileError
        No WCS, another scale, or bands whose pixels do not lie on each other after a shift.
    """
    references = {band: read_wcs(info, pixel_scale=pixel_scale) for band, info in infos.items()}
    # The first band's projection is the tile's; the others differ from it by shifts, within LARGEST_MISMATCH.
    first = next(iter(infos))
    shifts = {
        band: _measure_shift(infos[band], wcs, (infos[first], references[first]), tolerance)
        for band, wcs in references.items()
    }
    # Whole pixels, since resampling would correlate the noise; what is left is told in the tile's attributes.
    whole = {band: np.rint(shift).astype(int) for band, shift in shifts.items()}
    low = np.min(list(whole.values()), axis=0)
    # The hull of all bands: pixels that a band does not have are NaN, and none is cut off.
    high = np.max([shift + infos[band].shape for band, shift in whole.items()], axis=0)
    # relax keeps SIP's terms, which are polynomials about CRPIX and so move with it.
    header = references[first].to_header(relax=True)
    # FITS's axis 1 is x, the column. low is negative where another band begins before the first one.
    header["CRPIX1"] -= float(low[1])
    header["CRPIX2"] -= float(low[0])
    return Grid(
        shape=(int(high[0] - low[0]), int(high[1] - low[1])),
        wcs_header=header.tostring(sep="\n"),
        offsets={band: (int(s[0] - low[0]), int(s[1] - low[1])) for band, s in whole.items()},
        residuals={band: (float(r[0]), float(r[1])) for band, r in ((b, shifts[b] - whole[b]) for b in shifts)},
    )


def _measure_shift(info: ImageInfo, wcs: WCS, reference: tuple[ImageInfo, WCS], tolerance: float) -> np.ndarray:
    """Return the row and column of this image's first pixel on the reference's grid [pixel]."""
    rows, columns = info.shape
    # Corners and middle: a difference of scale, rotation or distortion shows most at the corners.
    x = np.array([0, columns - 1, 0, columns - 1, columns // 2])
    y = np.array([0, 0, rows - 1, rows - 1, rows // 2])
    # quiet gives what was reached where the inversion does not converge, and the spread below tells it.
    there = np.array(reference[1].all_world2pix(*wcs.all_pix2world(x, y, 0), 0, quiet=True))
    # all_world2pix gives x, y; shifts are row, column as in the arrays.
    shifts = there[::-1] - np.array([y, x])
    shift: np.ndarray = shifts.mean(axis=1)
    spread = float(np.ptp(shifts, axis=1).max())
    limit = LARGEST_OFFSET * min(*info.shape, *reference[0].shape)
    # Written so that NaN, of a position without a pixel, is refused.
    if not (spread <= LARGEST_MISMATCH and np.abs(shift).max() <= limit):
        raise SurveyFileError(
            f"{info.name} does not lie on the pixels of {reference[0].name}: its first pixel falls on row "
            f"{shift[0]:.1f}, column {shift[1]:.1f}, and the shift changes by {spread:.2f} pixels over the image "
            f"(at most {LARGEST_MISMATCH}, and {limit:.0f} pixels of shift); name the band in survey.pixel_scales, "
            "which has it resampled"
        )
    off = float(np.abs(shifts - np.rint(shift)[:, None]).max())
    if not off <= tolerance:
        raise SurveyFileError(
            f"{info.name} lies up to {off:.2f} pixels off the pixels of {reference[0].name}, more than "
            f"survey.band_tolerance = {tolerance}: name the band in survey.pixel_scales, which has it resampled, or "
            "raise survey.band_tolerance to have it stored so"
        )
    return shift


def compute_vectors(ra_N: npt.NDArray[np.float64], dec_N: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Compute unit vectors, whose distance is the chord: exact near poles and across right ascension 0.

    Parameters
    ----------
    ra_N, dec_N : ndarray of float64, shape (N,)
        [deg]

    Returns
    -------
    ndarray of float64, shape (N, 3)
    """
    ra, dec = np.radians(ra_N), np.radians(dec_N)
    vectors: npt.NDArray[np.float64] = np.stack(
        [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1
    )
    return vectors
