"""FITS files from any location: inspect a header, stream an image's rows, verify what was read."""

from photoz.survey.fits.checksums import STALE_REMEDY, FileDigest, fold_carries, parse_datasum, sum_words
from photoz.survey.fits.file import (
    BLOCK_BYTES,
    FITS_ERRORS,
    FileStamp,
    base_name,
    open_bytes,
    parse_fits,
    quiet_astropy,
    refuse_damaged,
    refuse_missing,
    stamp_file,
    unpack,
)
from photoz.survey.fits.image import ImageInfo, ImageKind, inspect_image
from photoz.survey.fits.rows import RowReader
from photoz.survey.fits.tables import holds_sources, is_table, name_unit, tell_alike

__all__ = [
    "BLOCK_BYTES",
    "FITS_ERRORS",
    "STALE_REMEDY",
    "FileDigest",
    "FileStamp",
    "ImageInfo",
    "ImageKind",
    "RowReader",
    "base_name",
    "fold_carries",
    "holds_sources",
    "inspect_image",
    "is_table",
    "name_unit",
    "open_bytes",
    "parse_datasum",
    "parse_fits",
    "quiet_astropy",
    "refuse_damaged",
    "refuse_missing",
    "stamp_file",
    "sum_words",
    "tell_alike",
    "unpack",
]
