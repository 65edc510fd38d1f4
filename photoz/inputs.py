"""From rows of the source catalogue to what an estimator sees: cutouts read tile by tile, magnitudes as arrays."""

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from photoz.cutouts import extract_cutouts
from photoz.errors import TileError
from photoz.estimators.base import Inputs
from photoz.schema import Flag, make_field
from photoz.storage import exists, join
from photoz.tiles import open_tile

logger = logging.getLogger(__name__)

CUTOUT = "cutout"


def attach_cutouts(sources: pa.Table, tiles: str, *, image_bands: Sequence[str], cutout_size: int) -> pa.Table:
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

    Returns
    -------
    pyarrow.Table
        The same rows in the same order with the column ``cutout``, a float32 tensor (band, y, x) [flux], NaN where
        there is no pixel; ``flags`` says why. A tile that cannot be read costs its rows their cutout, never the run.
    """
    cutouts_NBYX = np.full((len(sources), len(image_bands), cutout_size, cutout_size), np.nan, dtype=np.float32)
    flags_N = sources["flags"].to_numpy().astype(np.int32)  # astype copies: Arrow's memory is read-only
    ra_N, dec_N = sources["ra"].to_numpy(), sources["dec"].to_numpy()
    tile_N = sources["tile"].to_numpy(zero_copy_only=False).astype(str)
    for name in np.unique(tile_N):
        rows = np.flatnonzero(tile_N == name)
        try:
            tile = open_tile(tiles, name)
            cutouts, flags = extract_cutouts(tile, ra_N[rows], dec_N[rows], cutout_size, bands=image_bands)
        except TileError as error:
            logger.warning("%d sources without cutouts: %s", len(rows), error)
            flags_N[rows] |= _explain_missing_tile(tiles, name)
            continue
        cutouts_NBYX[rows] = cutouts
        flags_N[rows] |= flags
    return _append_cutouts(sources, cutouts_NBYX, flags_N)


def make_inputs(table: pa.Table, bands: Sequence[str]) -> Inputs:
    """View rows of the source catalogue, with or without cutouts, as the arrays an estimator reads.

    Parameters
    ----------
    table : pyarrow.Table
        Rows with ``mag_<b>``, ``magerr_<b>``, ``flags`` and, for estimators that read images, ``cutout``.
    bands : sequence of str
        Bands of the magnitudes, in this order.

    Returns
    -------
    Inputs
    """
    cutouts = table[CUTOUT].combine_chunks() if CUTOUT in table.column_names else None
    if isinstance(cutouts, pa.ChunkedArray):  # a table without rows combines to no chunk
        cutouts = cutouts.type.wrap_array(pa.array([], type=cutouts.type.storage_type))
    return Inputs(
        magnitudes_NF=_stack(table, [f"mag_{band}" for band in bands]),
        errors_NF=_stack(table, [f"magerr_{band}" for band in bands]),
        cutouts_NBYX=None if cutouts is None else cutouts.to_numpy_ndarray(),
        flags_N=table["flags"].to_numpy().astype(np.int32),
    )


def _stack(table: pa.Table, names: list[str]) -> npt.NDArray[np.float32]:
    columns = [pc.cast(table[name], pa.float32()).to_numpy() for name in names]
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0), dtype=np.float32)


def _explain_missing_tile(tiles: str, name: str) -> Flag:
    return Flag.TILE_UNREADABLE if exists(join(tiles, f"{name}.zarr")) else Flag.NO_TILE


def _append_cutouts(
    sources: pa.Table, cutouts_NBYX: npt.NDArray[np.float32], flags_N: npt.NDArray[np.int32]
) -> pa.Table:
    tensor_type = pa.fixed_shape_tensor(pa.float32(), cutouts_NBYX.shape[1:])
    flat = pa.FixedSizeListArray.from_arrays(pa.array(cutouts_NBYX.reshape(-1)), int(np.prod(cutouts_NBYX.shape[1:])))
    field = make_field(CUTOUT, tensor_type, unit="flux", description="image cutout [band, y, x]")
    place = sources.schema.get_field_index("flags")
    with_flags = sources.set_column(place, sources.schema.field(place), pa.array(flags_N))
    return with_flags.append_column(field, pa.ExtensionArray.from_storage(tensor_type, flat))
