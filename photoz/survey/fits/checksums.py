"""What tells whether a FITS file's bytes are those that were written: DATASUM, CHECKSUM, and the file's SHA-256."""

import hashlib
from collections import Counter
from typing import IO

import numpy as np

from photoz.errors import SurveyFileError
from photoz.survey.fits.file import BLOCK_BYTES, refuse_unpackable
from photoz.survey.fits.image import ImageInfo

STALE_REMEDY = "fetch it again, or remove CHECKSUM from its header if that was edited since"
"""Where the data fit their own sum."""


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
        with refuse_unpackable(self._info.name):
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
                f"{self._info.name} is corrupt: its header and data do not fit CHECKSUM; {STALE_REMEDY}"
            )

    def hexdigest(self) -> str:
        """Return the SHA-256 of all bytes taken, as ``sha256sum`` prints it of the file, unpacked from gzip."""
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
            f"{name}: its header has DATASUM = {stated!r}, which is no number: remove DATASUM and CHECKSUM from it, or "
            "write the file's checksums anew"
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
