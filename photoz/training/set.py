"""The training set: sources matched with spectroscopic redshifts, with cutouts, one Parquet file a partition."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from photoz.catalogue.hats import MARGIN, Partition, locate_partition
from photoz.content import compute_key, hash_bytes
from photoz.errors import TileError, TrainingError
from photoz.estimators.base import Inputs
from photoz.inputs import CUTOUT, attach_cutouts, make_inputs, read_fluxes
from photoz.photometry import Floats
from photoz.schema import NO_IMAGE, Flag, make_training_schema, name_fluxes
from photoz.settings import config_to_dict
from photoz.sources import compute_sources_checksum, read_sources
from photoz.storage import compute_checksum, exists, join, list_folder, open_atomic, open_file
from photoz.tiles import open_tile
from photoz.training.crossmatch import SPLITS, assign_splits, match_sky, select_around_pixel
from photoz.training.settings import Crossmatch

logger = logging.getLogger(__name__)

FORMAT_VERSION = 2  # 1 held magnitudes
_KEY = b"photoz_key"
_COUNTS = b"photoz_counts"
_ROW_GROUP = 512  # rows: some 10 MB with cutouts, so that readers stream


@dataclass(frozen=True)
class Matching:
    """What the training set is made of: settings and locations that every part needs.

    Parameters
    ----------
    sources, tiles, training : str
        ``locations`` of those names.
    bands, image_bands : tuple of str
        Of the survey.
    crossmatch : Crossmatch
    margin_arcsec : float
        [arcsec] width of the margin around a partition of the source catalogue.
    cutout_size : int
        [pixel]
    seed : int
        Of the splits.
    partial_bands : tuple of str
        Image bands that may not cover a tile: a galaxy that lacks one of them is learnt from as it is.
    """

    sources: str
    tiles: str
    training: str
    bands: tuple[str, ...]
    image_bands: tuple[str, ...]
    crossmatch: Crossmatch
    margin_arcsec: float
    cutout_size: int
    seed: int
    partial_bands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """What became of one part of the training set.

    Parameters
    ----------
    name : str
        Of its partition.
    status : {"done", "skipped"}
        Skipped: it was there.
    rows : int
        Galaxies written.
    matched : int
        Sources with a redshift.
    without_image : int
        Matched, and left out because no cutout can be used.
    without_photometry : int
        Left out: nothing was detected in any band.
    """

    name: str
    status: Literal["done", "skipped"]
    rows: int
    matched: int
    without_image: int
    without_photometry: int


@dataclass(frozen=True, eq=False)
class MatchTask:
    """One partition of the source catalogue with the spectra around it.

    Parameters
    ----------
    partition : Partition
    spectra : pyarrow.Table
        ``ra``, ``dec`` [deg] and ``z_spec`` of the spectra in and near the partition.
    """

    partition: Partition
    spectra: pa.Table


def plan_matching(matching: Matching, partitions: Sequence[Partition], spectra: pa.Table) -> list[MatchTask]:
    """Give each partition the spectra around it, so that no task holds them all; partitions without are left out.

    Parameters
    ----------
    matching : Matching
        ``crossmatch.min_redshift`` and the margins are read. Spectra beyond ``max_redshift`` stay, as they are their
        sources' own: `match_partition` leaves those sources out.
    partitions : sequence of Partition
    spectra : pyarrow.Table
        ``ra``, ``dec`` [deg], ``z_spec``.
    """
    # Before the match: a star nearer to a source would else take it from its galaxy.
    spectra = spectra.filter(pc.greater_equal(spectra["z_spec"], matching.crossmatch.min_redshift))
    beyond = int((~_find_within(spectra["z_spec"].to_numpy(), matching.crossmatch)).sum())
    if beyond:
        limit = matching.crossmatch.max_redshift
        logger.info("%d of %d spectra lie beyond crossmatch.max_redshift = %g", beyond, len(spectra), limit)
    ra_M, dec_M = (spectra[name].to_numpy().astype(np.float64) for name in ("ra", "dec"))
    # Spectra near sources of the margin have to be there too, or those sources would compete for others.
    margin = matching.margin_arcsec + matching.crossmatch.radius_arcsec
    tasks = []
    for partition in partitions:
        near = select_around_pixel(ra_M, dec_M, order=partition.order, pixel=partition.pixel, margin_arcsec=margin)
        if len(near):
            tasks.append(MatchTask(partition, spectra.take(near)))
    return tasks


def set_location(training: str) -> str:
    """Return the folder of the training set's Parquet files, within ``locations.training``."""
    return join(training, "set")


def locate_part(training: str, partition: Partition) -> str:
    """Return the Parquet file of one partition of the training set within ``locations.training``."""
    return join(set_location(training), f"part-{partition.order}-{partition.pixel}.parquet")


def write_part(matching: Matching, task: MatchTask) -> Part:
    """Match one partition, cut its cutouts and write its part of the training set, unless that is there already."""
    # The file is its own record: there is no list of finished parts that could differ from what lies there.
    location, key = locate_part(matching.training, task.partition), _compute_key(matching, task)
    name = task.partition.name
    # A part is made again where its key differs, so that a job that was cut off goes on where it was.
    if (counts := _read_counts(location, key)) is not None:
        return Part(name, "skipped", **counts)
    matched = match_partition(matching, task)
    table = _cut(matching, matched)
    # A galaxy without an image is left out: to do without one is learnt from images that are dropped
    # (`training.dropped`).
    inputs = make_inputs(table, matching.bands)
    has_image, detected = _find_imaged(inputs, matching), inputs.detected_N
    table = table.filter(pa.array(has_image & detected))
    counts = {
        "rows": len(table),
        "matched": len(matched),
        "without_image": int((~has_image).sum()),
        "without_photometry": int((~detected).sum()),
    }
    # Key and counts lie within the file, so that a crash cannot leave the one without the other.
    _write(location, table.replace_schema_metadata({_KEY: key.encode(), _COUNTS: msgspec.json.encode(counts)}))
    return Part(name, "done", **counts)


def _find_imaged(inputs: Inputs, matching: Matching) -> npt.NDArray[np.bool_]:
    """Tell which galaxies have an image in all bands but those that may not cover a tile; shape (N,)."""
    if not matching.partial_bands or inputs.cutouts_NBYX is None:
        return np.asarray((inputs.flags_N & int(NO_IMAGE)) == 0)
    due_B = np.array([band not in matching.partial_bands for band in matching.image_bands])
    seen_NB = np.asarray(np.isfinite(inputs.cutouts_NBYX).any(axis=(2, 3)))
    there_N = (inputs.flags_N & int(NO_IMAGE & ~Flag.EMPTY_CUTOUT)) == 0
    return np.asarray(there_N & seen_NB[:, due_B].all(axis=1))


def match_partition(matching: Matching, task: MatchTask) -> pa.Table:
    """Match the sources of a partition with spectra: their rows with ``z_spec`` and ``split``, without cutouts.

    Sources of the margin around the partition compete for the spectra too, so that a spectrum near an edge goes to its
    nearest source, whichever partition that is in, and is used once. Of the matches those beyond
    ``crossmatch.max_redshift`` are left out: without them their sources would get a neighbour's redshift.
    """
    # Own sources first: what is an index below their number is inside, the rest is margin.
    own = read_sources(matching.sources, task.partition)
    sources = pa.concat_tables([own.select(["ra", "dec"]), _read_margin(matching.sources, task.partition)])
    source_K, spectrum_K, _ = match_sky(
        (sources["ra"].to_numpy(), sources["dec"].to_numpy()),
        (task.spectra["ra"].to_numpy(), task.spectra["dec"].to_numpy()),
        radius_arcsec=matching.crossmatch.radius_arcsec,
    )
    z_K = task.spectra["z_spec"].to_numpy()[spectrum_K]
    inside = (source_K < len(own)) & _find_within(z_K, matching.crossmatch)
    matched = own.take(pa.array(source_K[inside]))
    z_spec = pc.cast(task.spectra["z_spec"].take(pa.array(spectrum_K[inside])), pa.float32())
    fractions = matching.crossmatch.fractions
    splits = assign_splits(matched["object_id"].to_pylist(), seed=matching.seed, fractions=fractions)
    schema = make_training_schema(matching.bands, None)
    columns = {"z_spec": z_spec, "split": pa.array(splits, pa.string())}
    # Built by the schema, which fixes the columns' order, types and units for every part alike.
    return pa.table([columns[n] if n in columns else matched[n] for n in schema.names], schema=schema)


def _find_within(z_N: npt.NDArray[np.float64], crossmatch: Crossmatch) -> npt.NDArray[np.bool_]:
    limit = np.inf if crossmatch.max_redshift is None else crossmatch.max_redshift
    within_N: npt.NDArray[np.bool_] = z_N <= limit
    return within_N


def _read_margin(sources: str, partition: Partition) -> pa.Table:
    location = locate_partition(join(sources, MARGIN), partition)
    # There is no file where no source of another partition lies within the margin.
    if not exists(location):
        return pa.table({"ra": pa.array([], pa.float64()), "dec": pa.array([], pa.float64())})
    with open_file(location) as file:
        return pq.read_table(file, columns=["ra", "dec"])


def _cut(matching: Matching, matched: pa.Table) -> pa.Table:
    size, image_bands = matching.cutout_size, matching.image_bands
    table = attach_cutouts(matched, matching.tiles, image_bands=image_bands, cutout_size=size).table
    return table.cast(make_training_schema(matching.bands, (len(image_bands), size, size)))


def _write(location: str, table: pa.Table) -> None:
    # Under its own name only when it is whole: a crash leaves no half of a part that later runs would read.
    with open_atomic(location) as file:
        pq.write_table(table, file, compression="zstd", row_group_size=_ROW_GROUP)


def _read_counts(location: str, key: str) -> dict[str, int] | None:
    """Return what a finished part recorded; None when it is not there or was made from something else."""
    if not exists(location):
        return None
    with open_file(location) as file:
        # The footer alone is read: cutouts are 21 kB a galaxy.
        metadata = pq.read_schema(file).metadata or {}
    if metadata.get(_KEY) != key.encode():
        return None
    return msgspec.json.decode(metadata[_COUNTS], type=dict[str, int])


def _compute_key(matching: Matching, task: MatchTask) -> str:
    """Hash everything a part depends on: settings, source partition, spectra, the tiles' contents."""
    # Cutouts come from the tiles' pixels, so that a tile ingested anew must make its parts anew.
    tiles = read_sources(matching.sources, task.partition, columns=["tile"])["tile"].unique().to_pylist()
    # Sources of the margin compete for the spectra: one that came or went there may have taken one from a source here.
    margin = locate_partition(join(matching.sources, MARGIN), task.partition)
    # The spectra near this partition alone: a new one elsewhere makes no other part anew.
    spectra = {name: np.ascontiguousarray(task.spectra[name].to_numpy()) for name in ("ra", "dec", "z_spec")}
    return compute_key(
        {
            "format": FORMAT_VERSION,
            "cutout_size": matching.cutout_size,
            "seed": matching.seed,
            # Without what is not set: sets that were made before there was such a setting stay what they are.
            "crossmatch": {
                name: value for name, value in config_to_dict(matching.crossmatch).items() if value is not None
            },
            "bands": matching.bands,
            "image_bands": matching.image_bands,
            **({"partial_bands": matching.partial_bands} if matching.partial_bands else {}),
            "sources": compute_sources_checksum(matching.sources, task.partition),
            **({"margin": compute_checksum(margin)} if exists(margin) else {}),
            "tiles": {name: _tile_checksum(matching.tiles, name) for name in tiles},
            "spectra": {name: hash_bytes([values.tobytes()]) for name, values in spectra.items()},
        }
    )


def _tile_checksum(tiles: str, name: str) -> str:
    try:
        return open_tile(tiles, name).checksum
    except TileError:
        # A tile that cannot be read is no error here: its galaxies get the flag, and the part another key once it can
        # be read.
        return "none"


def list_parts(training: str) -> list[str]:
    """List the files of the training set within ``locations.training``.

    Raises
    ------
    TrainingError
        There is none.
    """
    parts = list_folder(set_location(training), "part-*.parquet")
    if not parts:
        raise TrainingError(f"no training set at {set_location(training)!r}: run jobs/train_dr4.py, which makes it")
    return parts


def compute_set_hash(training: str) -> str:
    """Hash the whole training set from the keys its parts record."""
    keys = []
    for part in list_parts(training):
        with open_file(part) as file:
            keys.append((pq.read_schema(file).metadata or {}).get(_KEY, b"").decode())
    # Sorted, so that the hash does not hang on the order in which a store lists its files.
    return compute_key(sorted(keys))


def read_split(training: str, split: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Read some columns of one split, a row group at a time.

    Parameters
    ----------
    training : str
        ``locations.training``, where the training set lies.
    split : str
        One of `SPLITS`.
    columns : sequence of str
        In the order they are to have.

    Yields
    ------
    pyarrow.Table
        The rows of a row group that belong to the split; there may be none.

    Raises
    ------
    TrainingError
        There is no training set, or it lacks a column.
    """
    for part in list_parts(training):
        with open_file(part) as file:
            parquet = pq.ParquetFile(file)
            if missing := [name for name in columns if name not in parquet.schema_arrow.names]:
                raise TrainingError(
                    f"the training set {part!r} lacks the columns {missing}: an earlier photoz wrote it, or it is of "
                    "other bands; make it again with jobs/train_dr4.py, or correct survey.bands"
                )
            for group in range(parquet.num_row_groups):
                # A group is some 10 MB with cutouts, where a file may have thousands of galaxies.
                table = parquet.read_row_group(group, columns=[*columns, "split"])
                yield table.filter(pc.equal(table["split"], split)).select(list(columns))


def count_splits(training: str) -> dict[str, int]:
    """Count the galaxies of each split."""
    # By a column that is no image: counting reads no pixel.
    return {split: sum(len(table) for table in read_split(training, split, ["object_id"])) for split in SPLITS}


def read_photometry(training: str, split: str, bands: Sequence[str]) -> Iterator[tuple[Floats, Floats]]:
    """Read fluxes and errors [nJy] of one split, shape (N, F) each, a row group at a time."""
    for table in read_split(training, split, [name for band in bands for name in name_fluxes(band)]):
        yield read_fluxes(table, bands)


def list_columns(bands: Sequence[str], *, images: bool) -> list[str]:
    """List the columns a training reads; photometry alone leaves the cutouts on disk."""
    names = [name for band in bands for name in name_fluxes(band)]
    names += ["mag_auto", "flags", "z_spec", "object_id"]
    return [*names, CUTOUT] if images else names
