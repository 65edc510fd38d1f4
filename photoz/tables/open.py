"""Open a table of any format: what it is told by its first bytes, and by its name where they tell nothing."""

import gzip
import zlib
from collections.abc import Sequence
from contextlib import suppress

from photoz.errors import TableError
from photoz.storage import exists, find_files, find_filesystem, join, list_folder, open_file
from photoz.tables.base import Reader, Table, open_files, refuse_unreadable

# Enough for an XML declaration and comments before the element VOTABLE.
_HEAD_BYTES = 4096
_PARQUET, _FITS, _TEXT, _VOTABLE = "Parquet", "FITS", "CSV", "VOTable"
_NAMES = {
    _PARQUET: (".parquet", ".pq", ".parq"),
    _FITS: (".fits", ".fit", ".fits.fz", ".fz"),
    _TEXT: (".csv", ".ecsv", ".tsv", ".txt", ".dat"),
    _VOTABLE: (".vot", ".votable", ".xml"),
}
_FORMATS = "Parquet, HATS, FITS, CSV, ECSV and VOTable"
# Formats that people have tables in and that are not read, by their first bytes.
_MRT = b"Byte-by-byte Description of file"
_OTHERS = {
    b"\x89HDF": "HDF5",
    b"ARROW1": "Feather",
    b"PK\x03\x04": "zip, as spreadsheets are, too",
    b"SQLite format 3\0": "SQLite",
    b"PARE": "encrypted Parquet",
    b"BZh": "bzip2",
    b"(\xb5/\xfd": "zstd",
    b"\xfd7zXZ": "xz",
    b"\x93NUMPY": "NumPy's own format",
    b"Obj\x01": "Avro",
    b"ORC": "ORC",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"{": "JSON",
    b"SR\x00\x04": "a file of IDL's save",
    b"\xff\xfe": "text in UTF-16 (save it in UTF-8)",
    b"\xfe\xff": "text in UTF-16 (save it in UTF-8)",
}


def open_table(location: str, *, hdu: str = "", text: Sequence[str] = ()) -> Table:
    """Open a table, without reading its rows.

    Parameters
    ----------
    location : str
        File, folder with files of one format at any depth, or HATS catalogue or collection; path or URL. A ``*`` stands
        for any name, unless there is a file or folder whose name holds it.
    hdu : str
        Of FITS and VOTable files, the table's number or name; "": the first that holds sources.
    text : sequence of str
        Columns of CSV files that are read as text, whatever they look like: identifiers.

    Returns
    -------
    Table
        Of Parquet and FITS files a part is a range of rows or of row groups; of others a file; of a HATS catalogue a
        partition.

    Raises
    ------
    TableError
        There is nothing, nothing of a known format, or it is damaged; files of a folder differ in format or in types
        that have nothing in common.

    Notes
    -----
    A FITS table of one part (up to 256 MB) is held against DATASUM and CHECKSUM as it is read, and any FITS file that
    is shorter than its header promises is refused here. CSV is streamed whole by one worker, and so is FITS packed by
    gzip, which cannot be entered in the middle.
    """
    # The slash at the end would make an empty name; but s3:// without its slashes is no URL.
    location = location.rstrip("/") if not location.endswith("://") else location
    with refuse_unreadable(location):
        there = exists(location)
        if there and _is_folder(location):
            return _open_folder(location, hdu, text)
        files = [location] if there or "*" not in location else expand_stars(location)
        # Where key=value may begin in the names of folders: above the first star, as beneath a folder that is named
        # itself.
        folder = location[: location.index("*")].rpartition("/")[0] if files != [location] else ""
        return _open_files(location, files, folder, hdu, text)


def expand_stars(pattern: str) -> list[str]:
    """List the files of a location in which ``*`` stands for any name, across folders where a slash follows it.

    What is before the first star's own name is a folder's name, in which no character stands for another.

    Raises
    ------
    FileNotFoundError
        There are none.
    """
    folder, _, names = pattern[: pattern.index("*")].rpartition("/")
    names += pattern[pattern.index("*") :]
    # Beneath all folders only where a star may stand for one: listing those takes a store many requests.
    nested = "/" in names
    files = [join(folder, name) for name in find_files(folder, names)] if nested else list_folder(folder, names)
    if not files:
        raise FileNotFoundError(pattern)
    return files


def _is_folder(location: str) -> bool:
    filesystem, path = find_filesystem(location)
    return bool(filesystem.isdir(path))


def _open_folder(folder: str, hdu: str, text: Sequence[str]) -> Table:
    # Read where it is needed: each format brings its own libraries, which take time to import.
    from photoz.tables.hats import find_primary, open_hats

    primary = find_primary(folder)
    if primary is not None:
        return open_hats(folder, primary)
    # What begins so is passed over by all readers of folders: metadata, logs, files that are being written.
    names = [name for name in find_files(folder) if not any(part[0] in "._" for part in name.split("/") if part)]
    # Of the first format that is there: lists and readmes in text lie beside tables in Parquet and FITS.
    for endings in _NAMES.values():
        files = [name for name in names if name.lower().removesuffix(".gz").endswith(endings)]
        if files:
            return _open_files(folder, [join(folder, name) for name in files], folder, hdu, text)
    raise TableError(f"the folder {folder!r} holds no table, by the names of its files: {_FORMATS} are read")


def _open_files(location: str, files: Sequence[str], folder: str, hdu: str, text: Sequence[str]) -> Table:
    # The first file speaks for all, since asking each would cost a request a file; one of another format is told when
    # its reader meets it.
    return open_files(location, files, _choose_reader(find_format(files[0]), folder, hdu, text))


def _choose_reader(kind: str, folder: str, hdu: str, text: Sequence[str]) -> Reader:
    if kind == _PARQUET:
        from photoz.tables.parquet import ParquetReader

        return ParquetReader(folder)
    if kind == _FITS:
        from photoz.tables.fits import FitsReader

        return FitsReader(hdu)
    if kind == _VOTABLE:
        from photoz.tables.votable import VotableReader

        return VotableReader(hdu)
    from photoz.tables.text import TextReader

    return TextReader(tuple(text))


def find_format(location: str) -> str:
    """Tell a file's format: "Parquet", "FITS", "CSV" (ECSV is one) or "VOTable".

    Raises
    ------
    TableError
        It is empty, or of none of them.
    """
    with open_file(location) as file:
        head = _unpack(file.read(_HEAD_BYTES))
    if not head:
        raise TableError(f"{location!r} is empty")
    # ECSV and XML may begin with a byte order mark or blank lines; formats of bytes may not.
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"PAR1"):
        return _PARQUET
    if head.startswith(b"SIMPLE  ="):
        return _FITS
    if start.startswith(b"# %ECSV"):
        return _TEXT
    if start.startswith(b"<VOTABLE") or (start.startswith(b"<?xml") and b"VOTABLE" in head):
        return _VOTABLE
    # The names of columns may begin as a format's bytes do, ORCID and PARENT_ID, but hold no bytes that are no text.
    is_text = head.isascii() and b"\0" not in head
    other = next(
        (name for magic, name in _OTHERS.items() if head.startswith(magic) and not (is_text and magic.isalnum())), ""
    )
    # What a server sends in place of a file that is not there, or of one that asks for a login.
    if start[:15].lower().startswith((b"<!doctype html", b"<html")):
        other = "a web page (fetch it again)"
    # Text, which would be taken for CSV by its name.
    if _MRT in head and not head.startswith(b"#"):
        other = "a machine-readable table of CDS or AAS (astropy's ascii.mrt and ascii.cds read it: save it as ECSV)"
    name = location.lower().removesuffix(".gz")
    # Text has no first bytes of its own.
    if not other and name.endswith(_NAMES[_TEXT]) and b"\0" not in head:
        return _TEXT
    by_name = next((kind for kind, endings in _NAMES.items() if name.endswith(endings)), "")
    what = (
        f"is {other}" if other else f"is no {by_name}, as its name says" if by_name else "is of no format that is known"
    )
    raise TableError(f"{location!r} {what}: {_FORMATS} are read, packed by gzip or not")


def _unpack(head: bytes) -> bytes:
    if not head.startswith(b"\x1f\x8b"):
        return head
    unpacked = b""
    # The end of what was read is seldom the end of what was packed.
    with suppress(zlib.error, EOFError, gzip.BadGzipFile):
        # With a limit: a few packed bytes may stand for gigabytes of zeros.
        unpacked = zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
    return unpacked
