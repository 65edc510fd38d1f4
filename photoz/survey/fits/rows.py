"""Rows of an image, streamed from first to last and verified on the way.

Plain images are read once, front to back, and summed while they pass. Tile-compressed (fpacked) images are read twice,
first to verify the bytes and then to decompress them, because most flipped bits in Rice-coded data decompress without
an error into wrong pixels.
"""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from photoz.survey.fits.checksums import FileDigest
from photoz.survey.fits.file import open_bytes, parse_fits, read_exactly, refuse_damaged
from photoz.survey.fits.image import ImageInfo

# By BITPIX. FITS is big-endian and knows no other numbers in images.
_DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


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

    @property
    def row(self) -> int:
        """Number of the row that is read next."""
        return self._row

    def __enter__(self) -> Self:
        # Opened here and not in the constructor, so that a reader that is never entered leaves no file open.
        self._file = open_bytes(self.info.location)
        if self.info.compressed:
            # All of the file before the first pixel is used: see the head of this module.
            self._digest.update_rest(self._file)
            self._digest.verify()
            self._file.seek(0)
            self._units = parse_fits(self._file, self.info.location)
        else:
            # Up to the pixels, headers of other units included: the SHA-256 is of the whole file.
            self._digest.update(read_exactly(self._file, self.info.spans[1], self.info.name))
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
        if "BSOFTEN" not in self._header:
            return rows
        with refuse_damaged(f"{self.info.name} has a header that makes no sense"):
            return _undo_asinh(rows, float(self._header["BSOFTEN"]), float(self._header["BOFFSET"]))

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
        data = read_exactly(self._file, (stop - self._row) * columns * dtype.itemsize, self.info.name)
        self._digest.update(data)
        # A view of the bytes and not a copy; it is copied once, into the stripe, in float32 and native order.
        with refuse_damaged(f"{self.info.name} has a header that makes no sense"):
            return _scale_rows(np.frombuffer(data, dtype).reshape(-1, columns), self._header)

    def _decompress(self, stop: int) -> npt.NDArray[Any]:
        with refuse_damaged(f"{self.info.name} cannot be decompressed in rows {self._row} to {stop}"):
            # astropy's section decompresses the tiles of these rows alone; .data would hold the whole image, 1.5 GB of
            # a KiDS tile.
            rows: npt.NDArray[Any] = np.asarray(self._units[self.info.hdu].section[self._row : stop])
        return rows


def _undo_asinh(rows: npt.NDArray[Any], softening: float, offset: float) -> npt.NDArray[Any]:
    """Turn the pixels of Pan-STARRS' stacks, which are asinh of fluxes, into fluxes.

    References
    ----------
    Waters et al. 2020, ApJS 251, 4; the archive's page on stack images, which tells to look for these keywords.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of pixels that are not finite
        return np.asarray(offset + 2 * softening * np.sinh(rows * (np.log(10) / 2.5)))


def _scale_rows(rows: npt.NDArray[Any], header: fits.Header) -> npt.NDArray[Any]:
    scale, zero, blank = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0)), header.get("BLANK")
    # Not multiplied by 1: whole numbers would become float64 for nothing, a mask of bytes at eight times the memory.
    with np.errstate(over="ignore", invalid="ignore"):  # of pixels that are not finite
        scaled = rows if (scale, zero) == (1, 0) else rows * scale + zero
    # BLANK means something for integers alone (FITS Standard 4.0, section 4.4.2.5), and is a value before scaling.
    return scaled if rows.dtype.kind == "f" or blank is None else np.where(rows == blank, np.nan, scaled)
