"""From rows of the source catalogue to what an estimator sees: cutouts read tile by tile, fluxes as arrays."""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from photoz.cutouts import extract_cutouts
from photoz.errors import MissingTileError, TileError
from photoz.estimators.base import Inputs
from photoz.schema import Flag, make_field, name_fluxes
from photoz.telemetry import count
from photoz.tiles.fetch import choose_threads

if TYPE_CHECKING:
    # For the type alone; see `open_tile`.
    from photoz.tiles import Tile

logger = logging.getLogger(__name__)

CUTOUT = "cutout"
ALL_ROWS = "all rows"
"""Subject of a problem that is no tile's and no row's: the estimator failed on the whole partition."""
_WITHOUT_PIXELS = {
    Flag.OFF_IMAGE: "OFF_IMAGE: the cutout lies wholly outside the tile",
    Flag.EMPTY_CUTOUT: "EMPTY_CUTOUT: a band of the cutout has no finite pixel",
}
# In place of three: 2,260 for 1,686 galaxies/s from a store behind 30 ms (docs/benchmarks/reading.md).
TILES_AT_ONCE = 6
"""Tiles of a partition that are read at one time from a store: hides the latency of opening them."""


@dataclass(frozen=True)
class Problem:
    """Something that cost rows their image or their estimate.

    Parameters
    ----------
    stage : str
        "read": the tile; "cutout": it was read, and has no pixel there; "estimate".
    subject : str
        The tile, the object_id or `ALL_ROWS`.
    rows : int
        How many rows it cost.
    error : str
        What was said.
    """

    stage: str
    subject: str
    rows: int
    error: str


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows on their way from the source catalogue to the photo-z catalogue, and what cost some of them something.

    Parameters
    ----------
    table : pyarrow.Table
    problems : tuple of Problem
    """

    table: pa.Table
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, eq=False)
class _OfTile:
    """What a tile gave its N rows.

    Parameters
    ----------
    cutouts_NBYX : array or None
        [flux], float32; None where the tile could not be read.
    flags_N : array or Flag
        Why a row has no pixel.
    problems : tuple of Problem
    cost : dict
        Seconds of waiting for the store and of the rest (decoding and cutting), bytes and requests.
    """

    cutouts_NBYX: npt.NDArray[np.float32] | None
    flags_N: npt.NDArray[np.int32] | Flag
    problems: tuple[Problem, ...] = ()
    cost: dict[str, float] = field(default_factory=dict)


def attach_cutouts(
    sources: pa.Table, tiles: str, *, image_bands: Sequence[str], cutout_size: int, give_up: bool = False
) -> Rows:
    """Read the cutout of every source from the tile store and add it as a column.

    Parameters
    ----------
    sources : pyarrow.Table
        Rows of the source catalogue (`photoz.schema.make_source_schema`).
    tiles : str
        Folder of the tile store.
    image_bands : sequence of str
        Bands of the cutouts, in this order.
    cutout_size : int
        [pixel] side of the cutouts.
    give_up : bool
        Take any error of the store for a tile that cannot be read. Otherwise only damage is: a store that does not
        answer raises its own error, so that the engine can try again.

    Returns
    -------
    Rows
        The same rows in the same order with the column ``cutout``, a float32 tensor (band, y, x) [flux], NaN where
        there is no pixel; ``flags`` says why. A tile that cannot be read costs its rows their cutout, never the run.
    """
    # NaN to begin with, which the rows of a tile that cannot be read keep.
    cutouts_NBYX = np.full((len(sources), len(image_bands), cutout_size, cutout_size), np.nan, dtype=np.float32)
    flags_N = sources["flags"].to_numpy().astype(np.int32)  # astype copies: Arrow's memory is read-only
    ra_N, dec_N = sources["ra"].to_numpy(), sources["dec"].to_numpy()
    tile_N = sources["tile"].to_numpy(zero_copy_only=False).astype(str)
    # One read a tile: its metadata and chunks serve all of its rows.
    groups = [(name, np.flatnonzero(tile_N == name)) for name in np.unique(tile_N).tolist()]
    problems: list[Problem] = []
    # One thread on a local disk, where twelve mostly waited for Python (docs/benchmarks/reading.md).
    with ThreadPoolExecutor(choose_threads(tiles, TILES_AT_ONCE)) as pool:
        reads = [
            pool.submit(_read_tile, (tiles, name), ra_N[rows], dec_N[rows], (cutout_size, image_bands))
            for name, rows in groups
        ]
        # In the order of names, whichever was read first, so that problems come alike on every engine.
        for (name, rows), read in zip(groups, reads, strict=True):
            found = _wait_for(read, name, len(rows), give_up=give_up)
            if found.cutouts_NBYX is not None:
                cutouts_NBYX[rows] = found.cutouts_NBYX
            flags_N[rows] |= found.flags_N
            problems += found.problems
            for what, amount in found.cost.items():  # told here, not in the thread, which nobody gathers from
                count(what, amount)
    return Rows(_append_cutouts(sources, cutouts_NBYX, flags_N), tuple(problems))


def _wait_for(read: Future[_OfTile], tile: str, rows: int, *, give_up: bool) -> _OfTile:
    """Return what a tile gave, which is nothing where it cannot be read."""
    # As `cluster.ledger` keys it: what is given up here counts as unreadable there.
    expected: tuple[type[Exception], ...] = (Exception,) if give_up else (TileError,)
    try:
        return read.result()
    except expected as error:
        logger.warning("%d sources of tile %s without cutouts: %s", rows, tile, error)
        problem = Problem("read", tile, rows, f"{type(error).__name__}: {error}")
        return _OfTile(None, _explain(error), (problem,))


def _list_without_pixels(tile: str, flags_N: npt.NDArray[np.int32]) -> tuple[Problem, ...]:
    """List what cost rows of a readable tile their image."""
    counts = {flag: int(((flags_N & flag) != 0).sum()) for flag in _WITHOUT_PIXELS}
    return tuple(Problem("cutout", tile, rows, _WITHOUT_PIXELS[flag]) for flag, rows in counts.items() if rows)


def make_inputs(table: pa.Table, bands: Sequence[str]) -> Inputs:
    """View rows of the source catalogue, with or without cutouts, as the arrays an estimator reads.

    Parameters
    ----------
    table : pyarrow.Table
        Rows with ``flux_<b>``, ``fluxerr_<b>``, ``flags`` and, for estimators that read images, ``cutout``.
    bands : sequence of str
        Bands of the fluxes, in this order: an estimator may read some of the survey's, in its own.

    Returns
    -------
    Inputs
    """
    cutouts = table[CUTOUT].combine_chunks() if CUTOUT in table.column_names else None
    if isinstance(cutouts, pa.ChunkedArray):  # a table without rows combines to no chunk
        cutouts = cutouts.type.wrap_array(pa.array([], type=cutouts.type.storage_type))
    return Inputs(
        *read_fluxes(table, bands),
        cutouts_NBYX=None if cutouts is None else cutouts.to_numpy_ndarray(),
        flags_N=table["flags"].to_numpy().astype(np.int32),
    )


def read_fluxes(table: pa.Table, bands: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Read fluxes and their errors [nJy] of rows of the source catalogue, shape (N, F) each, as they are stored."""
    names = [name_fluxes(band) for band in bands]
    return _stack(table, [flux for flux, _ in names]), _stack(table, [fluxerr for _, fluxerr in names])


def _stack(table: pa.Table, names: list[str]) -> npt.NDArray[np.float32]:
    # Without a band there is nothing that np.stack would take.
    columns = [pc.cast(table[name], pa.float32()).to_numpy() for name in names]
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0), dtype=np.float32)


def _read_tile(
    place: tuple[str, str],
    ra_N: npt.NDArray[np.float64],
    dec_N: npt.NDArray[np.float64],
    wanted: tuple[int, Sequence[str]],
) -> _OfTile:
    """Cut from one tile, given its store and name, cutouts of a size [pixel] in some bands."""
    start = time.perf_counter()
    size, image_bands = wanted
    tile = open_tile(*place)
    cutouts_NBYX, flags_N = extract_cutouts(tile, ra_N, dec_N, size, bands=image_bands)
    traffic = tile.traffic
    cost = {
        "read_s": traffic.seconds,
        # The store's seconds are those with a request unanswered, so the rest is decoding and cutting.
        "decode_s": max(time.perf_counter() - start - traffic.seconds, 0.0),
        "bytes_read": traffic.bytes_read,
        "requests": traffic.requests,
    }
    return _OfTile(cutouts_NBYX, flags_N, _list_without_pixels(place[1], flags_N), cost)


def _explain(error: Exception) -> Flag:
    # The one is no fault of any file: the tile lies outside the survey or is not ingested yet.
    return Flag.NO_TILE if isinstance(error, MissingTileError) else Flag.TILE_UNREADABLE


def _append_cutouts(
    sources: pa.Table, cutouts_NBYX: npt.NDArray[np.float32], flags_N: npt.NDArray[np.int32]
) -> pa.Table:
    tensor_type = pa.fixed_shape_tensor(pa.float32(), cutouts_NBYX.shape[1:])
    # Arrow takes NumPy's memory as it is, 104 MB of 5,000 galaxies in four bands, and NaN as a value and no null.
    flat = pa.FixedSizeListArray.from_arrays(pa.array(cutouts_NBYX.reshape(-1)), int(np.prod(cutouts_NBYX.shape[1:])))
    field = make_field(CUTOUT, tensor_type, unit="flux", description="image cutout [band, y, x]")
    # In its old place, with its unit and description.
    place = sources.schema.get_field_index("flags")
    with_flags = sources.set_column(place, sources.schema.field(place), pa.array(flags_N))
    return with_flags.append_column(field, pa.ExtensionArray.from_storage(tensor_type, flat))


def open_tile(tiles: str, name: str) -> "Tile":
    """Open a tile: astropy and zarr come with it, which a process that only estimates need not hold."""
    from photoz.tiles import open_tile

    return open_tile(tiles, name)
