"""What a table says of the frame of its positions, which are taken as ICRS: RADESYS, EQUINOX and VOTable's COOSYS."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from photoz.errors import SurveyFileError

_AS_ICRS = {"", "ICRS", "FK5", "EQ_FK5", "GAIA", "BARYCENTRIC", "GEO_APP", "XY", "UNKNOWN"}
"""Names of systems that are ICRS, lie within 0.02 arcsec of it at equinox 2000, or say nothing."""
_OF_1950 = 1984.0
"""[year] An equinox before it is one of FK4 where no system is named (FITS Standard 4.0, section 8.3)."""


def describe_frame(system: Any, equinox: Any = None) -> str:
    """Say in which frame positions are; "" for ICRS, for what is the same for a galaxy, and where nothing is said.

    Parameters
    ----------
    system : object
        Of RADESYS, or of COOSYS; None where the file names none.
    equinox : object
        [year] with or without its letter ("J2000"); None where the file states none.

    Examples
    --------
    >>> describe_frame("FK5", 2000.0), describe_frame("FK5", 1950), describe_frame(None, "B1950"), describe_frame("FK4")
    ('', 'FK5 of equinox 1950', 'FK4 of equinox 1950', 'FK4')
    """
    name = str(system or "").strip().strip("'").upper()
    year = None
    with suppress(ValueError):
        year = float(str(equinox if equinox is not None else "").strip().lstrip("JBjb"))
    if name in _AS_ICRS and (year in (None, 2000.0) or name == "ICRS"):
        return ""
    named = name.removeprefix("EQ_") or ("FK4" if year is not None and year < _OF_1950 else "FK5")
    return named if year is None else f"{named} of equinox {year:g}"


def read_frame(header: Mapping[str, Any]) -> str:
    """Say in which frame a FITS table's positions are, by its header; as `describe_frame`."""
    # RADECSYS is what RADESYS was called before it was of the standard.
    return describe_frame(header.get("RADESYS") or header.get("RADECSYS"), header.get("EQUINOX"))


def require_icrs(frame: str, place: str) -> None:
    """Refuse positions in another frame.

    Parameters
    ----------
    frame : str
        Of `describe_frame`.
    place : str
        Names the table, for the message.

    Raises
    ------
    SurveyFileError
    """
    if frame:
        raise SurveyFileError(
            f"{place} says of its positions that they are in {frame} (RADESYS, EQUINOX or COOSYS), and ICRS is wanted: "
            "convert them, for instance with astropy or STILTS, or correct what it says"
        )
