"""The real galaxies that the package kcorrect carries, as a plain catalogue."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from photoz.schema import make_field
from photoz.storage import open_atomic

# In the order of kcorrect's columns, which the index below relies on.
BANDS = ("u", "g", "r", "i", "z", "J", "H", "K")
APART = 0.2
"""Share of the galaxies that are set apart, where that is asked for."""
_TO_MAG = 2.5 / np.log(10)


def write_sdss_example(location: str) -> int:
    """Write kcorrect's SDSS and 2MASS galaxies as Parquet (`make_sdss_example`).

    Parameters
    ----------
    location : str
        File to write, a path or any URL that fsspec opens.

    Returns
    -------
    int
        Galaxies written.
    """
    return _write(make_sdss_example(), location)


def write_split_example(location: str, apart: str) -> tuple[int, int]:
    """Write the same galaxies as two files, to fit to the one and be measured on the other.

    Parameters
    ----------
    location, apart : str
        Of the first file, and of that with `APART` of the galaxies, the same at each call.

    Returns
    -------
    tuple of int
        Galaxies in the one and in the other.
    """
    table = make_sdss_example()
    apart_N = np.random.default_rng(1).random(len(table)) < APART
    return _write(table.filter(pa.array(~apart_N)), location), _write(table.filter(pa.array(apart_N)), apart)


def make_sdss_example() -> pa.Table:
    """Read kcorrect's galaxies into a plain catalogue.

    Returns
    -------
    pyarrow.Table
        ``object_id``, ``ra``, ``dec`` [deg], ``mag_<b>``, ``magerr_<b>``, ``z_spec`` of those with a redshift between
        0.001 and 0.6. Magnitudes are dereddened AB model magnitudes (J H K: 2MASS extended-source), NaN where the flux
        is not positive.

    References
    ----------
    Blanton & Roweis 2007, AJ 133, 734 (kcorrect, whose files these are).
    """
    # Here, since it takes a second, and help asks for this module.
    from photoz.simulate.seds import read_sdss_galaxies

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
    columns = {
        make_field("object_id", pa.int64(), unit="", description="row of kcorrect's file"): np.flatnonzero(kept_N),
        make_field("ra", pa.float64(), unit="deg", description="right ascension"): galaxies.ra_N[kept_N],
        make_field("dec", pa.float64(), unit="deg", description="declination"): galaxies.dec_N[kept_N],
    }
    for i, band in enumerate(BANDS):
        magnitude = make_field(f"mag_{band}", pa.float64(), unit="mag(AB)", description=f"{band}, dereddened")
        error = make_field(f"magerr_{band}", pa.float64(), unit="mag", description=f"1-sigma error of mag_{band}")
        columns |= {magnitude: magnitudes_NF[kept_N, i], error: errors_NF[kept_N, i]}
    columns[make_field("z_spec", pa.float64(), unit="", description="spectroscopic redshift")] = z_N[kept_N]
    return pa.table([pa.array(values) for values in columns.values()], schema=pa.schema(list(columns)))


def _write(table: pa.Table, location: str) -> int:
    with open_atomic(location) as file:
        pq.write_table(table, file)
    return len(table)
