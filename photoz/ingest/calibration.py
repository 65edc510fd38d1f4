"""What a file's pixels mean: the flux of a count, which mask bits count against a galaxy, weights from variances."""

from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy import units
from astropy.wcs.utils import proj_plane_pixel_area

from photoz.errors import ConfigError, SurveyFileError
from photoz.photometry import AB_ZEROPOINT, MAGGY
from photoz.survey.fits import ImageInfo, quiet_astropy, refuse_damaged
from photoz.survey.settings import Survey
from photoz.survey.units import parse_unit
from photoz.survey.wcs import parse_wcs
from photoz.tables.fluxes import NJY_PER_UNIT

_PLANE = "MP_"
"""How keys begin that give the bit of a mask's plane, in images of HSC's and Rubin's pipeline."""
_FLUXES = ((units.nJy, 1.0), (units.mgy, MAGGY))
"""Units of flux, and [nJy] of one of them."""


def read_zeropoint(info: ImageInfo, survey: Survey) -> float:
    """Return the magnitude of a flux of 1 in an image: the setting, or what the header's key stands for.

    Parameters
    ----------
    info : ImageInfo
        Its own header counts before the primary one.
    survey : Survey
        ``zeropoint``, ``zeropoint_key`` and ``zeropoint_kind``.

    Returns
    -------
    float
        [mag(AB)]

    Raises
    ------
    SurveyFileError
        The header has no such key, or no zero point of that kind in it.
    """
    key, kind = survey.zeropoint_key, survey.zeropoint_kind
    if not key:
        return survey.zeropoint
    value = _read_key(info, key)
    if value is None:
        raise SurveyFileError(
            f"{info.name} has no {key} (survey.zeropoint_key) in its header, and so no zero point: correct the key, or "
            'set survey.zeropoint_key = "" and survey.zeropoint to the magnitude of a flux of 1'
        )
    if kind == "unit":
        zeropoint = AB_ZEROPOINT - 2.5 * np.log10(_find_flux(str(value), info))
    else:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan
        with np.errstate(invalid="ignore", divide="ignore"):
            zeropoint = number if kind == "mag" else 2.5 * np.log10(number)
    if not np.isfinite(zeropoint):
        meaning = {
            "mag": "a magnitude",
            "flux0": "the flux of magnitude 0",
            "unit": "the unit of a flux, such as nJy or MJy/sr",
        }
        raise SurveyFileError(
            f"{info.name} has {key} = {value!r} in its header, and survey.zeropoint_kind = {kind!r} asks for "
            f"{meaning[kind]}: correct survey.zeropoint_key or survey.zeropoint_kind"
        )
    return float(zeropoint)


def compute_unit_factor(zeropoint: float, survey: Survey) -> float:
    """Compute what pixels are multiplied by to be in the store's unit: 1 where they stay as they are.

    Examples
    --------
    >>> round(compute_unit_factor(22.5, Survey(stored_unit="nJy")), 1), compute_unit_factor(22.5, Survey())
    (3631.0, 1.0)
    """
    return float(10 ** (0.4 * (AB_ZEROPOINT - zeropoint))) if survey.stored_unit == "nJy" else 1.0


def find_bad_bits(info: ImageInfo, band: str, survey: Survey) -> int | None:
    """Find which bits of a mask count against a galaxy.

    Parameters
    ----------
    info : ImageInfo
        Of the mask.
    band : str
    survey : Survey
        ``mask_planes`` and ``mask_bits``.

    Returns
    -------
    int or None
        The bits, as a number that has them set; None: any value but 0 counts.

    Raises
    ------
    SurveyFileError
        The mask has no plane of such a name; or it has planes, among which may be that of detected sources, and the
        settings do not say which count.
    ConfigError
        A bit is none of 0 to 62.
    """
    bits = survey.mask_bits.get(band, ()) if isinstance(survey.mask_bits, dict) else survey.mask_bits
    if wrong := [bit for bit in bits if not 0 <= bit < 63]:
        raise ConfigError(f"survey.mask_bits has {wrong}: bits are numbered from 0 to 62, the lowest first")
    planes = _read_planes(info)
    if not survey.mask_planes and not survey.mask_bits:
        if planes:
            raise SurveyFileError(
                f"{info.name} is a mask of the planes {sorted(planes)}, of which some, such as DETECTED, tell of every "
                "galaxy: name those that count against one in survey.mask_planes"
            )
        return None
    if unknown := [name for name in survey.mask_planes if name not in planes]:
        raise SurveyFileError(
            f"{info.name} has no mask plane {unknown}, which survey.mask_planes names, but {sorted(planes)}: correct "
            "the setting, or give the numbers of bits in survey.mask_bits"
        )
    return sum(1 << bit for bit in {*bits, *(planes[name] for name in survey.mask_planes)})


def find_masked(values_YX: npt.NDArray[Any], bits: int | None) -> npt.NDArray[np.bool_]:
    """Tell which pixels of a mask count against a galaxy; shape (Y, X).

    Parameters
    ----------
    values_YX : ndarray
        Whole numbers, of any type; NaN, which stands for no value, counts.
    bits : int or None
        From `find_bad_bits`.

    Examples
    --------
    >>> find_masked(np.array([[0, 4, 6, 1]]), 0b10).tolist(), find_masked(np.array([[0, 4, 6, 1]]), None).tolist()
    ([[False, False, True, False]], [[False, True, True, True]])
    """
    if bits is None:
        bad: npt.NDArray[np.bool_] = values_YX != 0
        return bad
    if values_YX.dtype.kind != "f":
        return np.asarray(values_YX.astype(np.int64) & bits != 0)
    # Numbers with BZERO, such as unsigned ones, come as float64, which is exact to 2^53; NaN is no whole number.
    known_YX = np.isfinite(values_YX)
    return np.asarray((np.where(known_YX, values_YX, 0).astype(np.int64) & bits != 0) | ~known_YX)


def convert_weights(weights_BYX: npt.NDArray[np.float32], factors_B11: npt.NDArray[np.float32], survey: Survey) -> None:
    """Turn variances into weights, and bring weights to the images' unit: one over the square of it; in place.

    Parameters
    ----------
    weights_BYX : ndarray of float32, shape (bands, Y, X)
        As the files have them. A variance that is not above 0, or not finite, gives weight 0; NaN stays NaN.
    factors_B11 : ndarray of float32, shape (bands, 1, 1)
        What each band's image was multiplied by.
    survey : Survey
        ``weight_kind``.
    """
    if survey.weight_kind == "variance":
        good_BYX = (weights_BYX > 0) & np.isfinite(weights_BYX)
        none_BYX = np.isnan(weights_BYX)
        np.divide(1, weights_BYX, out=weights_BYX, where=good_BYX)
        weights_BYX[~good_BYX & ~none_BYX] = 0
    weights_BYX /= factors_B11**2  # inverse variances of the pixels


def _find_flux(text: str, info: ImageInfo) -> float:
    """Find the flux [nJy] of a pixel of 1 in a unit; NaN where it is none of a flux or of a surface brightness."""
    unit = parse_unit(text)
    if unit is None:
        # Small letters throughout, as some write them. Of MJY nobody knows whether it is a million or a thousandth.
        return {name.lower(): value for name, value in NJY_PER_UNIT.items()}.get(text.strip(), np.nan)
    # Some files say "nJy/pix"; of a surface brightness, such as MJy/sr, a pixel has its area's share.
    for area, share in ((units.dimensionless_unscaled, 1.0), (units.pix, 1.0), (units.sr, _measure_pixel(info))):
        for flux, njy in _FLUXES:
            with suppress(units.UnitConversionError):
                return float(unit.to(flux / area)) * njy * share
    return np.nan


def _measure_pixel(info: ImageInfo) -> float:
    """Measure the area of a pixel [sr]; NaN where the header does not tell."""
    wcs = parse_wcs(info.header, name=info.name)
    return float(proj_plane_pixel_area(wcs)) * np.radians(1) ** 2 if wcs.has_celestial else np.nan


def _read_planes(info: ImageInfo) -> dict[str, int]:
    """Read the planes of a mask: name -> bit."""
    found = {key[len(_PLANE) :]: _read_key(info, key) for key in info.parse_header() if key.startswith(_PLANE)}
    return {name: int(bit) for name, bit in found.items() if isinstance(bit, int | float)}


def _read_key(info: ImageInfo, key: str) -> Any:
    # astropy parses a card when it is asked for, so a damaged one raises here.
    with quiet_astropy(), refuse_damaged(f"{info.name}: its header's {key} cannot be read"):
        value = info.parse_header().get(key)
        return info.parse_primary().get(key) if value is None else value
