"""The image part of a tile's ingest: its bands on one pixel grid, written to the tile store a stripe at a time."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import msgspec
import numpy as np

import photoz
from photoz.content import compute_key
from photoz.errors import SurveyFileError
from photoz.ingest.bands import TileImages, inspect_images, open_files
from photoz.ingest.calibration import compute_unit_factor, convert_weights, find_bad_bits, read_zeropoint
from photoz.ingest.catalogue import name_catalogue
from photoz.ingest.outcome import PartOutcome
from photoz.ingest.staging import read_staged
from photoz.ingest.stripes import find_mask_bit, read_mask, read_stripe
from photoz.photometry import AB_ZEROPOINT
from photoz.storage import JsonObject
from photoz.survey.files import TileFiles
from photoz.survey.fits import FileStamp, stamp_file
from photoz.survey.settings import Survey
from photoz.telemetry import timed
from photoz.tiles import TileTemplate, TileWriter, invalidate_tile, read_attributes
from photoz.tiles.settings import Tiles

Offsets = dict[str, float | None]
"""[mag] image band -> its zero-point offset; None where the catalogue's header has none."""


def _to_json(survey: Survey) -> JsonObject:
    # As it comes back from the tile's attributes, where tuples have become lists.
    plain: JsonObject = msgspec.json.decode(msgspec.json.encode(survey))
    return plain


_MEANING: JsonObject = {
    name: value
    for name, value in _to_json(Survey()).items()
    if name.endswith("_hdu")
    or name in ("zeropoint_key", "zeropoint_kind", "stored_unit", "mask_planes", "mask_bits", "weight_kind")
    or name == "pixel_scales"
}
"""Settings of ``survey`` that say what the pixels mean, and their defaults; of another value the tile is another."""


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
    weights_scaled : bool
        Whether there are weights, and they are scaled with the fluxes.
    meaning : dict
        Of the settings ``_MEANING``, those that are not the defaults.
    """

    sources: dict[str, dict[str, FileStamp]]
    layout: Tiles
    zeropoint: float
    offset_sign: int
    offsets: Offsets
    image_bands: list[str]
    weights_scaled: bool = False
    meaning: JsonObject = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """Return the key as it stands in the tile's attributes."""
        plain: JsonObject = msgspec.to_builtins(self)
        # Left out where they say nothing: tiles without weights, and whose pixels are taken as they are, stay what they
        # were before these came.
        return {name: plain[name] for name in plain if name not in ("weights_scaled", "meaning") or plain[name]}


@dataclass(frozen=True)
class _Meaning:
    """What a tile's pixels mean, by band: [mag(AB)] zero points of the files, what their pixels are multiplied by, and
    the bits of the masks that count, None for any.
    """

    zeropoints: dict[str, float]
    scales: dict[str, float]
    bad_bits: dict[str, int | None]
    parts: dict[str, float]
    """Image of a band of several -> what brings its pixels to the unit of the band's first."""


@dataclass(frozen=True)
class _Stored:
    """What the stored pixels came from: their key, the calibration of each band, and the SHA-256 of each file."""

    key: _Key
    offsets: Offsets
    meaning: _Meaning
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
        meaning = _read_meaning(images, offsets, survey)
        weights = bool(images.files["weight"])
        # Marks the old tile as unfinished before a pixel is replaced.
        writer = TileWriter(store, TileTemplate(tile.name, images.bands, images.grid.shape, weights=weights), layout)
        digests = _store_stripes(images, meaning, writer, survey)
        # Last, after every checksum was compared: only now do readers see the tile.
        writer.finish(_describe_tile(tile, images, survey, _Stored(key, offsets, meaning, digests)))
    except SurveyFileError:
        # Only where the files are to blame. Of any other error what an earlier run stored stays, if it was not begun to
        # be replaced.
        invalidate_tile(store, tile.name)
        raise
    # From the stamps, which were taken before: files are not asked for once more.
    sizes = (file.size for kind in key.sources.values() for file in kind.values())
    return PartOutcome("done", bytes_read=sum(sizes))


def compute_flux_scales(offsets: Offsets, sign: int, units: Mapping[str, float] | None = None) -> dict[str, float]:
    """Compute the factor of each band that turns m into m + sign * offset: 10 ** (-0.4 sign offset), in float32.

    Parameters
    ----------
    offsets : dict of str to (float or None)
        [mag]; None counts as 0.
    sign : int
        1, 0 or -1.
    units : mapping of str to float, optional
        Band -> a further factor, which brings its pixels to another unit.

    Examples
    --------
    >>> compute_flux_scales({"g": 2.5, "r": None}, -1)
    {'g': 10.0, 'r': 1.0}
    """
    # Rounded to float32 here, so that the factor that is recorded is the one that the pixels were multiplied by.
    units = units or {}
    return {
        band: float(np.float32(10 ** (-0.4 * sign * (offset or 0.0)) * units.get(band, 1.0)))
        for band, offset in offsets.items()
    }


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
        weights_scaled=bool(survey.zeropoint_offset_sign and images.files["weight"]),
        meaning=_describe_meaning(survey),
    )


def _describe_meaning(survey: Survey) -> JsonObject:
    meaning = {name: value for name, value in _to_json(survey).items() if name in _MEANING and value != _MEANING[name]}
    others = {
        band: {name: value for name, value in other.list_given().items() if not name.endswith("_file")}
        for other in survey.other_images
        for band in other.bands
        if band in survey.image_bands
    }
    # As it comes back from JSON, where tuples have become lists.
    plain: JsonObject = msgspec.json.decode(
        msgspec.json.encode({band: given for band, given in others.items() if given})
    )
    # Units are read as astropy reads them since 2: before, MJy/sr was taken for mJy.
    read = {"units": 2} if survey.zeropoint_kind == "unit" else {}
    return {**meaning, **read, **({"other_images": plain} if plain else {})}


def _read_meaning(images: TileImages, offsets: Offsets, survey: Survey) -> _Meaning:
    # Of a band without an image, what it would have.
    infos, masks = images.files["image"], images.files["mask"]
    told = {part: read_zeropoint(info, survey.of_band(images.find_band(part))) for part, info in infos.items()}
    zeropoints = {band: told.get(band, survey.of_band(band).zeropoint) for band in images.bands}
    units = {band: compute_unit_factor(zeropoint, survey) for band, zeropoint in zeropoints.items()}
    return _Meaning(
        zeropoints=zeropoints,
        scales=compute_flux_scales({band: offsets[band] for band in images.bands}, survey.zeropoint_offset_sign, units),
        bad_bits={
            part: find_bad_bits(info, band, survey.of_band(band))
            for part, info in masks.items()
            for band in [images.find_band(part)]
        },
        parts={part: 10 ** (0.4 * (zeropoints[images.find_band(part)] - value)) for part, value in told.items()},
    )


def _store_stripes(images: TileImages, meaning: _Meaning, writer: TileWriter, survey: Survey) -> dict[str, str]:
    """Read all files once, front to back, and write the tile; returns the SHA-256 of each file, verified."""
    bands, (height, width) = images.bands, images.grid.shape
    factors = np.array([meaning.scales[band] for band in bands], np.float32)[:, None, None]
    # All files are open at once, as a stripe needs the same rows of each: 4 bands with masks and weights are 12.
    with ExitStack() as stack:
        rows = open_files(images, meaning.bad_bits, stack, survey, factors=meaning.parts)
        # One buffer for all stripes: allocating a third of a gigabyte for each costs more than filling it.
        buffer = np.empty((len(bands), min(writer.stripe, height), width), np.float32)
        for y0 in range(0, height, writer.stripe):
            # The last one is lower; a slice beyond the end is cut by NumPy.
            stripe = buffer[:, : height - y0]
            with timed("read"):
                read_stripe(rows["image"], bands, y0, stripe)
                with np.errstate(over="ignore", invalid="ignore"):  # of bytes that are no number of the format
                    stripe *= factors
                mask = read_mask(rows["mask"], bands, y0, (stripe.shape[1], width))
            with timed("write"):
                writer.write_rows(y0, {"image": stripe, "mask": mask})
            # Into the buffer of the image, which is written by now: another third of a gigabyte is spared.
            if rows["weight"]:
                with timed("read"):
                    read_stripe(rows["weight"], bands, y0, stripe)
                    for index, band in enumerate(bands):
                        convert_weights(stripe[index : index + 1], factors[index : index + 1], survey.of_band(band))
                with timed("write"):
                    writer.write_rows(y0, {"weight": stripe})
        # After the last row: a plain file's checksums are known only when all of it has passed.
        return {f"{kind}/{band}": each.finish() for kind, by_band in rows.items() for band, each in by_band.items()}


def _measure_cover(images: TileImages) -> dict[str, float]:
    cover: dict[str, float] = {}
    for band in images.bands:
        samples = [
            images.warps[part].sample_cover(images.grid.shape)
            for part in images.parts.get(band, (band,))
            if part in images.warps
        ]
        if samples or band not in images.files["image"]:
            cover[band] = round(float(np.any(samples, axis=0).mean()), 3)
    return cover


def _describe_tile(tile: TileFiles, images: TileImages, survey: Survey, stored: _Stored) -> JsonObject:
    """Make the attributes of the stored tile; its checksum is of the files' contents and of what shaped the pixels."""
    bands, grid, key = images.bands, images.grid, stored.key.to_json()
    in_njy = survey.stored_unit == "nJy"
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
        # Of bands on pixels of their own: the share of the tile that they cover; of one that the tile lacks, 0.
        **({"cover": cover} if (cover := _measure_cover(images)) else {}),
        "zero_points": dict.fromkeys(bands, AB_ZEROPOINT) if in_njy else stored.meaning.zeropoints,
        **({"file_zero_points": stored.meaning.zeropoints} if in_njy else {}),
        "zero_point_offsets": stored.offsets,
        "flux_scales": stored.meaning.scales,
        "mask_bits": {band: find_mask_bit(index) for index, band in enumerate(bands)},
        "missing_files": list(tile.missing),
        "photoz": photoz.__version__,
    }
