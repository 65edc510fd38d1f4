"""Which unit of a FITS file is a table of sources, and whether a later one is a further piece of it.

References
----------
LDAC, SExtractor's own table format: the header of the image is a table before that of the sources.
"""

from collections.abc import Iterable

from astropy.io.fits import Header

_NOT_SOURCES = ("LDAC_IMHEAD",)


def name_unit(header: Header) -> str:
    """Return a unit's EXTNAME, "" where there is none."""
    return str(header.get("EXTNAME", "")).strip()


def is_table(header: Header) -> bool:
    """Tell whether a unit is a table, and no image packed into one."""
    kind = str(header.get("XTENSION", "")).strip()
    # A3DTABLE is the name that binary tables had before they were of the standard.
    return kind in ("TABLE", "BINTABLE", "A3DTABLE") and not header.get("ZIMAGE", False)


def holds_sources(header: Header) -> bool:
    """Tell whether a unit is a table and not one that goes before a table of sources."""
    return is_table(header) and name_unit(header).upper() not in _NOT_SOURCES


def tell_alike(index: int, header: Header, others: Iterable[tuple[int, Header]]) -> str:
    """Tell of tables with the columns of one that is read, such as a camera's file has one a detector.

    Reading one of them, nobody would miss the rows of the others.

    Parameters
    ----------
    index : int
        Of the unit that is read.
    header : astropy.io.fits.Header
        Of the same.
    others : iterable of (int, Header)
        Index and header of the other units.

    Returns
    -------
    str
        What the file has, and a remedy; "" where no other table is alike.
    """
    names = _list_names(header)
    alike = [(i, name_unit(each)) for i, each in others if holds_sources(each) and _list_names(each) == names]
    if not alike:
        return ""
    told = ", ".join(f"{i} ({name or 'no name'})" for i, name in alike)
    return f"has further tables of the columns of table {index}: {told}. Join them in one (STILTS tcat)"


def _list_names(header: Header) -> list[str]:
    return [str(header.get(f"TTYPE{i}", "")) for i in range(1, int(header["TFIELDS"]) + 1)]
