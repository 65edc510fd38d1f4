"""FITS tables whose columns are packed tile by tile (ZTABLE), as ``fpack -table`` writes them.

References
----------
FITS Standard 4.0 (2016), sections 10.3 and 10.4.
"""

import zlib
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header

from photoz.errors import TableError
from photoz.tables.fitscolumns import Column

_VALUE_BYTES = {"I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 4, "M": 8}
_DESCRIPTORS: dict[str, np.dtype[Any]] = {"P": np.dtype(">i4"), "Q": np.dtype(">i8")}


class PackedTable:
    """A packed table's tiles: a row of the table that holds them is one tile of rows of the table that they stand for.

    Parameters
    ----------
    header : astropy.io.fits.Header
    start : int
        [byte] where the unit's data begin in the file.
    location : str
        For messages.
    """

    def __init__(self, header: Header, start: int, location: str) -> None:
        self._header, self._start, self._location = header, start, location
        rows = int(header["ZNAXIS2"])
        # Without the card all rows are one tile. At least 1, since the reader divides by it and a table may be empty.
        self.tile_rows = max(int(header.get("ZTILELEN", rows)), 1)
        self._width = int(header["NAXIS1"])
        self._heap = start + int(header.get("THEAP", self._width * int(header["NAXIS2"])))

    @staticmethod
    def is_packed(header: Header) -> bool:
        """Tell whether a table is packed."""
        return bool(header.get("ZTABLE", False))

    def read_column(self, file: IO[bytes], tile: int, column: Column, rows: int) -> npt.NDArray[np.uint8]:
        """Read and unpack a column of a tile.

        Returns
        -------
        ndarray of uint8, shape (rows, bytes of a value)
            As they would lie in a table that is not packed: big-endian.

        Raises
        ------
        TableError
            It is packed by another algorithm than gzip or Rice's, or damaged.
        """
        packed = self._read_cell(file, tile, column.index)
        kind = str(self._header.get(f"ZCTYP{column.index}", "")).strip()
        size = rows * column.width
        data = self._unpack(packed, kind, column, size)
        # NumPy would refuse the shape below, without naming file or column.
        if len(data) != size:
            raise TableError(
                f"{self._location!r} is damaged: column {column.field.name} of tile {tile} unpacks to {len(data)} "
                f"bytes, not {size}; fetch it again"
            )
        return np.frombuffer(data, np.uint8).reshape(rows, column.width)

    def _read_cell(self, file: IO[bytes], tile: int, index: int) -> bytes:
        """Read a cell of the table that holds the tiles: a count and an offset into the heap."""
        # Summed and not multiplied: descriptors of 32 and of 64 bits may stand side by side in a row.
        offset = 0
        for i in range(1, index):
            offset += 2 * _DESCRIPTORS[self._find_form(i)].itemsize
        dtype = _DESCRIPTORS[self._find_form(index)]
        file.seek(self._start + tile * self._width + offset)
        count, place = np.frombuffer(file.read(2 * dtype.itemsize), dtype).tolist()
        file.seek(self._heap + place)
        return file.read(count)

    def _find_form(self, index: int) -> str:
        # The format may begin with its count and end with the longest cell, as 1PB(120), neither of which is asked for.
        form = str(self._header[f"TFORM{index}"]).strip().lstrip("01")
        if form[:2] not in ("PB", "QB"):
            raise TableError(f"{self._location!r} is damaged: TFORM{index} of a packed table is {form!r}, no bytes")
        return form[0]

    def _unpack(self, packed: bytes, kind: str, column: Column, size: int) -> bytes:
        # Of K, too, the standard knows no Rice coding: it falls through to the message.
        if kind == "RICE_1" and column.code in "BIJ":
            return _unpack_rice(packed, column, size)
        if kind not in ("GZIP_1", "GZIP_2"):
            raise TableError(
                f"{self._location!r}: column {column.field.name} is packed by {kind or 'nothing known'}: unpack "
                "the file with funpack"
            )
        try:
            data = zlib.decompress(packed, wbits=47)  # gzip's header or zlib's
        except zlib.error as error:
            raise TableError(
                f"{self._location!r} is damaged: column {column.field.name} cannot be unpacked ({error}); fetch it "
                "again"
            ) from error
        if kind == "GZIP_1":
            return data
        # The first bytes of all values, then the second ones: back to value after value.
        width = _VALUE_BYTES.get(column.code, 1)
        return np.frombuffer(data, np.uint8).reshape(width, -1).T.tobytes() if width > 1 else data


def _unpack_rice(packed: bytes, column: Column, size: int) -> bytes:
    # astropy's decoder, which it has for images and keeps to itself; the standard's reference code is C.
    from astropy.io.fits.hdu.compressed._codecs import Rice1

    width = _VALUE_BYTES.get(column.code, 1)
    decoder: Any = Rice1(blocksize=32, bytepix=width, tilesize=size // width)
    values = np.asarray(decoder.decode(np.frombuffer(packed, np.uint8)))
    # Back into FITS's order, in which `decode_binary` takes whatever a column was packed by.
    return values.astype(values.dtype.newbyteorder(">")).tobytes()
