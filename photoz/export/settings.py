"""As what, and what of it, the catalogue is exported."""

from typing import Literal

from photoz.settings.base import Count, Positive, Settings
from photoz.settings.locations import Location

Format = Literal["fits", "csv", "parquet", "qp", "rail"]


class Export(Settings, frozen=True):
    """One file of the photo-z catalogue for other programs (jobs/export_catalogue.py)."""

    format: Literal["", Format] = ""
    """*fits*: a binary table; *csv*; *parquet*; *qp*: an ensemble of p(z) in HDF5, as ``qp.read`` opens it; *rail*: the
    columns in HDF5, in the group ``photometry``. "": by the ending of ``output``, and FITS where there is none."""
    output: Location = ""
    """The file; "": beside the catalogue, of its name with the format's ending."""
    columns: tuple[str, ...] = ()
    """Names of the catalogue's columns, in this order; empty: all. An ensemble takes none of them but p(z) and the
    identifier."""
    exclude_flags: tuple[str, ...] = ()
    """Names of `photoz.schema.Flag`: rows with any of them are left out."""
    estimated: bool = False
    """Leave rows without z_phot out, as an ensemble always does."""
    qp: Literal["quant", "interp"] = "quant"
    """Of the ensemble: the quantiles themselves, or densities on a grid, which take ten times the room."""
    highest_redshift: Positive = 3.0
    """Of the grid, which begins at 0; as RAIL's stages have it."""
    points: Count = 301
    """Of the grid."""
