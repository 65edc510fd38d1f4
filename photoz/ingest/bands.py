"""The files of a tile's bands: inspected, put on one pixel grid, and opened."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Literal

from photoz.errors import ConfigError, SurveyFileError
from photoz.ingest.calibration import find_masked
from photoz.ingest.footprints import Footprint, may_overlap
from photoz.ingest.resample import MergedRows, ResampledRows
from photoz.ingest.stripes import BandRows, ShiftedRows
from photoz.survey.files import TileFiles, fill_hdu, fill_name
from photoz.survey.fits import ImageInfo, RowReader, base_name, inspect_image
from photoz.survey.settings import Survey
from photoz.survey.warp import Warp, make_warp
from photoz.survey.wcs import Grid, align_bands, read_wcs

_METHODS: dict[str, Literal["spline", "linear", "any"]] = {"image": "spline", "mask": "any", "weight": "linear"}
"""How files of a kind are resampled."""


@dataclass(frozen=True)
class TileImages:
    """A tile's image files, inspected and not yet read, and the pixel grid that they share.

    Parameters
    ----------
    files : dict of str to dict of str to ImageInfo
        "image", "mask" and "weight" -> band -> file; the last two of the bands that have one.
    bands : tuple of str
        In the order of the stored image's first axis; those of ``survey.optional_bands`` may have no image.
    grid : Grid
        Where on the tile each band lies that has its pixels.
    warps : dict of str to Warp
        Where the tile's pixels lie on the images of the other bands.
    parts : dict of str to tuple of str
        Band -> the names in ``files`` and ``warps`` of the images that are merged to it: its own, then "Z 2", "Z 3".
        Bands of one image are left out.
    """

    files: dict[str, dict[str, ImageInfo]]
    bands: tuple[str, ...]
    grid: Grid
    warps: dict[str, Warp]
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def find_band(self, part: str) -> str:
        """Return the band that an image of ``files`` is of."""
        return next((band for band, parts in self.parts.items() if part in parts), part)


def inspect_images(tile: TileFiles, survey: Survey) -> TileImages:
    """Inspect every image, mask and weight of a tile, headers only.

    Raises
    ------
    SurveyFileError
        For the first that cannot be used, naming it.
    """
    for first, second in tile.doubled:
        raise SurveyFileError(
            f"{first} and {second} are the same image of one band of the tile {tile.name}: take one of them away, or "
            "write survey.image_file, weight_file and mask_file so that only one fits"
        )
    for band in survey.image_bands:
        if band not in tile.images and band not in survey.optional_bands:
            name = base_name(fill_name(survey.of_band(band).image_file, survey, tile.places, band))
            raise SurveyFileError(f"the image {name} is missing")
    images = {
        band: inspect_image(tile.images[band], hdu=fill_hdu(survey, "image", band))
        for band in survey.image_bands
        if band in tile.images and band not in tile.candidates
    }
    grid, warps = _place_bands(images, survey, tile.name)
    masks = _inspect_beside(tile.masks, "mask", survey, images)
    weights = _inspect_beside(tile.weights, "weight", survey, images)
    found = TileImages({"image": images, "mask": masks, "weight": weights}, survey.image_bands, grid, warps)
    for band in tile.candidates:
        _add_merged(found, tile, band, survey)
    return found


def _add_merged(images: TileImages, tile: TileFiles, band: str, survey: Survey) -> None:
    """Add the images of a band that lie on the tile, of those whose names do not tell it; and their masks."""
    own, locations = survey.of_band(band), tile.candidates[band]
    if tile.weights.get(band) or tile.masks.get(band, locations[-1]) not in locations:
        raise ConfigError(
            f"several images of band {band!r} are merged, since survey.image_file = {own.image_file!r} tells no tile: "
            'masks must stand in the same files, or survey.mask_file = "" there, and there are no weights of them '
            "(tiles.store_weights)"
        )
    parts: list[str] = []
    for info, warp in _find_overlapping(locations, band, images.grid, survey):
        # Of the first by the band's own name, so that whoever looks for one of the band finds it.
        part = f"{band} {len(parts) + 1}" if parts else band
        images.files["image"][part], images.warps[part] = info, warp
        if band in tile.masks:
            images.files["mask"] |= _inspect_beside({part: info.location}, "mask", survey, {part: info}, band=band)
        parts.append(part)
    if not parts and band not in survey.optional_bands:
        raise SurveyFileError(
            f"none of the {len(locations)} images of band {band!r} lies on the tile {tile.name}: name the band in "
            "survey.optional_bands to have it stored without"
        )
    images.parts[band] = tuple(parts)


def _find_overlapping(
    locations: Sequence[str], band: str, grid: Grid, survey: Survey
) -> Iterator[tuple[ImageInfo, Warp]]:
    tile, hdu = Footprint("", grid.wcs_header, grid.shape), fill_hdu(survey, "image", band)
    scale, setting = survey.pixel_scales[band], f"survey.pixel_scales.{band}"
    for location in locations:
        if not may_overlap(tile, _read_footprint(location, hdu, scale, setting)):
            continue
        info = inspect_image(location, hdu=hdu)
        warp = make_warp(info, grid, pixel_scale=scale, setting=setting)
        if warp.sample_cover(grid.shape).any():
            yield info, warp


@lru_cache(maxsize=8192)
def _read_footprint(location: str, hdu: str, scale: float, setting: str) -> Footprint:
    # Once a process: each of a thousand tiles asks for that of each of a thousand images. One that was cut short costs
    # the tiles on which it lies, and no other.
    info = inspect_image(location, hdu=hdu, whole=False)
    header = read_wcs(info, pixel_scale=scale, setting=setting).to_header(relax=True)
    return Footprint(info.name, header.tostring(sep="\n"), info.shape)


def _place_bands(images: Mapping[str, ImageInfo], survey: Survey, tile: str) -> tuple[Grid, dict[str, Warp]]:
    """Put the bands on one pixel grid: by whole-pixel shifts, or by where the grid lies on a band's own pixels."""
    shifted = {band: info for band, info in images.items() if band not in survey.pixel_scales}
    if not shifted:
        raise SurveyFileError(
            f"the tile {tile} has images of {list(images)} alone, whose pixels (survey.pixel_scales) are not the "
            "tile's: it needs one band that has them"
        )
    # The first image band is the reference: in KiDS all coadds of a tile have one projection.
    grid = align_bands(shifted, pixel_scale=survey.pixel_scale, tolerance=survey.band_tolerance)
    warps = {
        band: make_warp(
            images[band], grid, pixel_scale=survey.pixel_scales[band], setting=f"survey.pixel_scales.{band}"
        )
        for band in images
        if band not in shifted
    }
    return grid, warps


def _inspect_beside(
    files: Mapping[str, str],
    kind: Literal["mask", "weight"],
    survey: Survey,
    images: Mapping[str, ImageInfo],
    *,
    band: str = "",
) -> dict[str, ImageInfo]:
    """Inspect the masks or weights of the bands; they have the shape of their image, whose WCS they share.

    With ``band`` all of the files are of that one.
    """
    infos = {
        name: inspect_image(
            location,
            "mask" if kind == "mask" else survey.of_band(band or name).weight_kind,
            fill_hdu(survey, kind, band or name),
        )
        for name, location in files.items()
        if name in images
    }
    for name, info in infos.items():
        image = images[name]
        if info.shape != image.shape:
            raise SurveyFileError(
                f"{info.name} has {info.shape[0]} x {info.shape[1]} pixels and its image "
                f"{image.name} has {image.shape[0]} x {image.shape[1]}"
            )
    return infos


def open_files(
    images: TileImages,
    bad_bits: Mapping[str, int | None],
    stack: ExitStack,
    survey: Survey,
    *,
    factors: Mapping[str, float] | None = None,
) -> dict[str, dict[str, BandRows]]:
    """Open a tile's files, each put where its band lies.

    Parameters
    ----------
    images : TileImages
    bad_bits : mapping of str to (int or None)
        Image -> the bits of its mask that count, from `photoz.ingest.calibration.find_bad_bits`.
    stack : ExitStack
        Closes them.
    survey : Survey
        ``weight_kind``.
    factors : mapping of str to float, optional
        Image of a band of several -> what brings its pixels to the unit of the band's first.

    Returns
    -------
    dict of str to dict of str to BandRows
        "image", "mask" and "weight" -> band -> its rows.
    """
    columns = images.grid.shape[1]
    opened: dict[str, dict[str, BandRows]] = {kind: {} for kind in images.files}
    for kind, infos in images.files.items():
        resampled: dict[str, list[ResampledRows]] = {}
        for part, info in infos.items():
            find = partial(find_masked, bits=bad_bits[part]) if kind == "mask" else None
            reader, band = stack.enter_context(RowReader(info)), images.find_band(part)
            if part not in images.warps:
                opened[kind][band] = ShiftedRows(reader, images.grid.offsets[band], find)
                continue
            warp = images.warps[part]
            # A flux per pixel goes with the pixel's area, its variance with the square of it.
            power = {"image": 1, "mask": 0, "weight": 2 if survey.of_band(band).weight_kind == "variance" else -2}[kind]
            factor = warp.area**power * (factors or {}).get(part, 1.0)
            rows = ResampledRows(reader, warp, columns, method=_METHODS[kind], factor=factor, find=find)
            resampled.setdefault(band, []).append(rows)
        for band, parts in resampled.items():
            opened[kind][band] = parts[0] if len(parts) == 1 else MergedRows(parts, columns, masks=kind == "mask")
    return opened
