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
from astropy import units

from photoz.errors import ConfigError, TableError
from photoz.measured import MAGNITUDES
from photoz.photometry import MAGGY
from photoz.survey.units import parse_unit
from photoz.tables.base import Table
from photoz.tables.columns import Choice, choose_columns
from photoz.tables.convert import Converted, read_sources
from photoz.tables.cuts import apply_cut, parse_cut
from photoz.tables.fluxes import NJY_PER_UNIT
from photoz.tables.measure import find_flux_unit
from photoz.tables.settings import Photometry, Role, TableSurvey, find_column
from photoz.tables.types import is_nested, is_number, read_unit

logger = logging.getLogger(__name__)

_SAMPLED_PARTS = 8
"""Spread over the table: its first part may be a corner of the sky that lacks a band."""
_MOST_BATCHES = 20
"""Of a part, where the cuts leave nothing of those before."""
_USUAL = (14.0, 28.0)
"""[mag(AB)] Where the median of a survey's galaxies lies."""
_SAME_FACTOR = 1e-3
"""[relative] 3631 and 3630.78 Jy, both of which are called AB magnitude 0, are one unit."""
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
        What is wanted of it, whether the survey calls it optional or not.
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
    _check_units(table, choice)
    sample = list(_sample(table, survey, bands, rows))
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
            wrong.append(f"{column} ({setting}) is {kind}, and numbers are wanted")
    if wrong:
        raise ConfigError(f"{table.location}: {'; '.join(wrong)}: name other columns in survey {choice.survey.name!r}")
    for cut in choice.survey.cuts:
        # On no row, which shows whether its columns have types that it can be asked of.
        apply_cut(cut, {name: pa.array([], table.schema.field(name).type) for name in parse_cut(cut).columns})


def _is_nested(table: Table, column: str) -> bool:
    return any(is_nested(table.schema.field(i).type) for i in table.schema.get_all_field_indices(column))


def _is_number_wanted(setting: str) -> bool:
    return not setting.startswith(("identifier", "tile", "cuts", "carry"))


def _check_units(table: Table, choice: Choice) -> None:
    """Refuse a unit that the file states and that contradicts the survey's file; one that is unknown says nothing."""
    survey = choice.survey
    for band in choice.bands:
        _check_photometry_units(table, choice.photometry, band, "photometry")
    if survey.total is not None:
        _check_photometry_units(table, survey.total, survey.total_band, "total")
    for name in filter(None, (survey.ra, survey.dec)):
        _check_angle(table, survey, name)
    for column, setting in choice.columns.items():
        if setting.startswith("extinction"):
            found = _read_unit(table, column)
            if found is not None and not _is_magnitude(found) and found != units.dimensionless_unscaled:
                place = f"{table.location}: column {column} ({setting})"
                raise ConfigError(f"{place} is in {found}, which is no extinction: name another column")


def _check_photometry_units(table: Table, photometry: Photometry, band: str, where: str) -> None:
    column = find_column(photometry.column, band, photometry.columns)
    _check_unit(table, photometry, band, column, f"{where}.column", 1.0)
    error = find_column(photometry.error, band, photometry.errors)
    if error and photometry.error_kind != "snr":
        _check_unit(table, photometry, band, error, f"{where}.error", -2.0 if photometry.error_kind == "ivar" else 1.0)


def _check_unit(table: Table, photometry: Photometry, band: str, column: str, setting: str, power: float) -> None:
    found = _read_unit(table, column)
    # Many files state no unit, or none that means anything, of fluxes and of magnitudes alike.
    if found is None or found == units.dimensionless_unscaled:
        return
    place = f"{table.location}: column {column} ({setting}) is in {read_unit(table.schema.field(column))!r}"
    if photometry.kind != "flux":
        if not _is_magnitude(found if power == 1 else found ** (1 / power)):
            raise ConfigError(f"{place}, and magnitudes are wanted: set kind = 'flux' and its unit, or another column")
        # Of the systems only AB has a unit of its own; magnitudes on any other are plain mag.
        if photometry.unit == "Vega" and "AB" in str(found):
            raise ConfigError(f"{place}, and unit = 'Vega' says otherwise: set unit = 'AB', or name another column")
        return
    if _is_magnitude(found):
        raise ConfigError(f"{place}, and fluxes are wanted: set kind = 'mag', or name another column")
    factor = _find_factor(found ** (1 / power) if power != 1 else found)
    if factor is None:
        # Counts and the like are in whatever their zero point says.
        if photometry.unit != "counts":
            raise ConfigError(f"{place}, which is no unit of a flux density: name another column, or set its unit")
        return
    expected = find_flux_unit(photometry, band)
    if abs(factor / expected - 1) > _SAME_FACTOR:
        fitting = [name for name, value in NJY_PER_UNIT.items() if abs(value / factor - 1) <= _SAME_FACTOR]
        remedy = (
            f"set unit = {fitting[0]!r}" if fitting else "set unit = 'counts' and zeropoint, or name another column"
        )
        times = f"by a factor {factor / expected:g}"
        raise ConfigError(f"{place}, and unit = {photometry.unit!r} says otherwise, {times}: {remedy}")


def _read_unit(table: Table, column: str) -> units.UnitBase | None:
    text = read_unit(table.schema.field(column))
    # Plurals that astropy does not know.
    text = text.replace("maggies", "maggy")
    return parse_unit(text) if text else None


def _is_magnitude(unit: units.UnitBase) -> bool:
    return bool(getattr(unit, "function_unit", unit) == units.mag)


def _find_factor(unit: units.UnitBase) -> float | None:
    """Return how many nJy one of a unit is; None where it is no flux density."""
    # One after the other, since to astropy a maggy is no number of Jy.
    for known, factor in ((units.nJy, 1.0), (units.Unit("mgy"), MAGGY)):
        if unit.is_equivalent(known):
            return float(unit.to(known)) * factor
    return None


def _check_angle(table: Table, survey: TableSurvey, column: str) -> None:
    found = _read_unit(table, column)
    if found is None:
        return
    stated = read_unit(table.schema.field(column))
    # Files write h, a unit of time to astropy; of a right ascension it can be nothing but an angle.
    hours = column == survey.ra and found in (units.hourangle, units.hour)
    if not hours and not found.is_equivalent(units.deg):
        raise ConfigError(f"{table.location}: column {column} is in {stated!r}, which is no angle: name another column")
    wanted = survey.position_unit
    if wanted == "hourangle" and column == survey.dec:
        wanted = "deg"
    right = {"": True, "hourangle": hours, "deg": found == units.deg, "rad": found == units.rad}
    if not right[wanted]:
        raise ConfigError(
            f"{table.location}: column {column} is in {stated!r}, and survey.position_unit = {wanted!r} says "
            "otherwise: leave it out, and the file's unit counts"
        )


def _sample(table: Table, survey: TableSurvey, bands: Sequence[str] | None, rows: int) -> Iterator[Converted]:
    places = np.unique(np.linspace(0, len(table.parts) - 1, min(_SAMPLED_PARTS, len(table.parts))).round().astype(int))
    # The size of a batch, of which the first that has rows is the part's share of the sample.
    each = max(rows // max(len(places), 1), 1)
    for place in places:
        # Rows of a part that the cuts leave none of say nothing: the next batch may.
        yield from _take_first(read_sources(table, table.parts[place], survey, bands, rows=each))


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
        # A warning and no error: a sample of bright stars, or of very deep fields, is odd and may be meant.
        elif median is not None and not _USUAL[0] <= median <= _USUAL[1]:
            warnings.append(
                f"{table.location}: the median magnitude of band {band} is {median:.1f}: is its unit right?"
            )
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
    batch = next(table.read(table.parts[0], [column], 10_000), None)
    values_N = np.asarray(batch.column(0).cast(pa.float64(), safe=False).to_numpy(False)) if batch else np.empty(0)
    medians = {name: _find_median(values_N * factor) for name, factor in NJY_PER_UNIT.items()}
    return [name for name, median in medians.items() if median is not None and _USUAL[0] <= median <= _USUAL[1]]


def _tell(counts: Counter[str]) -> str:
    reasons = {"cut": "by survey.cuts", "no_identifier": "without identifier", "no_position": "without position"}
    return ", ".join(f"{counts[key]} {text}" for key, text in reasons.items() if counts[key])
