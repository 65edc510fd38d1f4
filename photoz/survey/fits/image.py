"""The image in a FITS file: found among others and inspected by its header alone."""

from dataclasses import dataclass
from typing import IO, Any, Literal

from astropy.io import fits

from photoz.errors import SurveyFileError
from photoz.survey.fits.file import base_name, is_unpacked, open_bytes, open_fits, stamp_file, use_fits

ImageKind = Literal["image", "mask", "weight"]
_EXTENSION_NAMES = {
    "image": {"SCI", "SCIENCE", "IMAGE"},
    "mask": {"MSK", "MASK", "DQ", "FLAG", "FLAGS"},
    "weight": {"WGT", "WHT", "WEIGHT", "IVAR"},
    # Known so that none of them is taken for the image of a file whose image has no name.
    "something else": {"VAR", "VARIANCE", "ERR", "ERROR", "SIGMA", "RMS", "EXP", "EXPTIME", "PSF"},
}
"""EXTNAME of what DES, HSC, HST and SWarp write beside each other."""


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
    # As it lies in the file: the checksums and byte positions of a packed image are those of the table that holds it.
    with open_bytes(location) as file, use_fits(file, location, disable_image_compression=True) as units:
        hdu = _choose_unit(units, kind, base_name(location))
        unit = units[hdu]
        compressed = _is_compressed(unit)
        places = unit.fileinfo()
        # Of the unit as the file has it: `FileDigest` tells by them which of the bytes that pass are header and which
        # data.
        spans = (places["hdrLoc"], places["datLoc"], places["datLoc"] + places["datSpan"])
        sums = (unit.header.get("DATASUM"), unit.header.get("CHECKSUM"))
        header = unit.header.copy()
        # Some writers do not fill up the last block, of which no pixel is.
        _check_length(file, location, places["datLoc"] + unit.size, spans[2])
    if compressed:
        # Only now as the image that it stands for, whose NAXIS1 and NAXIS2 are not those of the table.
        with open_fits(location) as units:
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


def _check_length(file: IO[bytes], location: str, end: int, promised: int) -> None:
    # What gzip has packed has no length before it is read, and is told while it is.
    if is_unpacked(file):
        return
    # Asked of the file system, since a stream cannot tell that it ends early before it is read.
    size = stamp_file(location).size
    if size < end:
        raise SurveyFileError(
            f"{base_name(location)} is truncated: {size} bytes, and its header promises {promised}; fetch it again"
        )


def _is_compressed(unit: Any) -> bool:
    # The tiled image convention's own mark: EXTNAME is the writer's choice.
    return bool(unit.header.get("ZIMAGE", False))
