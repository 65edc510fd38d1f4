"""Sky frames: a WCS in galactic axes, FK4 or another equinox, or with its axes swapped, made one in ICRS."""

import warnings
from contextlib import suppress

import numpy as np
from astropy.coordinates import ICRS, BaseCoordinateFrame, Galactic, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS, FITSFixedWarning, NoConvergence, WcsError
from astropy.wcs.utils import wcs_to_celestial_frame

from photoz.errors import SurveyFileError

LARGEST_ERROR = 0.05
"""[pixel] by which the converted WCS may place a source elsewhere than the file's own does."""
_J2000 = Time("J2000")


def convert_to_icrs(wcs: WCS, shape: tuple[int, int], *, name: str) -> WCS:
    """Make a celestial WCS one whose first axis is right ascension and whose second is declination, ICRS.

    FK5 of equinox 2000 counts as ICRS: the two lie within 0.02 arcsec of each other.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Of two axes, in any frame that astropy knows and in either order.
    shape : (int, int)
        Rows and columns of its image, over which the result is held against it.
    name : str
        File name, for the error message.

    Returns
    -------
    astropy.wcs.WCS
        The same object where nothing is to be converted.

    Raises
    ------
    SurveyFileError
        astropy does not know the frame, or the conversion would displace sources by more than `LARGEST_ERROR`.

    References
    ----------
    Calabretta & Greisen 2002, A&A 395, 1077, section 2: how CRVAL and LONPOLE orient the native sphere.
    """
    # astropy knows "icrs" and "fk5" in capitals alone.
    if wcs.wcs.radesys != (capitals := wcs.wcs.radesys.strip().upper()):
        wcs.wcs.radesys = capitals
    frame = _find_frame(wcs, name)
    # Untouched, so that the usual file's pixels are not moved by a rounding.
    if _is_icrs(frame) and wcs.wcs.lng == 0:
        return wcs
    # Infinite unless the conversion comes to its end: what astropy cannot convert is refused in the same words.
    error = float("inf")
    with suppress(WcsError, NoConvergence, ValueError):
        ordered = wcs if wcs.wcs.lng == 0 else _swap_axes(wcs)
        # Axes first: the rotation takes the first for the longitude.
        converted = ordered if _is_icrs(frame) else _rotate_to_icrs(ordered, frame)
        # Held against the file's own WCS, since one rotation is exact only where the frames differ by one: FK4 has
        # terms of aberration, which bend the sky by more the larger the image.
        error = measure_error(wcs, converted, frame, shape)
    # Written so that NaN is refused, too.
    if not error <= LARGEST_ERROR:
        raise SurveyFileError(
            f"{name} has its positions in {frame.name.upper()} (CTYPE1 = {wcs.wcs.ctype[0]!r}, CTYPE2 = "
            f"{wcs.wcs.ctype[1]!r}), which cannot be brought to ICRS, right ascension first, so that sources stay "
            f"within {LARGEST_ERROR} pixels: reproject the image, for instance with SWarp"
        )
    return converted


def measure_error(wcs: WCS, converted: WCS, frame: BaseCoordinateFrame, shape: tuple[int, int]) -> float:
    """Measure how far a converted WCS places the sky's positions from where astropy finds them by the file's own.

    Parameters
    ----------
    wcs, converted : astropy.wcs.WCS
        In any frame and order of axes; in ICRS, right ascension first.
    frame : astropy.coordinates.BaseCoordinateFrame
        Of the former.
    shape : (int, int)
        Rows and columns of the image.

    Returns
    -------
    float
        [pixel] the largest distance, of 7 x 7 positions all over the image; infinite where one has no pixel.
    """
    y, x = (grid.ravel() for grid in np.meshgrid(*(np.linspace(0, side - 1, 7) for side in shape), indexing="ij"))
    world = wcs.all_pix2world(x, y, 0)
    sky = SkyCoord(world[wcs.wcs.lng], world[wcs.wcs.lat], unit="deg", frame=frame).icrs
    # Without quiet, one position that does not converge would raise for all.
    there = converted.all_world2pix(sky.ra.deg, sky.dec.deg, 0, quiet=True)
    return float(np.nan_to_num(np.hypot(there[0] - x, there[1] - y), nan=np.inf).max())


def _find_frame(wcs: WCS, name: str) -> BaseCoordinateFrame:
    axes = {wcs.wcs.ctype[wcs.wcs.lng][:4], wcs.wcs.ctype[wcs.wcs.lat][:4]}
    # astropy would look at RADESYS first, which means nothing for galactic and ecliptic axes.
    if axes == {"GLON", "GLAT"}:
        return Galactic()
    frame = None
    with suppress(ValueError):
        frame = wcs_to_celestial_frame(wcs)
    if frame is None or axes != {"RA--", "DEC-"}:
        raise SurveyFileError(
            f"{name} has a WCS in a frame that cannot be converted to ICRS (CTYPE1 = {wcs.wcs.ctype[0]!r}, CTYPE2 = "
            f"{wcs.wcs.ctype[1]!r}, RADESYS = {wcs.wcs.radesys!r}): reproject the image, for instance with SWarp"
        )
    return frame


def _is_icrs(frame: BaseCoordinateFrame) -> bool:
    return bool(frame.name == "icrs" or (frame.name == "fk5" and frame.equinox == _J2000))


def _swap_axes(wcs: WCS) -> WCS:
    """Exchange the two axes on the sky; those of the pixels stay, and the pixels with them."""
    # relax keeps the terms of distortion, which are not of the standard; they belong to the pixels and stay.
    header = wcs.to_header(relax=True)
    pc, cdelt = wcs.wcs.get_pc(), wcs.wcs.get_cdelt()
    for axis, other in ((1, 2), (2, 1)):
        for key, values in (("CTYPE", wcs.wcs.ctype), ("CRVAL", wcs.wcs.crval), ("CDELT", cdelt)):
            header[f"{key}{axis}"] = values[other - 1]
        header[f"CUNIT{axis}"] = str(wcs.wcs.cunit[other - 1])
        for column in (1, 2):
            # Rows of the matrix are axes of the sky, columns those of the pixels: only rows change places.
            header[f"PC{axis}_{column}"] = pc[other - 1, column - 1]
    return _make_wcs(header)


def _rotate_to_icrs(wcs: WCS, frame: BaseCoordinateFrame) -> WCS:
    """Turn the sphere beneath the image: the reference point gets its place in ICRS, and north its direction there."""
    reference = SkyCoord(*wcs.wcs.crval, unit="deg", frame=frame)
    pole = SkyCoord(0, 90, unit="deg", frame=ICRS).transform_to(frame)
    header = wcs.to_header(relax=True)
    icrs = reference.icrs
    header["CRVAL1"], header["CRVAL2"] = icrs.ra.deg, icrs.dec.deg
    # Position angles grow from north to east, as native longitudes fall.
    header["LONPOLE"] = wcs.wcs.lonpole - reference.position_angle(pole).deg
    for axis, key in ((1, "RA--"), (2, "DEC-")):
        header[f"CTYPE{axis}"] = key + wcs.wcs.ctype[axis - 1][4:]
    header["RADESYS"] = "ICRS"
    # Of the old frame. LATPOLE only decides between two solutions, and zenithal projections have one; elsewhere
    # `measure_error` would show the wrong one. An EQUINOX beside ICRS means nothing.
    for key in ("LATPOLE", "EQUINOX"):
        header.remove(key, ignore_missing=True)
    return _make_wcs(header)


def _make_wcs(header: fits.Header) -> WCS:
    with warnings.catch_warnings():
        # It tells of cards that astropy has put right, which is the release's business.
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header, naxis=2)
