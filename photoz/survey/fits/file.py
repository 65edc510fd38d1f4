"""Survey files as such: their stamps, opened from any location, and errors that say which file is to blame."""

import gzip
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any, cast

from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning

from photoz.errors import SurveyFileError
from photoz.storage import find_filesystem, is_store_trouble, open_file

BLOCK_BYTES = 16 * 2**20
"""Bytes read at a time where no array shape dictates it."""
# What astropy and its decompressor raise on bytes that are not the FITS file they claim to be.
# MemoryError, since a damaged header may promise more than any machine has.
FITS_ERRORS = (
    OSError, ValueError, TypeError, KeyError, IndexError, EOFError, MemoryError, RuntimeError, VerifyError,
    zlib.error,
)  # fmt: skip
_GZIP = b"\x1f\x8b"  # how every such file begins (RFC 1952)
# As the stores' clients name them. "created" is last: of a local file on Linux fsspec gives the time of the last
# change of its inode there, which a chmod or a new name alters, too.
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


@dataclass(frozen=True)
class FileStamp:
    """What tells, without reading it, whether a file is still the one that was read: name, bytes, version."""

    name: str
    size: int
    version: str

    def to_dict(self) -> dict[str, str | int]:
        """Return plain values for JSON."""
        return asdict(self)


def base_name(location: str) -> str:
    """Return the last part of a path or URL."""
    return location.rstrip("/").rsplit("/", 1)[-1]


def stamp_file(location: str) -> FileStamp:
    """Ask the file system for a file's size and version.

    Raises
    ------
    SurveyFileError
        There is no such file.
    OSError
        The disk or store does not answer.
    """
    with refuse_missing(location):
        fs, path = find_filesystem(location)
        info = fs.info(path)
    # The first that the store gives. Where it gives none, only the size tells a file that was replaced.
    version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key)), "")
    return FileStamp(base_name(location), int(info.get("size") or 0), version)


@contextmanager
def quiet_astropy() -> Iterator[None]:
    """Silence astropy's warnings: truncation is told by us, with the numbers; odd cards are the release's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        yield


@contextmanager
def refuse_missing(location: str) -> Iterator[None]:
    """Say of a survey file that the block does not find which it is.

    A store that does not answer passes, and one that forbids: the file may be what it was, behind a token that expired.

    Raises
    ------
    SurveyFileError
    """
    try:
        yield
    except OSError as error:
        # Taken for missing, it would have what an earlier run made of the file removed.
        if is_store_trouble(error) or isinstance(error, PermissionError):
            raise
        raise SurveyFileError(f"{base_name(location)} is missing or cannot be read at {location!r}: {error}") from error


@contextmanager
def refuse_damaged(problem: str) -> Iterator[None]:
    """Say of bytes that astropy cannot use in the block what they were to be; a store that does not answer passes.

    Raises
    ------
    SurveyFileError
    """
    try:
        yield
    except FITS_ERRORS as error:
        # Asking again may help: whoever called tries again, and the file is not blamed.
        if is_store_trouble(error):
            raise
        raise SurveyFileError(f"{problem}: {error}; fetch it again") from error


class Unpacked(gzip.GzipFile):
    """A file packed by gzip, as an archive delivers it, unpacked while it is read; closes what it reads from."""

    def __init__(self, packed: IO[bytes]) -> None:
        super().__init__(fileobj=packed)
        self._packed = packed

    def close(self) -> None:
        """Close both."""
        super().close()
        self._packed.close()


def open_bytes(location: str) -> IO[bytes]:
    """Open a survey file, unpacked where gzip has packed it; raises `SurveyFileError` as `refuse_missing` does."""
    with refuse_missing(location):
        file: IO[bytes] = open_file(location)
        # By its bytes and not its name: some archives pack what they call .fits.
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
    return cast(IO[bytes], Unpacked(file)) if packed else file


def is_unpacked(file: object) -> bool:
    """Tell whether `open_bytes` unpacks the file: such a one has no length before it has been read."""
    return isinstance(file, Unpacked)


@contextmanager
def refuse_unpackable(name: str) -> Iterator[None]:
    """Say of bytes that gzip cannot unpack in the block whose they are; other errors pass.

    Raises
    ------
    SurveyFileError
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SurveyFileError(f"{name} cannot be unpacked: {error}; fetch it again") from error


def unpack(data: bytes, name: str) -> bytes:
    """Unpack the bytes of a file where gzip has packed them; raises `SurveyFileError` where they are damaged."""
    if not data.startswith(_GZIP):
        return data
    with refuse_unpackable(name):
        return gzip.decompress(data)


def read_exactly(file: IO[bytes], count: int, name: str) -> bytes:
    """Read as many bytes as are due; raises `SurveyFileError`, naming the file, where there are fewer."""
    with refuse_unpackable(name):
        data = file.read(count)
    # read() gives what is left at the end of a file, and no error.
    if len(data) < count:
        raise SurveyFileError(f"{name} is truncated: {len(data)} bytes where {count} are due; fetch it again")
    return data


@contextmanager
def open_fits(location: str, **options: Any) -> Iterator[fits.HDUList]:
    """Open a FITS file for the time of the block, as `parse_fits` does; what cannot be used in it is told as damage."""
    with open_bytes(location) as file, use_fits(file, location, **options) as units:
        yield units


@contextmanager
def use_fits(file: IO[bytes], location: str, **options: Any) -> Iterator[fits.HDUList]:
    """Use an open FITS file, as `open_fits`."""
    units = parse_fits(file, location, **options)
    with quiet_astropy(), refuse_damaged(f"{base_name(location)} is no valid FITS file"):
        yield units


def parse_fits(file: IO[bytes], location: str, **options: Any) -> fits.HDUList:
    """Open a FITS file lazily; raises `SurveyFileError` when it is none."""
    with quiet_astropy(), refuse_damaged(f"{base_name(location)} is no valid FITS file"):
        # No memory map: the file may be an object in a store.
        return fits.open(file, mode="readonly", memmap=False, lazy_load_hdus=True, **options)
