"""The files of an n(z): the table and its plot."""

import json
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from photoz.nz.description import NzDescription
from photoz.nz.distribution import Distribution
from photoz.nz.settings import Nz
from photoz.plots.nz import plot_nz
from photoz.plots.style import render_png
from photoz.schema import make_field
from photoz.storage import join, open_atomic

METADATA = b"photoz_nz"
"""Key of the Parquet file's metadata: JSON with what the n(z) was made from and the figures of each bin."""


def make_nz_schema() -> pa.Schema:
    """Build the schema of the n(z) table."""
    return pa.schema(
        [
            make_field("tomographic_bin", pa.int32(), unit="", description="from 1, in order of z_phot"),
            make_field("z", pa.float64(), unit="", description="redshift, middle of the cell"),
            make_field("nz", pa.float64(), unit="1", description="density per unit redshift, integral 1 in each bin"),
            make_field("nz_err", pa.float64(), unit="1", description="its 1-sigma bootstrap error"),
        ]
    )


def write_nz(folder: str, distribution: Distribution, description: NzDescription) -> str:
    """Write ``nz.parquet`` and ``nz.png``.

    Parameters
    ----------
    folder : str
        To write into; files of an earlier n(z) are replaced.
    distribution : Distribution
    description : NzDescription
        Goes into the table's metadata as JSON.

    Returns
    -------
    str
        Location of the table.
    """
    bins, cells = distribution.nz_BZ.shape
    schema = make_nz_schema()
    columns = [
        np.repeat(np.arange(1, bins + 1), cells),
        np.tile(distribution.z_Z, bins),
        distribution.nz_BZ.ravel(),
        distribution.error_BZ.ravel(),
    ]
    # In the table itself, so that an n(z) which is passed on still says what it is of.
    metadata = {METADATA: json.dumps(asdict(description)).encode()}
    # Cast, as NumPy numbers the bins in 64 bits and the table's schema in 32.
    arrays = [pa.array(values).cast(field.type) for values, field in zip(columns, schema, strict=True)]
    table = join(folder, "nz.parquet")
    with open_atomic(table) as file:
        pq.write_table(pa.table(arrays, schema=schema.with_metadata(metadata)), file, compression="zstd")
    # After the table: where the plot fails, the figures are there.
    with open_atomic(join(folder, "nz.png")) as file:
        file.write(render_png(plot_nz(distribution, description)))
    return table


def locate_nz(nz: Nz, report: str) -> str:
    """Return the folder of the n(z): ``nz.output``, or ``nz`` within the report's."""
    return nz.output or join(report, "nz")
