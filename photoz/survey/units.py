"""Units as FITS tables state them (TUNIT): positions to degrees, and magnitudes that are none refused."""

from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy import units

from photoz.errors import SurveyFileError

_HOUR = units.Unit("h")


def parse_unit(text: str) -> units.UnitBase | None:
    """Read a unit as FITS, or whoever wrote the file, spells it; None where astropy cannot.

    Examples
    --------
    >>> [str(parse_unit(text)) for text in ("deg", "DEGREES", "rad", "hours", "no unit")]
    ['deg', 'deg', 'rad', 'h', 'None']
    """
    # In this order: case tells units apart (Mpc and mpc), so the file's own spelling counts first. The plural comes
    # last: of "s", a second, it would leave nothing.
    for spelling in dict.fromkeys((text.strip(), text.strip().lower(), text.strip().lower().removesuffix("s"))):
        with suppress(ValueError):
            return units.Unit(spelling)
    return None


def convert_to_degrees(values_N: npt.NDArray[Any], unit: str, *, column: str, hours: bool = False) -> npt.NDArray[Any]:
    """Bring positions to degrees.

    Parameters
    ----------
    values_N : ndarray, shape (N,)
        [unit]; NaN stays NaN.
    unit : str
        As the file states it; "" counts as degrees.
    column : str
        Names the file, the column and the setting, for the error message.
    hours : bool
        Hours are a unit of it, of 15 degrees each: right ascension, not declination.

    Returns
    -------
    ndarray, shape (N,)
        [deg] the same array where it is in degrees already.

    Raises
    ------
    SurveyFileError
        The unit is none of an angle.

    Examples
    --------
    >>> convert_to_degrees(np.array([12.0, np.nan]), "hours", column="", hours=True)
    array([180.,  nan])
    """
    if not unit.strip():
        return values_N
    found = parse_unit(unit)
    # As a unit of time an hour is no angle to astropy; in a column of right ascensions it can be nothing else.
    if found == _HOUR and hours:
        found = units.hourangle
    if found is None or not found.is_equivalent(units.deg):
        raise SurveyFileError(
            f"{column} is in {unit!r} (TUNIT), which is no unit of an angle that astropy reads: write it in deg, or "
            "correct the TUNIT card"
        )
    # The same array, so that positions in degrees keep their last bit.
    return values_N if found == units.deg else np.asarray(values_N, np.float64) * found.to(units.deg)


def require_magnitudes(unit: str, *, column: str) -> None:
    """Refuse a column of magnitudes whose unit says that it holds something else; one that says nothing passes.

    Parameters
    ----------
    unit : str
        As the file states it.
    column : str
        Names the file, the column and the setting, for the error message.

    Raises
    ------
    SurveyFileError
        The unit is one of a flux, a count or anything else that is no magnitude.
    """
    # Not asked for an empty text first, as positions are: astropy reads it as dimensionless, which passes below.
    found = parse_unit(unit)
    # Of mag(AB) the function is mag. Some files call magnitudes dimensionless, others have words of their own for them.
    function = getattr(found, "function_unit", found)
    if found is None or function in (units.mag, units.dimensionless_unscaled):
        return
    raise SurveyFileError(
        f"{column} is in {unit!r} (TUNIT), and magnitudes in mag are asked for: name the column that has them, or "
        "convert it"
    )
