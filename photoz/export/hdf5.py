"""The catalogue in HDF5: an ensemble of p(z) as qp reads it, or columns as RAIL's stages read them."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from photoz.catalogue.quantiles import unpack_codes
from photoz.errors import CatalogueError
from photoz.export.rows import Extent, Selection, is_text, measure_rows
from photoz.export.settings import Export
from photoz.optional import needs
from photoz.pdf import decode_quantiles
from photoz.pdf.ensembles import make_ensemble

if TYPE_CHECKING:
    import h5py

_GROUP = "photometry"  # where RAIL's stages look by default (`hdf5_groupname`)
_ROWS = 2048  # at one time: a curve on a grid takes some 25 kB a galaxy while it is made


def write_qp(selection: Selection, name: str, settings: Export) -> int:
    """Write an ensemble of p(z), which ``qp.read`` opens.

    Galaxies without p(z) are left out: qp knows no missing ones. ``object_id``, ``z_phot`` and ``flags`` stand in its
    ancillary table.

    Parameters
    ----------
    selection : Selection
        Of rows that have p(z).
    name : str
        Of a local file.
    settings : Export

    Returns
    -------
    int
        Rows.

    Raises
    ------
    CatalogueError
        The catalogue holds no p(z).
    MissingPackageError
        The package qp-prob is not installed.
    """
    if not selection.algorithm:
        raise CatalogueError(f"{selection.catalogue} holds z_phot alone, and no p(z) that an ensemble could be made of")
    beside = ["object_id", "z_phot", "flags"]
    rows, width = _measure_ids(selection)
    grid = np.linspace(0.0, settings.highest_redshift, settings.points) if settings.qp == "interp" else None
    opened: Any = None
    written, groups = 0, {}
    for table in selection.read([*beside, selection.quantiles]):
        for start in range(0, len(table), _ROWS):
            part = table.slice(start, _ROWS)
            ancil = {"object_id": _encode(part["object_id"], width)}
            ancil |= {each: part[each].to_numpy() for each in beside[1:]}
            quantiles_NQ = decode_quantiles(unpack_codes(part[selection.quantiles]))
            ensemble = make_ensemble(quantiles_NQ, z_grid=grid, ancil=ancil)
            if opened is None:
                groups, opened = ensemble.initializeHdf5Write(name, rows)
            ensemble.writeHdf5Chunk(groups, written, written + len(part))
            written += len(part)
    if opened is None:
        raise CatalogueError(f"{selection.catalogue} has no row with p(z) among those chosen")
    ensemble.finalizeHdf5Write(opened)
    return written


def write_rail(selection: Selection, name: str) -> int:
    """Write the columns into the group ``photometry``, as RAIL's stages read them by default.

    ``object_id`` is RAIL's own name of an identifier; ``z_spec``, where the catalogue has it, becomes ``redshift``,
    which is RAIL's name of a true one. Stored quantiles become redshifts, float32, shape (N, Q); whole numbers of which
    some are missing become float64, with NaN.

    Parameters
    ----------
    selection : Selection
    name : str
        Of a local file.

    Returns
    -------
    int
        Rows.

    Raises
    ------
    CatalogueError
        A column is neither numbers nor text.
    """
    with needs("HDF5", "h5py", extra="qp"):
        import h5py
    extent = measure_rows(selection)
    with h5py.File(name, "w") as file:
        written = 0
        for table in selection.read():
            for column in table.column_names:
                values = _convert(table[column], column, selection, extent)
                _get_dataset(file, column, values, extent.rows, selection.schema)[written : written + len(table)] = (
                    values
                )
            written += len(table)
    return written


def _get_dataset(file: "h5py.File", column: str, values: np.ndarray, rows: int, schema: pa.Schema) -> Any:
    name = f"{_GROUP}/{'redshift' if column == 'z_spec' else column}"
    if name not in file:
        dataset = file.create_dataset(name, (rows, *values.shape[1:]), values.dtype)
        for key, text in (schema.field(column).metadata or {}).items():
            dataset.attrs[key.decode()] = text.decode()
        if values.ndim > 1:
            dataset.attrs["unit"] = ""  # redshifts now, and no longer steps of them
    return file[name]


def _convert(column: pa.ChunkedArray, name: str, selection: Selection, extent: Extent) -> np.ndarray:
    if name == selection.quantiles:
        return np.asarray(decode_quantiles(unpack_codes(column)), dtype=np.float32)
    if is_text(column.type):
        return column.cast(pa.int64()).to_numpy() if name in extent.whole else _encode(column, extent.widths[name])
    kinds = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise CatalogueError(
            f"column {name} is of the type {column.type}, which is not written as HDF5: leave it out of "
            "export.columns, or export to Parquet"
        )
    # No whole number says "none". Of every partition, whether it lacks one or not: the first makes the column.
    values = column.cast(pa.float64(), safe=False) if name in extent.with_null else column
    return np.asarray(values.to_numpy())


def _encode(column: pa.ChunkedArray, width: int) -> np.ndarray:
    # As bytes: HDF5 has no text of numpy's kind.
    return np.array([(value or "").encode() for value in column.to_pylist()], dtype=f"S{width}")


def _measure_ids(selection: Selection) -> tuple[int, int]:
    rows, width = 0, 1
    for table in selection.read(["object_id"]):
        rows, width = rows + len(table), max(width, pc.max(pc.binary_length(table["object_id"])).as_py() or 1)
    return rows, width
