"""The image in a FITS file: found among others and inspected by its header alone."""

import re
from dataclasses import dataclass
from typing import IO, Any, Literal

from astropy.io import fits

from photoz.errors import SurveyFileError
from photoz.survey.fits.file import (
    base_name,
    is_unpacked,
    open_bytes,
    open_fits,
    refuse_damaged,
    stamp_file,
    use_fits,
)

ImageKind = Literal["image", "mask", "weight", "variance"]
_EXTENSION_NAMES = {
    "image": {"SCI", "SCIENCE", "IMAGE"},
    "mask": {"MSK", "MASK", "DQ", "FLAG", "FLAGS"},
    "weight": {"WGT", "WHT", "WEIGHT", "IVAR", "INVVAR"},
    "variance": {"VAR", "VARIANCE"},
    # Known so that none of them is taken for the image of a file whose image has no name.
    "something else": {
        "ERR", "ERROR", "SIGMA", "RMS", "STD", "NOISE", "EXP", "EXPTIME", "NEXP", "COVERAGE", "PSF", "MODEL", "SKY",
        "BKG", "BACKGROUND",
    },
}  # fmt: skip
"""EXTNAME of what DES, HSC, HST and SWarp write beside each other."""
_SETTINGS = {"image": "image_hdu", "mask": "mask_hdu", "weight": "weight_hdu", "variance": "weight_hdu"}


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
    primary : str
        The file's primary header, as ``header``; "" where the image stands there itself.
    """

    location: str
    header: str
    shape: tuple[int, int]
    hdu: int
    spans: tuple[int, int, int]
    datasum: str | None
    checksum: str | None
    compressed: bool
    primary: str = ""

    @property
    def name(self) -> str:
        """File name without its folder."""
        return base_name(self.location)

    def parse_header(self) -> fits.Header:
        """Return the header as astropy's object."""
        return fits.Header.fromstring(self.header, sep="\n")

    def parse_primary(self) -> fits.Header:
        """Return the file's primary header, if another than the image's, as astropy's object."""
        return fits.Header.fromstring(self.primary, sep="\n")


def inspect_image(location: str, kind: ImageKind = "image", hdu: str = "", *, whole: bool = True) -> ImageInfo:
    """Find the image in a FITS file and check that the file is as long as its header promises.

    Parameters
    ----------
    location : str
        Path or URL.
    kind : "image", "mask", "weight" or "variance"
        Which of several images is wanted: the first whose EXTNAME says that it is one (``SCI``, ``MSK``, ``WGT``, with
        a number behind it or without), or else the first without a name, or else the only one whose name does not say
        that it is another.
    hdu : str
        Its number or EXTNAME, where that is known; "": found by ``kind``.
    whole : bool
        Look whether the file is as long as it should be.

    Raises
    ------
    SurveyFileError
        The file is missing, is not FITS, holds no two-dimensional image, not the one that ``hdu`` names, several of
        which none is of this kind, or is truncated.
    """
    # As it lies in the file: the checksums and byte positions of a packed image are those of the table that holds it.
    with open_bytes(location) as file, use_fits(file, location, disable_image_compression=True) as units:
        number = _choose_unit(units, kind, hdu, base_name(location))
        unit = units[number]
        with refuse_damaged(f"{base_name(location)} has a header that makes no sense"):
            primary = units[0].header.tostring(sep="\n") if number else ""
        compressed = _is_compressed(unit)
        places = unit.fileinfo()
        # Of the unit as the file has it: `FileDigest` tells by them which of the bytes that pass are header and which
        # data.
        spans = (places["hdrLoc"], places["datLoc"], places["datLoc"] + places["datSpan"])
        sums = (unit.header.get("DATASUM"), unit.header.get("CHECKSUM"))
        header = unit.header.copy()
        # Some writers do not fill up the last block, of which no pixel is.
        if whole:
            _check_length(file, location, places["datLoc"] + unit.size, spans[2])
    if compressed:
        # Only now as the image that it stands for, whose NAXIS1 and NAXIS2 are not those of the table.
        with open_fits(location) as units:
            header = units[number].header.copy()
    # Cards that astropy cannot parse it gives back as they are, and refuses to write.
    with refuse_damaged(f"{base_name(location)} has a header that makes no sense"):
        # FITS gives the fastest axis first, NumPy last.
        shape = (int(header["NAXIS2"]), int(header["NAXIS1"]))
        return ImageInfo(location, header.tostring(sep="\n"), shape, number, spans, *sums, compressed, primary)


def _choose_unit(units: fits.HDUList, kind: ImageKind, hdu: str, name: str) -> int:
    """Return the index of the image that is called so, or else of the first of this kind."""
    names = {
        index: str(unit.header.get("EXTNAME", "")).strip().upper()
        for index, unit in enumerate(units)
        # A primary unit without data is an image of no axes, and stands before every extension.
        if _is_compressed(unit) or (unit.is_image and unit.header.get("NAXIS", 0) == 2)
    }
    if not names:
        cubes = [str(index) for index, unit in enumerate(units) if unit.is_image and unit.header.get("NAXIS", 0) > 2]
        told = f" (extension {cubes[0]} has more axes: save one plane of it)" if cubes else ""
        raise SurveyFileError(f"{name} holds no two-dimensional image{told}: is it the right file?")
    if hdu:
        return _find_named(names, kind, hdu, name)
    # The only image there is was named by the settings, whatever its extension is called.
    choice = _choose_among(names, kind) if len(names) > 1 else list(names)
    if not choice:
        raise SurveyFileError(
            f"{name} holds several images, in the extensions {list(names.values())}, of which none is the {kind}: set "
            f"survey.{_SETTINGS[kind]}, or name its extension {sorted(_EXTENSION_NAMES[kind])[0]} (EXTNAME)"
        )
    return choice[0]


def _choose_among(names: dict[int, str], kind: ImageKind) -> list[int]:
    """Return the images that may be of a kind, the likeliest first; none where several may be and nothing tells."""
    # Of several chips or exposures the number follows: SCI_1, MASK-2.
    plain = {index: re.sub(r"[\s_.,-]*\d+$", "", extension) for index, extension in names.items()}
    others = set().union(*(_EXTENSION_NAMES[other] for other in _EXTENSION_NAMES if other != kind))
    named = [index for index, extension in plain.items() if extension in _EXTENSION_NAMES[kind]]
    # What astropy calls a packed image whose name it was not given.
    nameless = [index for index, extension in plain.items() if extension in ("", "COMPRESSED_IMAGE")]
    odd = [index for index, extension in plain.items() if extension not in others and index not in nameless]
    # Two of which neither name is known may be image and background, in either order.
    return [*named, *nameless] or (odd if len(odd) == 1 else [])


def _find_named(names: dict[int, str], kind: ImageKind, hdu: str, name: str) -> int:
    found = [index for index, extension in names.items() if hdu.strip().upper() in (str(index), extension)]
    if not found:
        held = ", ".join(f"{index} ({extension or 'no name'})" for index, extension in names.items())
        raise SurveyFileError(f"{name} has no image {hdu!r}, which survey.{_SETTINGS[kind]} asks for, but {held}")
    return found[0]


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
