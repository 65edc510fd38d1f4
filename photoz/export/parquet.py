"""The catalogue as one Parquet file, of the same columns and types as its partitions."""

from typing import IO

import pyarrow.parquet as pq

from photoz.export.rows import Selection


def write_parquet(selection: Selection, file: IO[bytes]) -> int:
    """Write the rows, a partition a row group or more; types, units and descriptions are the catalogue's.

    Parameters
    ----------
    selection : Selection
    file : binary file

    Returns
    -------
    int
        Rows.
    """
    written = 0
    with pq.ParquetWriter(file, selection.schema, compression="zstd") as writer:
        for table in selection.read():
            # For the metadata: lists that were filtered have lost the name of their kind.
            writer.write_table(table.cast(selection.schema))
            written += len(table)
    return written
