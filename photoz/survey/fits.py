"""FITS files from any location: inspect a header, stream an image's rows, verify what was read.

Plain images are read once, front to back, and summed while they pass. Tile-compressed (fpacked) images are read twice,
first to verify the bytes and then to decompress them, because most flipped bits in Rice-coded data decompress without
an error into wrong pixels.
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning

from photoz.errors import SurveyFileError
from photoz.storage import find_filesystem, is_store_trouble, open_file

BLOCK_BYTES = 16 * 2**20
"""Bytes read at a time where no array shape dictates it."""

# What astropy and its decompressor raise on bytes that are not the FITS file they claim to be.
FITS_ERRORS = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, MemoryError, RuntimeError, VerifyError)
# As the stores' clients name them. "created" is last: of a local file on Linux fsspec gives the time of the last
# change of its inode there, which a chmod or a new name alters, too.
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


ImageKind = Literal["image", "mask", "weight"]
_EXTENSION_NAMES = {
    "image": {"SCI", "SCIENCE", "IMAGE"},
    "mask": {"MSK", "MASK", "DQ", "FLAG", "FLAGS"},
    "weight": {"WGT", "WHT", "WEIGHT", "IVAR"},
    "something else": {"VAR", "VARIANCE", "ERR", "ERROR", "SIGMA", "RMS", "EXP", "EXPTIME", "PSF"},
}
"""EXTNAME of what DES, HSC, HST and SWarp write beside each other."""


@dataclass(frozen=True)
class FileStamp:
    """What tells, without reading it, whether a file is still the one that was read: name, bytes, version."""

    name: str
    size: int
    version: str

    def to_dict(self) -> dict[str, str | int]:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ImageInfo:
    """A FITS image that was inspected and not yet read.

    Parameters
    ----------
    location : str
        Of the file.
    header : str
        The image's header, cards of 80 characters joined by newlines.
    shape : (int, int)
        Rows and columns.
    hdu : int
        Index of the image's header and data unit.
    spans : (int, int, int)
        [byte] where the unit's header, its data, and what follows it begin.
    datasum, checksum : str or None
        The unit's own checksums as the file states them.
    compressed : bool
        Tile-compressed (fpacked).
    """

    location: str
    header: str
    shape: tuple[int, int]
    hdu: int
    spans: tuple[int, int, int]
    datasum: str | None
    checksum: str | None
    compressed: bool

    @property
    def name(self) -> str:
        """File name without its folder."""
        return base_name(self.location)

    def parse_header(self) -> fits.Header:
        """Return the header as astropy's object."""
        return fits.Header.fromstring(self.header, sep="\n")


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


def inspect_image(location: str, kind: ImageKind = "image") -> ImageInfo:
    """Find the image in a FITS file and check that the file is as long as its header promises.

    Parameters
    ----------
    location : str
        Path or URL.
    kind : "image", "mask" or "weight"
        Which of several images is wanted: the first whose EXTNAME says that it is one (``SCI``, ``MSK``, ``WGT``, ...),
        or else the first that has no name that says it is another.

    Raises
    ------
    SurveyFileError
        The file is missing, is not FITS, holds no two-dimensional image, several of which none is of this kind, or is
        truncated.
    """
    # Asked of the file system, since a stream cannot tell that it ends early before it is read.
    size = stamp_file(location).size
    # As it lies in the file: the checksums and byte positions of a packed image are those of the table that holds it.
    with _open_fits(location, disable_image_compression=True) as units:
        hdu = _choose_unit(units, kind, base_name(location))
        unit = units[hdu]
        compressed = _is_compressed(unit)
        places = unit.fileinfo()
        spans = (places["hdrLoc"], places["datLoc"], places["datLoc"] + places["datSpan"])
        sums = (unit.header.get("DATASUM"), unit.header.get("CHECKSUM"))
        header = unit.header.copy()
    if size < spans[2]:
        raise SurveyFileError(
            f"{base_name(location)} is truncated: {size} bytes, and its header promises {spans[2]}; fetch it again"
        )
    if compressed:
        # Only now as the image that it stands for, whose NAXIS1 and NAXIS2 are not those of the table.
        with _open_fits(location) as units:
            header = units[hdu].header.copy()
    # FITS gives the fastest axis first, NumPy last.
    shape = (int(header["NAXIS2"]), int(header["NAXIS1"]))
    return ImageInfo(location, header.tostring(sep="\n"), shape, hdu, spans, *sums, compressed)


def _choose_unit(units: fits.HDUList, kind: ImageKind, name: str) -> int:
    """Return the index of the image of this kind."""
    names = {
        index: str(unit.header.get("EXTNAME", "")).strip().upper()
        for index, unit in enumerate(units)
        # A primary unit without data is an image of no axes, and stands before every extension.
        if _is_compressed(unit) or (unit.is_image and unit.header.get("NAXIS", 0) == 2)
    }
    if not names:
        raise SurveyFileError(f"{name} holds no two-dimensional image: is it the right file?")
    others = set().union(*(_EXTENSION_NAMES[other] for other in _EXTENSION_NAMES if other != kind))
    named = [index for index, extension in names.items() if extension in _EXTENSION_NAMES[kind]]
    unnamed = [index for index, extension in names.items() if extension not in others]
    # The only image there is was named by the settings, whatever its extension is called.
    choice = [*named, *unnamed] if len(names) > 1 else list(names)
    if not choice:
        raise SurveyFileError(
            f"{name} holds several images, in the extensions {list(names.values())}, of which none is the {kind}: keep "
            f"it in a file of its own, or name its extension {sorted(_EXTENSION_NAMES[kind])[0]} (EXTNAME)"
        )
    return choice[0]


def _is_compressed(unit: Any) -> bool:
    # The tiled image convention's own mark: EXTNAME is the writer's choice.
    return bool(unit.header.get("ZIMAGE", False))


class RowReader:
    """Stream the rows of an image from first to last, verifying the file on the way.

    Use as a context manager: ``with RowReader(info) as reader: reader.read_rows(1024) ...; reader.finish()``.

    Parameters
    ----------
    info : ImageInfo
        From `inspect_image`.
    """

    def __init__(self, info: ImageInfo) -> None:
        self.info = info
        self._row = 0
        self._digest = FileDigest(info)
        self._header = info.parse_header()

    def __enter__(self) -> Self:
        # Opened here and not in the constructor, so that a reader that is never entered leaves no file open.
        self._file = _open_bytes(self.info.location)
        if self.info.compressed:
            # All of the file before the first pixel is used: see the head of this module.
            self._digest.update_rest(self._file)
            self._digest.verify()
            self._file.seek(0)
            self._units = parse_fits(self._file, self.info.location)
        else:
            # Up to the pixels, headers of other units included: the SHA-256 is of the whole file.
            self._digest.update(_read_exactly(self._file, self.info.spans[1], self.info.name))
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read_rows(self, count: int) -> npt.NDArray[Any]:
        """Return the next ``count`` rows (fewer at the end), scaled, shape (rows, columns); read-only, any byte order.

        Raises
        ------
        SurveyFileError
            The bytes end early or cannot be decompressed.
        """
        # The last stripe of a tile is shorter, unless the height is a multiple of a shard.
        stop = min(self._row + count, self.info.shape[0])
        rows = self._decompress(stop) if self.info.compressed else self._read_plain(stop)
        self._row = stop
        return rows

    def finish(self) -> str:
        """Read what follows the image, compare the checksums, and return the file's SHA-256.

        Raises
        ------
        SurveyFileError
            DATASUM or CHECKSUM does not fit the bytes.
        """
        if not self.info.compressed:
            self._digest.update_rest(self._file)
            self._digest.verify()
        return self._digest.hexdigest()

    def _read_plain(self, stop: int) -> npt.NDArray[Any]:
        bitpix, columns = int(self._header["BITPIX"]), self.info.shape[1]
        dtype = np.dtype(_DTYPES[bitpix])
        data = _read_exactly(self._file, (stop - self._row) * columns * dtype.itemsize, self.info.name)
        self._digest.update(data)
        # A view of the bytes and not a copy; it is copied once, into the stripe, in float32 and native order.
        return _scale_rows(np.frombuffer(data, dtype).reshape(-1, columns), self._header)

    def _decompress(self, stop: int) -> npt.NDArray[Any]:
        with refuse_damaged(f"{self.info.name} cannot be decompressed in rows {self._row} to {stop}"):
            # astropy's section decompresses the tiles of these rows alone; .data would hold the whole image, 1.5 GB of
            # a KiDS tile.
            rows: npt.NDArray[Any] = np.asarray(self._units[self.info.hdu].section[self._row : stop])
        return rows


class FileDigest:
    """SHA-256 of a file and the FITS checksums of one of its units, from bytes given front to back."""

    def __init__(self, info: ImageInfo) -> None:
        self._info = info
        self._sha = hashlib.sha256()
        self._totals = Counter(taken=0, header=0, data=0)  # [byte] taken, and the sums of the unit's two parts

    def update(self, data: bytes) -> None:
        """Take the file's next bytes."""
        taken, spans = self._totals["taken"], self._info.spans
        # A block may begin in one part of the file and end in another; what lies outside the unit is summed in neither.
        header, start, stop = (min(max(place - taken, 0), len(data)) for place in spans)
        self._sha.update(data)
        self._totals["header"] += sum_words(memoryview(data)[header:start], taken + header - spans[0])
        self._totals["data"] += sum_words(memoryview(data)[start:stop], taken + start - spans[1])
        self._totals["taken"] += len(data)

    def update_rest(self, file: IO[bytes]) -> None:
        """Take everything up to the end of the file."""
        while block := file.read(BLOCK_BYTES):
            self.update(block)

    def verify(self) -> None:
        """Hold the bytes taken against the checksums that the header states, where it states any.

        Raises
        ------
        SurveyFileError
            One of them does not fit.

        References
        ----------
        FITS Standard 4.0, section 4.4.2.7 and appendix J.
        """
        data = fold_carries(self._totals["data"])
        stated = parse_datasum(self._info.datasum, self._info.name)
        if stated is not None and stated != data:
            raise SurveyFileError(
                f"{self._info.name} is corrupt: DATASUM is {self._info.datasum} and its data sum to {data}; "
                "fetch it again"
            )
        # CHECKSUM is chosen so that header and data together sum to all ones, which in ones' complement is minus zero;
        # plain zero is the same number.
        total = fold_carries(self._totals["header"] + data)
        if self._info.checksum not in (None, "") and total not in (0, 0xFFFFFFFF):
            raise SurveyFileError(
                f"{self._info.name} is corrupt: its header and data do not fit CHECKSUM; fetch it again"
            )

    def hexdigest(self) -> str:
        """Return the SHA-256 of all bytes taken, as ``sha256sum`` prints it."""
        return self._sha.hexdigest()


def parse_datasum(stated: object, name: str) -> int | None:
    """Return the sum that a header's DATASUM states; None where there is none or an empty one.

    Raises
    ------
    SurveyFileError
        What it states is no number.
    """
    # An empty string states that the sum is not known (FITS Standard 4.0, section 4.4.2.7).
    if stated in (None, ""):
        return None
    try:
        # A string by the standard; some writers give a number.
        return int(str(stated))
    except ValueError as error:
        raise SurveyFileError(
            f"{name}: its header has DATASUM = {stated!r}, which is no number: remove the card, or write the file's "
            "checksums anew"
        ) from error


def sum_words(data: bytes | memoryview, offset: int = 0) -> int:
    """Sum bytes as big-endian words of 32 bits; folded by `fold_carries`, the sum of a unit's data is FITS's DATASUM.

    Parameters
    ----------
    data : bytes-like
    offset : int
        [byte] where in the unit they begin: the sums of parts that cut words add up to that of the whole.

    Examples
    --------
    >>> sum_words(bytes.fromhex("00000001 ffffffff")) == 2**32
    True
    """
    # FITS pads its blocks to whole words, but ours begin wherever a row or a read ends.
    before, after = offset % 4, -(offset + len(data)) % 4
    words = np.frombuffer(bytes(before) + data + bytes(after) if before or after else data, dtype=">u4")
    # 64 bits hold the sum of 2**32 words, 17 GB, without a carry being lost.
    return int(words.astype("=u4").sum(dtype=np.uint64))


def fold_carries(total: int) -> int:
    """Fold what a sum has beyond 32 bits back into it: addition in ones' complement.

    >>> fold_carries(2**32)
    1
    """
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


_DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


def _scale_rows(rows: npt.NDArray[Any], header: fits.Header) -> npt.NDArray[Any]:
    scale, zero, blank = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0)), header.get("BLANK")
    # Not multiplied by 1: whole numbers would become float64 for nothing, a mask of bytes at eight times the memory.
    scaled = rows if (scale, zero) == (1, 0) else rows * scale + zero
    # BLANK means something for integers alone (FITS Standard 4.0, section 4.4.2.5), and is a value before scaling.
    return scaled if rows.dtype.kind == "f" or blank is None else np.where(rows == blank, np.nan, scaled)


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


def _open_bytes(location: str) -> IO[bytes]:
    with refuse_missing(location):
        file: IO[bytes] = open_file(location)
    return file


def _read_exactly(file: IO[bytes], count: int, name: str) -> bytes:
    data = file.read(count)
    # read() gives what is left at the end of a file, and no error.
    if len(data) < count:
        raise SurveyFileError(f"{name} is truncated: {len(data)} bytes where {count} are due; fetch it again")
    return data


@contextmanager
def _open_fits(location: str, **options: Any) -> Iterator[fits.HDUList]:
    with _open_bytes(location) as file:
        units = parse_fits(file, location, **options)
        with quiet_astropy(), refuse_damaged(f"{base_name(location)} is no valid FITS file"):
            yield units


def parse_fits(file: IO[bytes], location: str, **options: Any) -> fits.HDUList:
    """Open a FITS file lazily; raises `SurveyFileError` when it is none."""
    with quiet_astropy(), refuse_damaged(f"{base_name(location)} is no valid FITS file"):
        # No memory map: the file may be an object in a store.
        return fits.open(file, mode="readonly", memmap=False, lazy_load_hdus=True, **options)
