"""Hold a table against its survey's file before any work: columns, types, units, and what a sample of rows says."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from photoz.errors import ConfigError, TableError
from photoz.measured import MAGNITUDES, describe_repeated_fluxes
from photoz.photometry import MAGGY
from photoz.tables.base import Table
from photoz.tables.columns import Choice, choose_columns
from photoz.tables.convert import Converted, read_sources
from photoz.tables.cuts import apply_cut, parse_cut
from photoz.tables.fluxes import NJY_PER_UNIT
from photoz.tables.settings import Role, TableSurvey, find_column
from photoz.tables.text import quote_text
from photoz.tables.types import is_nested, is_number
from photoz.tables.units import check_units

logger = logging.getLogger(__name__)

_SAMPLED_PARTS = 8
"""Spread over the table: its first part may be a corner of the sky that lacks a band."""
_MOST_BATCHES = 20
"""Of a part, where the cuts leave nothing of those before."""
_USUAL = (14.0, 28.0)
"""[mag(AB)] Where the median of a survey's galaxies lies."""
# In the words of the remedy: whoever asked for it sees a setting, not the name of a role.
_NEEDS: dict[Role, tuple[str, str]] = {
    "position": ("ra", "position is there: set survey.ra and survey.dec to their columns"),
    "z_spec": ("z_spec", "spectroscopic redshift is there: set survey.z_spec to their column"),
    "tile": ("tile", "tile is there whose images hold the sources: set survey.tile to their column"),
    "total": ("total", "total magnitude is there: set survey.total"),
}


@dataclass(frozen=True)
class Checked:
    """A table that fits its survey's file.

    Parameters
    ----------
    bands : tuple of str
        That it has and that are read.
    columns : tuple of str
        That are read.
    counts : dict of str to int
        Of the sample, as `photoz.tables.convert.Converted` counts.
    warnings : tuple of str
        What is odd and no error; each is in the log, too.
    """

    bands: tuple[str, ...]
    columns: tuple[str, ...]
    counts: dict[str, int]
    warnings: tuple[str, ...] = ()


def check_columns(
    table: Table,
    survey: TableSurvey,
    bands: Sequence[str] | None = None,
    *,
    need: Sequence[Role] = (),
    rows: int = 10_000,
) -> Checked:
    """Check that a table is what its survey's file says, by its schema and a sample of its rows.

    Parameters
    ----------
    table : Table
        From `open_survey_table`.
    survey : TableSurvey
    bands : sequence of str, optional
        These only; else all of the survey.
    need : sequence of "position", "z_spec", "tile" or "total"
        What is wanted of it, whether the survey calls it optional or not. Where positions are, rows without one are
        none of the sample.
    rows : int
        Of the sample, from up to eight parts of the table.

    Raises
    ------
    ConfigError
        The table lacks columns, or one has another type or unit than the survey's file says; the fluxes of the sample
        are those of another unit; a band has no value at all; a cut cannot be applied; something that is needed is not
        there.
    TableError
        It has no rows, or identifiers that are none or that several rows have.
    """
    choice = choose_columns(survey, table.schema.names, bands, table=table.location)
    # By the schema first, which costs no request: rows are read only where names, types and units fit.
    _require(choice, need, table)
    _check_types(table, choice)
    check_units(table.select(choice.columns), choice, table.location)
    sample = list(_sample(table, survey, bands, rows, positions="position" in need))
    # Over all parts of the sample, since one part's corner of the sky may lack a band that the others have.
    counts: Counter[str] = Counter()
    for found in sample:
        counts.update(found.counts)
    # Before the cuts are blamed: of no rows none is left either.
    if not counts["rows"]:
        raise TableError(f"{table.location} has no rows")
    if not counts["rows_out"]:
        raise ConfigError(f"{table.location}: none of the {counts['rows']} rows of a sample is left: {_tell(counts)}")
    warnings = _check_bands(table, choice, sample, counts)
    for warning in warnings:
        logger.warning(warning)
    return Checked(choice.bands, tuple(choice.columns), dict(counts), tuple(warnings))


def warn_of_scale(found: Converted, bands: Sequence[str], place: str) -> None:
    """Warn of bands whose fluxes are no galaxies', as those in another unit are.

    Parameters
    ----------
    found : Converted
    bands : sequence of str
    place : str
        Where the rows are from, for the message.
    """
    for band in bands:
        flux_N = found.table[f"flux_{band}"].to_numpy()
        if found.counts.get(f"implausible_{band}", 0) > np.isfinite(flux_N).sum():
            outside = f"outside {MAGNITUDES[0]:g} to {MAGNITUDES[1]:g} mag"
            logger.warning("%s: most values of band %s are %s and left out: is its unit right?", place, band, outside)
        elif odd := _find_odd(place, band, _find_median(flux_N)):
            logger.warning(odd)


def _find_odd(place: str, band: str, median: float | None) -> str:
    # A warning and no error: a sample of bright stars, or of very deep fields, is odd and may be meant.
    if median is None or _USUAL[0] <= median <= _USUAL[1]:
        return ""
    return f"{place}: the median magnitude of band {band} is {median:.1f}: is its unit right?"


def _require(choice: Choice, need: Sequence[Role], table: Table) -> None:
    for role in need:
        key, what = _NEEDS[role]
        if not getattr(choice.survey, key):
            raise ConfigError(f"{table.location}: no {what}, or name a table that has them")


def _check_types(table: Table, choice: Choice) -> None:
    wrong = []
    for column, setting in choice.columns.items():
        # Asked apart, since `select` refuses what is nested without the setting that named it.
        kind = table.select([column]).field(column).type if not _is_nested(table, column) else None
        if kind is None:
            wrong.append(f"{column} ({setting}) is nested, and one value a row is wanted")
        # A column that has no value at all has no type, and can be of numbers as well as of anything else.
        elif not _is_number_wanted(setting) or is_number(kind) or pa.types.is_null(kind):
            continue
        elif not (pa.types.is_boolean(kind) and setting == "z_quality"):
            found = quote_text(_read_first(table, column))
            wrong.append(f"{column} ({setting}) is {kind}, and numbers are wanted{found}")
    if wrong:
        raise ConfigError(
            f"{table.location}: {'; '.join(wrong)}: correct the table, or name other columns in survey "
            f"{choice.survey.name!r}"
        )
    for cut in choice.survey.cuts:
        # On no row, which shows whether its columns have types that it can be asked of.
        apply_cut(cut, {name: pa.array([], table.schema.field(name).type) for name in parse_cut(cut).columns})


def _read_first(table: Table, column: str) -> pa.Array:
    """Read a column of the first rows; of a table without rows none."""
    batch = next(table.read(table.parts[0], [column], 10_000), None) if table.parts else None
    return pa.array([], pa.null()) if batch is None else batch.column(0)


def _is_nested(table: Table, column: str) -> bool:
    return any(is_nested(table.schema.field(i).type) for i in table.schema.get_all_field_indices(column))


def _is_number_wanted(setting: str) -> bool:
    return not setting.startswith(("identifier", "tile", "cuts", "carry"))


def _sample(
    table: Table, survey: TableSurvey, bands: Sequence[str] | None, rows: int, *, positions: bool
) -> Iterator[Converted]:
    places = np.unique(np.linspace(0, len(table.parts) - 1, min(_SAMPLED_PARTS, len(table.parts))).round().astype(int))
    # The size of a batch, of which the first that has rows is the part's share of the sample.
    each = max(rows // max(len(places), 1), 1)
    for place in places:
        # Rows of a part that the cuts leave none of say nothing: the next batch may.
        part = table.parts[place]
        yield from _take_first(read_sources(table, part, survey, bands, positions=positions, rows=each))


def _take_first(batches: Iterator[Converted]) -> Iterator[Converted]:
    for found in islice(batches, _MOST_BATCHES):
        yield found
        if found.table.num_rows:
            return


def _check_bands(table: Table, choice: Choice, sample: list[Converted], counts: Counter[str]) -> list[str]:
    empty, warnings = [], []
    for band in choice.bands:
        flux_N, error_N = (
            np.concatenate([found.table[f"{name}_{band}"].to_numpy() for found in sample])
            for name in ("flux", "fluxerr")
        )
        median = _find_median(flux_N)
        # Of most values, whatever the sentinels among them say.
        if counts[f"implausible_{band}"] > np.isfinite(flux_N).sum() or (median or 0) > MAGNITUDES[1]:
            _refuse_scale(table, choice, band)
        if not np.isfinite(flux_N).any():
            empty.append(band)
        elif odd := _find_odd(table.location, band, median):
            warnings.append(odd)
        if said := describe_repeated_fluxes(flux_N, band, zeros=choice.photometry.kind == "flux"):
            warnings.append(f"{table.location}: in a sample {said}")
        if choice.photometry.error and band not in empty and not np.isfinite(error_N).any():
            warnings.append(f"{table.location}: no row of a sample has a usable error in band {band}")
    if empty:
        raise ConfigError(
            f"{table.location}: the bands {empty} have no value in any of {counts['rows_out']} rows of a sample: leave "
            "them out of the bands that are asked for"
        )
    return warnings


def _find_median(flux_N: npt.NDArray[Any]) -> float | None:
    """Return the magnitude of the median of the fluxes above 0 [nJy]; None where there is none."""
    bright_N = flux_N[flux_N > 0].astype(np.float64)
    return float(-2.5 * np.log10(np.median(bright_N) / MAGGY)) if len(bright_N) else None


def _refuse_scale(table: Table, choice: Choice, band: str) -> None:
    photometry = choice.photometry
    column = find_column(photometry.column, band, photometry.columns)
    limits = f"outside {MAGNITUDES[0]:g} to {MAGNITUDES[1]:g} mag"
    place = f"{table.location}: most values of column {column}, band {band}, are {limits}"
    if photometry.kind != "flux":
        raise ConfigError(f"{place}: are they fluxes? Set kind = 'flux' and its unit, or name another column")
    fitting = [repr(name) for name in _find_fitting_units(table, column)]
    remedy = f"as {' or '.join(fitting)} they are fluxes of galaxies: set unit to it" if fitting else "set its unit"
    raise ConfigError(f"{place} with unit = {photometry.unit!r}; {remedy}, or name another column")


def _find_fitting_units(table: Table, column: str) -> list[str]:
    """Find the units in which the values of a column are fluxes as surveys have them."""
    values_N = np.asarray(_read_first(table, column).cast(pa.float64(), safe=False).to_numpy(False))
    medians = {name: _find_median(values_N * factor) for name, factor in NJY_PER_UNIT.items()}
    return [name for name, median in medians.items() if median is not None and _USUAL[0] <= median <= _USUAL[1]]


def _tell(counts: Counter[str]) -> str:
    reasons = {"cut": "by survey.cuts", "no_identifier": "without identifier", "no_position": "without position"}
    return ", ".join(f"{counts[key]} {text}" for key, text in reasons.items() if counts[key])
