"""A table of spectroscopic redshifts: positions and redshifts that can be trained on. The defaults read GAMA DR4's."""

import logging
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from photoz.errors import SurveyFileError
from photoz.measured import HIGHEST_REDSHIFT, describe_repeated
from photoz.schema import make_field
from photoz.storage import join
from photoz.survey.positions import find_positions
from photoz.survey.systems import read_frame, require_icrs
from photoz.survey.table import FitsTable, check_column, read_table
from photoz.survey.units import convert_to_degrees
from photoz.training.settings import Crossmatch

logger = logging.getLogger(__name__)

SPECTROSCOPIC_SCHEMA = pa.schema(
    [
        make_field("ra", pa.float64(), unit="deg", description="right ascension, ICRS"),
        make_field("dec", pa.float64(), unit="deg", description="declination, ICRS"),
        # float32 tells redshifts apart to 3e-8, far below any spectrograph's error.
        make_field("z_spec", pa.float32(), unit="", description="spectroscopic redshift"),
    ]
)


def read_redshifts(folder: str, crossmatch: Crossmatch) -> pa.Table:
    """Read the spectroscopic table after its quality cuts.

    Parameters
    ----------
    folder : str
        Path or URL of the survey's files, ``locations.survey``.
    crossmatch : Crossmatch
        Names the file within the folder, its columns and the cuts: quality at least ``min_quality`` (NQ >= 3 is a
        reliable redshift of GAMA's, Driver et al. 2022, MNRAS 513, 439), redshift above ``min_redshift``, and no
        duplicates. Beyond `photoz.measured.HIGHEST_REDSHIFT` stands no redshift.

    Returns
    -------
    pyarrow.Table
        ``ra``, ``dec`` [deg], ``z_spec``; rows without a position (`find_positions`) or with a redshift that is not
        finite are left out.

    Raises
    ------
    SurveyFileError
        The file is missing, damaged, lacks a column, has no numbers in one or positions in no unit of an angle, or no
        row passes the cuts.
    """
    table = _read_columns(join(folder, crossmatch.file), crossmatch)
    keep = _select_reliable(table, crossmatch)
    _tell_odd(table, keep, crossmatch)
    keep &= table.columns[crossmatch.redshift] <= HIGHEST_REDSHIFT
    if not keep.any():
        raise SurveyFileError(
            f"{crossmatch.file}: none of {len(table)} rows has {crossmatch.quality} >= {crossmatch.min_quality} and "
            f"{crossmatch.min_redshift} < {crossmatch.redshift} <= {HIGHEST_REDSHIFT:g}; see crossmatch.min_quality "
            "and crossmatch.min_redshift"
        )
    names = {"ra": crossmatch.ra, "dec": crossmatch.dec, "z_spec": crossmatch.redshift}
    arrays = [
        pa.array(table.columns[names[field.name]][keep], field.type, safe=False) for field in SPECTROSCOPIC_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SPECTROSCOPIC_SCHEMA)


def _tell_odd(table: FitsTable, keep_N: npt.NDArray[np.bool_], match: Crossmatch) -> None:
    """Tell of the reliable rows whose redshift is none by its value."""
    z_N = table.columns[match.redshift][keep_N]
    if far := int((z_N > HIGHEST_REDSHIFT).sum()):
        logger.warning(
            "%s: %s is above %g in %d reliable rows, up to %g, which are left out: it must "
            "be a redshift and no velocity", match.file, match.redshift, HIGHEST_REDSHIFT, far, z_N.max(),
        )  # fmt: skip
    if said := describe_repeated(z_N[z_N <= HIGHEST_REDSHIFT]):
        logger.warning("%s: %s, column %s: is it one?", match.file, said, match.redshift)


def _read_columns(location: str, crossmatch: Crossmatch) -> FitsTable:
    """Read the table's columns, positions in degrees."""
    wanted = _list_columns(crossmatch)
    table = read_table(location, wanted)
    for column, setting in wanted.items():
        check_column(table, column, setting)
    require_icrs(read_frame(table.header), crossmatch.file)
    positions = {
        name: convert_to_degrees(
            table.columns[name],
            table.units.get(name, ""),
            column=f"{crossmatch.file}: column {name} (crossmatch.{key})",
            # An hour is 15 degrees of right ascension; declination in hours would be a mistake, and is refused.
            hours=key == "ra",
        )
        for key, name in (("ra", crossmatch.ra), ("dec", crossmatch.dec))
    }
    return replace(table, columns=table.columns | positions)


def _list_columns(crossmatch: Crossmatch) -> dict[str, str]:
    keys = ("ra", "dec", "redshift", "quality", "duplicate")
    named = {getattr(crossmatch, key): f"crossmatch.{key}" for key in keys}
    # An empty name means that the table has no such column, as of duplicates.
    return {column: setting for column, setting in named.items() if column}


def _select_reliable(table: FitsTable, match: Crossmatch) -> npt.NDArray[np.bool_]:
    columns = table.columns
    # A sentinel of -999 deg is a place on the sky to whoever takes its cosine.
    keep = find_positions(columns[match.ra], columns[match.dec]) & np.isfinite(columns[match.redshift])
    # The lower limit of the redshift leaves out stars, which have redshifts near 0 of good quality.
    keep &= (columns[match.quality] >= match.min_quality) & (columns[match.redshift] > match.min_redshift)
    # 0 marks the one row of an object that is to be used, as in GAMA's table.
    if match.duplicate:
        keep &= columns[match.duplicate] == 0
    # Whole numbers that stand for none, which may be larger than any quality.
    for missing_N in table.nulls.values():
        keep &= ~missing_N
    return np.asarray(keep)
