"""The real galaxies that the package kcorrect carries, as a plain catalogue."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from photoz.schema import make_field
from photoz.storage import open_atomic

# In the order of kcorrect's columns, which the index below relies on.
BANDS = ("u", "g", "r", "i", "z", "J", "H", "K")
_TO_MAG = 2.5 / np.log(10)


def write_sdss_example(location: str) -> int:
    """Write kcorrect's SDSS and 2MASS galaxies as Parquet: ``object_id``, ``mag_<b>``, ``magerr_<b>``, ``z_spec``.

    Parameters
    ----------
    location : str
        File to write, a path or any URL that fsspec opens.

    Returns
    -------
    int
        Galaxies written: those with a redshift between 0.001 and 0.6. Magnitudes are dereddened AB model magnitudes (J
        H K: 2MASS extended-source), NaN where the flux is not positive.

    References
    ----------
    Blanton & Roweis 2007, AJ 133, 734 (kcorrect, whose files these are).
    """
    from photoz.simulate.seds import read_sdss_galaxies  # needs photoz[demo], which says so

    galaxies = read_sdss_galaxies()
    z_N, maggies_NF, ivar_NF = galaxies.redshift_N, galaxies.maggies_NF, galaxies.ivar_NF
    kept_N = (z_N > 0.001) & (z_N < 0.6)
    # kcorrect's file has 0 in both where 2MASS saw nothing.
    seen_NF = (maggies_NF > 0) & (ivar_NF > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # A maggie is the flux of an AB magnitude of 0, so there is no zero point to add.
        magnitudes_NF = np.where(seen_NF, -2.5 * np.log10(maggies_NF), np.nan)
        errors_NF = np.where(seen_NF, _TO_MAG / (maggies_NF * np.sqrt(ivar_NF)), np.nan)
    # The file has no identifiers; rows of it find a galaxy again.
    columns = [pa.array(np.flatnonzero(kept_N))]
    fields = [make_field("object_id", pa.int64(), unit="", description="row of kcorrect's file")]
    for i, band in enumerate(BANDS):
        columns += [pa.array(magnitudes_NF[kept_N, i]), pa.array(errors_NF[kept_N, i])]
        fields.append(make_field(f"mag_{band}", pa.float64(), unit="mag(AB)", description=f"{band}, dereddened"))
        fields.append(
            make_field(f"magerr_{band}", pa.float64(), unit="mag", description=f"1-sigma error of mag_{band}")
        )
    columns.append(pa.array(z_N[kept_N]))
    fields.append(make_field("z_spec", pa.float64(), unit="", description="spectroscopic redshift"))
    with open_atomic(location) as file:
        pq.write_table(pa.table(columns, schema=pa.schema(fields)), file)
    return int(kept_N.sum())
