"""Units as FITS tables state them (TUNIT): positions to degrees, and magnitudes that are none refused."""

import re
import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy import units

from photoz.errors import SurveyFileError

_WORDS = {
    "milli(?=j|m)": "m", "micro(?=j|m)": "u", "[\u00b5\u03bc](?=j|m)": "u", "nano(?=j|m)": "n", "jansk(y|ies|ys)": "Jy",
    "magg(y|ies)": "mgy",
}  # fmt: skip
"""Patterns -> how astropy has it, of the fluxes of tables."""
_HOUR = units.Unit("h")
_MAGNITUDE = re.compile(r"((AB|ST|Vega)[ _-]?)?mag(nitude)?s?|mag[ _-](AB|ST|Vega)|AB", re.IGNORECASE)


def parse_unit(text: str) -> units.UnitBase | None:
    """Read a unit as FITS, or whoever wrote the file, spells it; None where astropy cannot.

    Examples
    --------
    >>> [str(parse_unit(text)) for text in ("deg", "DEGREES", "hours", "AB mag", "microJansky", "no unit")]
    ['deg', 'deg', 'h', 'mag', 'uJy', 'None']
    """
    # To astropy "AB mag" is a product of two units, and "AB" a flux.
    if _MAGNITUDE.fullmatch(text.strip()):
        return units.mag
    # In this order: case tells units apart (Mpc and mpc), so the file's own spelling counts first. The plural comes
    # last: of "s", a second, it would leave nothing.
    plain = text.strip()
    for spelling in dict.fromkeys((plain, _abbreviate(plain), plain.lower(), plain.lower().removesuffix("s"))):
        # Of several slashes and of outdated names it warns; which unit is meant is clear.
        with suppress(ValueError), warnings.catch_warnings():
            warnings.simplefilter("ignore", units.UnitsWarning)
            return units.Unit(spelling)
    return None


def _abbreviate(text: str) -> str:
    """Write the units of fluxes short, which astropy knows in no other way: microJansky is uJy, nanomaggies nmgy."""
    for word, short in _WORDS.items():
        text = re.sub(word, short, text, flags=re.IGNORECASE)
    return text


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
