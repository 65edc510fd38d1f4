"""One tile from survey files to the tile store and the staged source rows: the unit of work of ingest."""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

import fsspec
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

import photoz
from photoz.errors import ConfigError, PhotozError, StorageFullError, SurveyFileError
from photoz.settings.config import Config
from photoz.storage import is_store_trouble, join, name_full_disk, open_atomic, remove
from photoz.survey.files import TileFiles
from photoz.survey.fits import FileStamp, ImageInfo, RowReader, base_name, inspect_image, stamp_file
from photoz.survey.sources import (
    compute_mean_extinction,
    list_catalogue_columns,
    make_sources,
    read_catalogue,
    read_zeropoint_offsets,
)
from photoz.survey.table import list_columns, read_table
from photoz.survey.wcs import Grid, align_bands
from photoz.telemetry import gather, timed
from photoz.tiles import TileTemplate, TileWriter, invalidate_tile, read_attributes

logger = logging.getLogger(__name__)

TILES_TO_CHECK = 5
"""Tiles that `check_survey` tries before it blames the settings and not a file."""
METADATA_KEY = b"photoz.ingest"
MASK_BITS = 8
"""Bits of the stored mask; bands from the eighth on share the last."""


def check_survey(config: Config, tiles: Sequence[TileFiles]) -> None:
    """Check the settings against the survey's first readable files, before any work is done.

    Parameters
    ----------
    config : Config
        Settings of the run.
    tiles : sequence of TileFiles
        From `photoz.survey.files.find_tiles`.

    Raises
    ------
    ConfigError
        More bands than the bit masks hold, or a band that no tile has an image of.
    SurveyFileError
        None of the first tiles has images that fit ``survey``, or none a catalogue with the columns asked for: the
        first tile's problem is told.
    """
    if len(config.survey.bands) > 31:
        raise ConfigError(f"survey.bands has {len(config.survey.bands)} bands, and the bit masks hold 31")
    for band in config.survey.image_bands:
        if not any(band in tile.images for tile in tiles):
            raise ConfigError(
                f"no tile has an image of band {band!r} of survey.image_bands: looked for names like "
                f"{config.survey.image_file!r}; correct the band or survey.image_file"
            )
    _check_any(tiles, lambda tile: _inspect_images(config, tile))
    _check_any(tiles, lambda tile: _check_columns(config, tile))
    _read_bright_ids(config)


def ingest_tile(config: Config, tile_files: TileFiles, *, give_up: bool = False) -> dict[str, Any]:
    """Store a tile's images and stage its selected sources; a bad file is reported, never raised.

    Parameters
    ----------
    config : Config
        Settings of the run.
    tile_files : TileFiles
        From `photoz.survey.files.find_tiles`.
    give_up : bool
        Report whatever else goes wrong too, such as a store that does not answer, instead of raising it. What an
        earlier run made of the files then stays, since they may be what they were.

    Returns
    -------
    dict
        ``tile``; ``status``: "done", "skipped" (both parts were there, from the same files and settings), "failed" (one
        part or both) or "no room" (the disk is full); ``sources``: rows staged; ``rejected``:
        rows selected and left out, since they have no position; ``bytes``: read from image files; ``problem``: "" or
        what is wrong, naming the file; ``images``, ``catalogue``: the status of each part; ``tile_s``, ``catalogue_s``,
        ``images_s`` and, of the images, ``read_s`` and ``write_s``: seconds.
    """
    with gather() as sums, timed("tile"):
        result = _ingest_parts(config, tile_files, give_up=give_up)
    return result | sums


def _ingest_parts(config: Config, tile_files: TileFiles, *, give_up: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"tile": tile_files.name, "sources": 0, "rejected": 0, "bytes": 0}
    problems = []
    staging = staged_location(config, tile_files.name)
    parts = (("catalogue", _ingest_catalogue, staging), ("images", _ingest_images, config.locations.tiles))
    for part, task, location in parts:
        try:
            with name_full_disk(location), timed(part):
                result |= {part: "done"} | task(config, tile_files)
        except Exception as error:
            told = isinstance(error, PhotozError)
            if not told and not give_up:
                raise
            result[part] = "no room" if isinstance(error, StorageFullError) else "failed"
            problems.append(str(error) if told else f"{part}: {type(error).__name__}: {error}")
            logger.warning("%s: %s", tile_files.name, problems[-1])
            if result[part] == "no room":  # what the other part finds missing then would be no fault of the survey's
                break
    found = {result.get("catalogue"), result.get("images")}
    status = next(each for each in ("no room", "failed", "done", "skipped") if each in found)
    return result | {"status": status, "problem": "; ".join(problems)}


def staging_location(config: Config) -> str:
    """Return the folder in which the tiles' selected sources are staged until they are partitioned."""
    return f"{config.locations.sources.rstrip('/')}_staging"


def staged_location(config: Config, name: str) -> str:
    """Return where a tile's selected sources are staged, as Parquet."""
    return join(staging_location(config), f"{name}.parquet")


def read_extinction(config: Config, name: str) -> float | None:
    """Read the mean extinction of a tile's sources [mag] that ingest recorded; None where it did not."""
    staged = _read_staged(staged_location(config, name))
    return None if staged is None else staged[0].get("extinction")


# The catalogue part ------------------------------------------------------------------------------------------------


def _ingest_catalogue(config: Config, tile: TileFiles) -> dict[str, Any]:
    location = staged_location(config, tile.name)
    try:
        if not tile.catalogue:
            raise SurveyFileError(f"the catalogue {_expected_catalogue(config, tile)} is missing")
        key = _catalogue_key(config, tile)
        staged = _read_staged(location)
        # A record that does not tell the rejected rows is of a version that staged them as if they had a position.
        if staged is not None and staged[0].get("key") == key and "rejected" in staged[0]:
            return {"catalogue": "skipped", "sources": staged[1], "rejected": staged[0]["rejected"]}
        table, record = _read_sources(config, tile)
    except SurveyFileError:
        remove(location)
        raise
    _write_staged(table, location, {"key": key, **record})
    return {"sources": table.num_rows, "rejected": record["rejected"]}


def _read_sources(config: Config, tile: TileFiles) -> tuple[pa.Table, dict[str, Any]]:
    """Read a tile's selected rows, and what is recorded of them."""
    catalogue = read_catalogue(config, tile.catalogue)
    offsets = read_zeropoint_offsets(config, catalogue)
    table, rejected = make_sources(config, tile.name, catalogue, _read_bright_ids(config))
    if len(rejected):
        names = config.survey.columns
        first = [catalogue.columns[name][rejected[0]] for name in (names.object_id, names.ra, names.dec)]
        problem = "%s: %d selected rows have no position and are left out, the first %s with %s deg, %s deg; if they "
        remedy = "are not a few, correct survey.columns.ra = %r and survey.columns.dec = %r"
        logger.warning(problem + remedy, tile.name, len(rejected), *first, names.ra, names.dec)
    record = {
        "sha256": catalogue.sha256,
        "rows": len(catalogue),
        "rejected": len(rejected),
        "offsets": offsets,
        "extinction": compute_mean_extinction(config, catalogue),
        "photoz": photoz.__version__,
    }
    return table, record


def _catalogue_key(config: Config, tile: TileFiles) -> dict[str, Any]:
    """What the staged rows depend on: the file and the settings."""
    survey = msgspec.to_builtins(config.survey)
    kept = (
        "bands",
        "image_bands",
        "columns",
        "not_detected",
        "not_observed",
        "magnitudes_dereddened",
        "mag_auto_band",
        "mag_auto_dereddened",
        "mag_auto_offset_sign",
        "zeropoint_offset",
        "tile",
    )
    key = {
        "source": stamp_file(tile.catalogue).to_dict(),
        "survey": {name: survey[name] for name in kept},
        "selection": msgspec.to_builtins(config.selection),
    }
    if config.selection.bright_sample:
        key["bright_sample"] = stamp_file(_bright_location(config)).to_dict()
    plain: dict[str, Any] = json.loads(json.dumps(key))
    return plain


def _read_staged(location: str) -> tuple[dict[str, Any], int] | None:
    """Return the record of staged rows and their number, or None where there are none, or damaged ones."""
    try:
        with fsspec.open(location, "rb") as file:
            parquet = pq.ParquetFile(file)
            record = json.loads((parquet.schema_arrow.metadata or {}).get(METADATA_KEY, b"{}"))
            return record, parquet.metadata.num_rows
    except (OSError, ValueError) as error:
        if is_store_trouble(error):
            raise
        return None


def _write_staged(table: pa.Table, location: str, record: dict[str, Any]) -> None:
    """Write the rows so that half a file is never seen."""
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(record)})
    with open_atomic(location) as file:
        pq.write_table(table, file, compression="zstd")


def _bright_location(config: Config) -> str:
    return f"{config.locations.survey.rstrip('/')}/{config.selection.bright_sample}"


def _read_bright_ids(config: Config) -> frozenset[str] | None:
    if not config.selection.bright_sample:
        return None
    location = _bright_location(config)
    return _load_ids(location, config.survey.columns.object_id, stamp_file(location))


@lru_cache(maxsize=1)
def _load_ids(location: str, column: str, _stamp: FileStamp) -> frozenset[str]:
    # 1.2 million identifiers serve every tile that this process ingests.
    table = read_table(location, {column: "survey.columns.object_id, in selection.bright_sample"})
    return frozenset(str(identifier).strip() for identifier in table.columns[column])


def _expected_catalogue(config: Config, tile: TileFiles) -> str:
    return base_name(config.survey.catalogue_file.format(ra=tile.ra, dec=tile.dec))


def _check_columns(config: Config, tile: TileFiles) -> None:
    if not tile.catalogue:
        raise SurveyFileError(f"the catalogue {_expected_catalogue(config, tile)} is missing")
    present = set(list_columns(tile.catalogue))
    wanted = list_catalogue_columns(config)
    missing = [f"{column} ({setting})" for column, setting in wanted.items() if column not in present]
    if missing:
        raise SurveyFileError(
            f"{base_name(tile.catalogue)} lacks the column {', '.join(missing)}: "
            "correct the setting to the survey's column names"
        )


# The image part ----------------------------------------------------------------------------------------------------


def _ingest_images(config: Config, tile: TileFiles) -> dict[str, Any]:
    try:
        infos = _inspect_images(config, tile)
        grid = align_bands(infos["image"], pixel_scale=config.survey.pixel_scale)
        offsets = _find_offsets(config, tile)
        key = _image_key(config, infos, offsets)
        known = read_attributes(config.locations.tiles, tile.name)
        if known.get("complete") is True and known.get("key") == key:
            return {"images": "skipped"}
        size = _store_images(config, tile, (infos, grid, key))
    except SurveyFileError:
        invalidate_tile(config.locations.tiles, tile.name)
        raise
    return {"bytes": size}


def _inspect_images(config: Config, tile: TileFiles) -> dict[str, dict[str, ImageInfo]]:
    """Inspect every image, mask and weight of a tile; raises for the first that cannot be used, naming it."""
    survey, bands = config.survey, config.survey.image_bands
    for band in bands:
        if band not in tile.images:
            name = base_name(survey.image_file.format(ra=tile.ra, dec=tile.dec, band=band))
            raise SurveyFileError(f"the image {name} is missing")
    infos = {"image": {band: inspect_image(tile.images[band]) for band in bands}}
    align_bands(infos["image"], pixel_scale=survey.pixel_scale)
    for kind, files in (("mask", tile.masks), ("weight", tile.weights)):
        infos[kind] = {band: inspect_image(location) for band, location in files.items() if band in bands}
        for band, info in infos[kind].items():
            if info.shape != infos["image"][band].shape:
                raise SurveyFileError(
                    f"{info.name} has {info.shape[0]} x {info.shape[1]} pixels and its image "
                    f"{infos['image'][band].name} has {infos['image'][band].shape[0]} x {infos['image'][band].shape[1]}"
                )
    return infos


def _find_offsets(config: Config, tile: TileFiles) -> dict[str, float | None]:
    """Return each band's zero-point offset [mag] from the catalogue's header, where it is to be applied or recorded."""
    staged = _read_staged(staged_location(config, tile.name))
    offsets: dict[str, float | None] = dict.fromkeys(config.survey.image_bands)
    if staged is not None:
        offsets |= staged[0].get("offsets", {})
    lacking = [band for band in config.survey.image_bands if offsets[band] is None]
    if config.survey.zeropoint_offset_sign and lacking:
        raise SurveyFileError(
            f"{_expected_catalogue(config, tile)} gives no zero-point offset {config.survey.zeropoint_offset} "
            f"of {lacking}: its images cannot be calibrated; survey.zeropoint_offset_sign=0 leaves them as they are"
        )
    return offsets


def _image_key(
    config: Config, infos: dict[str, dict[str, ImageInfo]], offsets: dict[str, float | None]
) -> dict[str, Any]:
    """What the stored pixels depend on: the files, the calibration and the layout."""
    survey = config.survey
    return {
        "sources": {k: {b: stamp_file(info.location).to_dict() for b, info in v.items()} for k, v in infos.items()},
        "layout": msgspec.to_builtins(config.tiles),
        "zeropoint": survey.zeropoint,
        "offset_sign": survey.zeropoint_offset_sign,
        "offsets": offsets if survey.zeropoint_offset_sign else {},
        "image_bands": list(survey.image_bands),
    }


def _store_images(
    config: Config, tile: TileFiles, plan: tuple[dict[str, dict[str, ImageInfo]], Grid, dict[str, Any]]
) -> int:
    infos, grid, key = plan
    bands = config.survey.image_bands
    template = TileTemplate(tile.name, bands, grid.shape, weights=bool(infos["weight"]))
    writer = TileWriter(config.locations.tiles, template, config.tiles)
    scales = _flux_scales(config, key["offsets"])
    with ExitStack() as stack:
        readers = {(k, b): stack.enter_context(RowReader(info)) for k, v in infos.items() for b, info in v.items()}
        # One buffer for all stripes: allocating a third of a gigabyte for each costs more than filling it.
        buffer = np.empty((len(bands), min(writer.stripe, grid.shape[0]), grid.shape[1]), np.float32)
        for y0 in range(0, grid.shape[0], writer.stripe):
            stripe = buffer[:, : grid.shape[0] - y0]
            place = (grid, bands, y0, stripe.shape[1])
            with timed("read"):
                _read_stripe(readers, "image", place, stripe)
                stripe *= scales[:, None, None]
                mask = _read_mask(readers, place)
            with timed("write"):
                writer.write_rows(y0, {"image": stripe, "mask": mask})
            if template.weights:
                with timed("read"):
                    _read_stripe(readers, "weight", place, stripe)
                with timed("write"):
                    writer.write_rows(y0, {"weight": stripe})
        digests = {f"{kind}/{band}": reader.finish() for (kind, band), reader in readers.items()}
    writer.finish(_describe_tile(config, tile, (infos, grid, key), digests))
    return sum(stamp["size"] for kind in key["sources"].values() for stamp in kind.values())


Place = tuple[Grid, Sequence[str], int, int]
"""Grid, bands, first row and number of rows of a stripe."""


def _read_stripe(
    readers: dict[tuple[str, str], RowReader], kind: str, place: Place, stripe: npt.NDArray[np.float32]
) -> None:
    grid, bands, y0, rows = place
    stripe.fill(np.nan)
    for index, band in enumerate(bands):
        if (kind, band) in readers:
            target, values = _read_band(readers[kind, band], grid.offsets[band], y0, rows)
            stripe[index][target] = values


def _read_mask(readers: dict[tuple[str, str], RowReader], place: Place) -> npt.NDArray[np.uint8]:
    grid, bands, y0, rows = place
    mask = np.zeros((rows, grid.shape[1]), np.uint8)
    for index, band in enumerate(bands):
        if ("mask", band) in readers:
            target, values = _read_band(readers["mask", band], grid.offsets[band], y0, rows)
            mask[target] |= (values != 0).astype(np.uint8) << min(index, MASK_BITS - 1)
    return mask


def _read_band(
    reader: RowReader, offset: tuple[int, int], y0: int, rows: int
) -> tuple[tuple[slice, slice], npt.NDArray[Any]]:
    """Read a band's next rows that fall into the stripe; returns where in the stripe they belong, and them."""
    height, width = reader.info.shape
    first, last = min(max(y0, offset[0]), y0 + rows), max(min(y0 + rows, offset[0] + height), y0)
    values = reader.read_rows(max(last - first, 0))
    return (slice(first - y0, first - y0 + len(values)), slice(offset[1], offset[1] + width)), values


def _flux_scales(config: Config, offsets: dict[str, float | None]) -> npt.NDArray[np.float32]:
    """Return the factor of each band that turns m into m + sign * offset: 10 ** (-0.4 sign offset)."""
    sign = config.survey.zeropoint_offset_sign
    return np.array([10 ** (-0.4 * sign * (offsets.get(b) or 0.0)) for b in config.survey.image_bands], np.float32)


def _describe_tile(
    config: Config,
    tile: TileFiles,
    plan: tuple[dict[str, dict[str, ImageInfo]], Grid, dict[str, Any]],
    digests: dict[str, str],
) -> dict[str, Any]:
    infos, grid, key = plan
    offsets = _find_offsets(config, tile)
    content = json.dumps([digests, {name: key[name] for name in key if name != "sources"}], sort_keys=True)
    return {
        "name": tile.name,
        "survey": config.survey.name,
        "checksum": hashlib.sha256(content.encode()).hexdigest(),
        "key": key,
        "sha256": digests,
        "headers": {band: info.header for band, info in infos["image"].items()},
        "wcs": grid.wcs_header,
        "offsets_pixel": grid.offsets,
        "residuals_pixel": grid.residuals,
        "zero_points": dict.fromkeys(config.survey.image_bands, config.survey.zeropoint),
        "zero_point_offsets": offsets,
        "flux_scales": dict(zip(config.survey.image_bands, _flux_scales(config, key["offsets"]).tolist(), strict=True)),
        "mask_bits": {band: min(i, MASK_BITS - 1) for i, band in enumerate(config.survey.image_bands)},
        "missing_files": list(tile.missing),
        "photoz": photoz.__version__,
    }


def _check_any(tiles: Iterable[TileFiles], check: Any) -> None:
    """Run a check on the first few tiles until one passes; raise the first problem when none does."""
    problems: list[SurveyFileError] = []
    for tile in list(tiles)[:TILES_TO_CHECK]:
        try:
            check(tile)
            return
        except SurveyFileError as error:
            problems.append(error)
    if problems:
        raise problems[0]
