"""The image part of a tile's ingest: its bands on one pixel grid, written to the tile store a stripe at a time."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import msgspec
import numpy as np

import photoz
from photoz.content import compute_key
from photoz.errors import SurveyFileError
from photoz.ingest.catalogue import name_catalogue
from photoz.ingest.outcome import PartOutcome
from photoz.ingest.staging import read_staged
from photoz.ingest.stripes import find_mask_bit, read_mask, read_stripe
from photoz.storage import JsonObject
from photoz.survey.files import TileFiles
from photoz.survey.fits import FileStamp, ImageInfo, ImageKind, RowReader, base_name, inspect_image, stamp_file
from photoz.survey.settings import Survey
from photoz.survey.wcs import Grid, align_bands
from photoz.telemetry import timed
from photoz.tiles import TileTemplate, TileWriter, invalidate_tile, read_attributes
from photoz.tiles.settings import Tiles

Offsets = dict[str, float | None]
"""[mag] image band -> its zero-point offset; None where the catalogue's header has none."""


@dataclass(frozen=True)
class TileImages:
    """A tile's image files, inspected and not yet read, and the pixel grid that they share.

    Parameters
    ----------
    files : dict of str to dict of str to ImageInfo
        "image", "mask" and "weight" -> band -> file; the last two of the bands that have one.
    grid : Grid
        Where on the tile each band lies.
    """

    files: dict[str, dict[str, ImageInfo]]
    grid: Grid

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands, in the order of the stored image's first axis."""
        return tuple(self.files["image"])


@dataclass(frozen=True)
class _Key:
    """What the stored pixels depend on, as it comes back from the tile's attributes: files, calibration and layout.

    Parameters
    ----------
    sources : dict of str to dict of str to FileStamp
        "image", "mask" and "weight" -> band -> file.
    layout : Tiles
    zeropoint : float
        [mag(AB)]
    offset_sign : int
        With which the offsets are applied: 1, 0 or -1.
    offsets : dict of str to (float or None)
        [mag] empty without a sign: they do not touch the pixels then, and a catalogue that changes has no image read
        again.
    image_bands : list of str
    """

    sources: dict[str, dict[str, FileStamp]]
    layout: Tiles
    zeropoint: float
    offset_sign: int
    offsets: Offsets
    image_bands: list[str]

    def to_json(self) -> JsonObject:
        """Return the key as it stands in the tile's attributes."""
        plain: JsonObject = msgspec.to_builtins(self)
        return plain


@dataclass(frozen=True)
class _Stored:
    """What the stored pixels came from: their key, the calibration of each band, and the SHA-256 of each file."""

    key: _Key
    offsets: Offsets
    scales: dict[str, float]
    digests: dict[str, str]


def ingest_images(tile: TileFiles, survey: Survey, layout: Tiles, *, store: str, staged: str) -> PartOutcome:
    """Store a tile's images, unless they are there from the same files and settings.

    Parameters
    ----------
    tile : TileFiles
        From `photoz.survey.files.find_tiles`.
    survey : Survey
    layout : Tiles
        Of the stored tile.
    store : str
        Path or URL of the tile store.
    staged : str
        Where the tile's sources are staged: their record has the catalogue's zero-point offsets.

    Returns
    -------
    PartOutcome
        "done", with the bytes of the files read, or "skipped".

    Raises
    ------
    SurveyFileError
        A file is missing or damaged, or does not fit the settings or the others. What the store had of the tile is
        marked as unfinished then.
    """
    try:
        images = inspect_images(tile, survey)
        offsets = _find_offsets(tile, survey, staged)
        key = _make_key(images, offsets, survey, layout)
        # After the headers were read: a file that is missing or damaged now makes the stored tile one that fits
        # nothing.
        known = read_attributes(store, tile.name)
        if known.get("complete") is True and known.get("key") == key.to_json():
            return PartOutcome("skipped")
        weights = bool(images.files["weight"])
        # Marks the old tile as unfinished before a pixel is replaced.
        writer = TileWriter(store, TileTemplate(tile.name, images.bands, images.grid.shape, weights=weights), layout)
        scales = compute_flux_scales({band: offsets[band] for band in images.bands}, survey.zeropoint_offset_sign)
        digests = _store_stripes(images, scales, writer)
        # Last, after every checksum was compared: only now do readers see the tile.
        writer.finish(_describe_tile(tile, images, survey, _Stored(key, offsets, scales, digests)))
    except SurveyFileError:
        # Only where the files are to blame. Of any other error what an earlier run stored stays, if it was not begun to
        # be replaced.
        invalidate_tile(store, tile.name)
        raise
    # From the stamps, which were taken before: files are not asked for once more.
    sizes = (file.size for kind in key.sources.values() for file in kind.values())
    return PartOutcome("done", bytes_read=sum(sizes))


def inspect_images(tile: TileFiles, survey: Survey) -> TileImages:
    """Inspect every image, mask and weight of a tile, headers only.

    Raises
    ------
    SurveyFileError
        For the first that cannot be used, naming it.
    """
    for band in survey.image_bands:
        if band not in tile.images:
            name = base_name(survey.image_file.format(ra=tile.ra, dec=tile.dec, band=band))
            raise SurveyFileError(f"the image {name} is missing")
    images = {band: inspect_image(tile.images[band]) for band in survey.image_bands}
    # The first image band is the reference: in KiDS all coadds of a tile have one projection.
    grid = align_bands(images, pixel_scale=survey.pixel_scale)
    masks, weights = _inspect_beside(tile.masks, "mask", images), _inspect_beside(tile.weights, "weight", images)
    return TileImages({"image": images, "mask": masks, "weight": weights}, grid)


def _inspect_beside(files: Mapping[str, str], kind: ImageKind, images: Mapping[str, ImageInfo]) -> dict[str, ImageInfo]:
    """Inspect the masks or weights of the bands; they have the shape of their image, whose WCS they share."""
    infos = {band: inspect_image(location, kind) for band, location in files.items() if band in images}
    for band, info in infos.items():
        image = images[band]
        if info.shape != image.shape:
            raise SurveyFileError(
                f"{info.name} has {info.shape[0]} x {info.shape[1]} pixels and its image "
                f"{image.name} has {image.shape[0]} x {image.shape[1]}"
            )
    return infos


def compute_flux_scales(offsets: Offsets, sign: int) -> dict[str, float]:
    """Compute the factor of each band that turns m into m + sign * offset: 10 ** (-0.4 sign offset), in float32.

    Parameters
    ----------
    offsets : dict of str to (float or None)
        [mag]; None counts as 0.
    sign : int
        1, 0 or -1.

    Examples
    --------
    >>> compute_flux_scales({"g": 2.5, "r": None}, -1)
    {'g': 10.0, 'r': 1.0}
    """
    # Rounded to float32 here, so that the factor that is recorded is the one that the pixels were multiplied by.
    return {band: float(np.float32(10 ** (-0.4 * sign * (offset or 0.0)))) for band, offset in offsets.items()}


def _find_offsets(tile: TileFiles, survey: Survey, staged: str) -> Offsets:
    """Return each band's zero-point offset [mag] from the catalogue's header, where it is to be applied or recorded."""
    known = read_staged(staged)
    # A tile whose catalogue could not be had is stored without them, where they are recorded and not applied.
    offsets: Offsets = dict.fromkeys(survey.image_bands)
    if known is not None:
        offsets |= known.record.offsets
    lacking = [band for band in survey.image_bands if offsets[band] is None]
    if survey.zeropoint_offset_sign and lacking:
        raise SurveyFileError(
            f"{name_catalogue(tile, survey)} gives no zero-point offset {survey.zeropoint_offset} "
            f"of {lacking}: its images cannot be calibrated; survey.zeropoint_offset_sign=0 leaves them as they are"
        )
    return offsets


def _make_key(images: TileImages, offsets: Offsets, survey: Survey, layout: Tiles) -> _Key:
    return _Key(
        sources={
            kind: {band: stamp_file(info.location) for band, info in infos.items()}
            for kind, infos in images.files.items()
        },
        layout=layout,
        zeropoint=survey.zeropoint,
        offset_sign=survey.zeropoint_offset_sign,
        offsets=offsets if survey.zeropoint_offset_sign else {},
        image_bands=list(survey.image_bands),
    )


def _store_stripes(images: TileImages, scales: Mapping[str, float], writer: TileWriter) -> dict[str, str]:
    """Read all files once, front to back, and write the tile; returns the SHA-256 of each file, verified."""
    grid = images.grid
    factors = np.array([scales[band] for band in images.bands], np.float32)[:, None, None]
    # All files are open at once, as a stripe needs the same rows of each: 4 bands with masks and weights are 12.
    with ExitStack() as stack:
        readers = {
            kind: {band: stack.enter_context(RowReader(info)) for band, info in infos.items()}
            for kind, infos in images.files.items()
        }
        # One buffer for all stripes: allocating a third of a gigabyte for each costs more than filling it.
        buffer = np.empty((len(images.bands), min(writer.stripe, grid.shape[0]), grid.shape[1]), np.float32)
        for y0 in range(0, grid.shape[0], writer.stripe):
            # The last one is lower; a slice beyond the end is cut by NumPy.
            stripe = buffer[:, : grid.shape[0] - y0]
            with timed("read"):
                read_stripe(readers["image"], grid, y0, stripe)
                stripe *= factors
                mask = read_mask(readers["mask"], grid, y0, stripe.shape[1])
            with timed("write"):
                writer.write_rows(y0, {"image": stripe, "mask": mask})
            # Into the buffer of the image, which is written by now: another third of a gigabyte is spared.
            if readers["weight"]:
                with timed("read"):
                    read_stripe(readers["weight"], grid, y0, stripe)
                with timed("write"):
                    writer.write_rows(y0, {"weight": stripe})
        # After the last row: a plain file's checksums are known only when all of it has passed.
        return {
            f"{kind}/{band}": reader.finish() for kind, by_band in readers.items() for band, reader in by_band.items()
        }


def _describe_tile(tile: TileFiles, images: TileImages, survey: Survey, stored: _Stored) -> JsonObject:
    """Make the attributes of the stored tile; its checksum is of the files' contents and of what shaped the pixels."""
    bands, grid, key = images.bands, images.grid, stored.key.to_json()
    return {
        "name": tile.name,
        "survey": survey.name,
        # Of contents and not of names and times: a survey that was moved or fetched again has the same tiles, and
        # inference need not run anew.
        "checksum": compute_key([stored.digests, {name: key[name] for name in key if name != "sources"}]),
        "key": key,
        "sha256": stored.digests,
        "headers": {band: info.header for band, info in images.files["image"].items()},
        # Of the grid that holds all bands, whose CRPIX is that of no single file.
        "wcs": grid.wcs_header,
        "offsets_pixel": grid.offsets,
        "residuals_pixel": grid.residuals,
        "zero_points": dict.fromkeys(bands, survey.zeropoint),
        "zero_point_offsets": stored.offsets,
        "flux_scales": stored.scales,
        "mask_bits": {band: find_mask_bit(index) for index, band in enumerate(bands)},
        "missing_files": list(tile.missing),
        "photoz": photoz.__version__,
    }
