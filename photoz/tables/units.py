"""Units that a table states of its columns, held against what its survey's file says they are."""

import re
from dataclasses import dataclass

import pyarrow as pa
from astropy import units

from photoz.errors import ConfigError
from photoz.photometry import MAGGY
from photoz.survey.units import parse_unit
from photoz.tables.columns import Choice
from photoz.tables.fluxes import NJY_PER_UNIT
from photoz.tables.measure import find_flux_unit
from photoz.tables.settings import Photometry, TableSurvey, find_column
from photoz.tables.types import read_unit

_SAME_FACTOR = 1e-3
"""[relative] 3631 and 3630.78 Jy, both of which are called AB magnitude 0, are one unit."""
_OTHER_UNIT = "set unit = 'counts' and zeropoint in the survey's file, or name another column"
_SYSTEM = re.compile(r"(?<![A-Za-z])(AB|ST|[Vv]ega)(?=[Mm]ag|[^A-Za-z]|$)")
"""Of magnitudes: as in mag(AB), ABmag, "AB mag", "Vega"."""


@dataclass(frozen=True)
class _Stated:
    """Columns with the units that they state, and the table's name for messages."""

    schema: pa.Schema
    place: str


def check_units(schema: pa.Schema, choice: Choice, place: str) -> None:
    """Refuse a unit that a table states and that contradicts its survey's file; one that is unknown says nothing.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the columns that are read; a field's metadata may state its ``unit``.
    choice : Choice
    place : str
        Names the table, for messages.

    Raises
    ------
    ConfigError
        With the setting and the remedy.
    """
    survey, table = choice.survey, _Stated(schema, place)
    # Before each is held against the survey's unit, to which not all of them can be set.
    if choice.bands:
        _refuse_mixed(table, choice)
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
                place = f"{table.place}: column {column} ({setting})"
                raise ConfigError(f"{place} is in {found}, which is no extinction: name another column")


def _check_photometry_units(table: _Stated, photometry: Photometry, band: str, where: str) -> None:
    column = find_column(photometry.column, band, photometry.columns)
    _check_unit(table, photometry, band, column, f"{where}.column", 1.0)
    error = find_column(photometry.error, band, photometry.errors)
    if error and photometry.error_kind != "snr":
        _check_unit(table, photometry, band, error, f"{where}.error", -2.0 if photometry.error_kind == "ivar" else 1.0)


def _check_unit(table: _Stated, photometry: Photometry, band: str, column: str, setting: str, power: float) -> None:
    if photometry.kind != "flux":
        _check_system(table, photometry, column, setting)
    found = _read_unit(table, column)
    # Many files state no unit, or none that means anything, of fluxes and of magnitudes alike.
    if found is None or found == units.dimensionless_unscaled:
        return
    place = f"{table.place}: column {column} ({setting}) is in {read_unit(table.schema.field(column))!r}"
    if photometry.kind != "flux":
        _require_magnitude(found if power == 1 else found ** (1 / power), place)
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
        remedy = f"set unit = {fitting[0]!r} in the survey's file" if fitting else _OTHER_UNIT
        times = f"by a factor {factor / expected:g}"
        raise ConfigError(f"{place}, and unit = {photometry.unit!r} says otherwise, {times}: {remedy}")


def _require_magnitude(unit: units.UnitBase, place: str) -> None:
    if _is_magnitude(unit):
        return
    # As mmag is, a thousandth of one; of dex, to which astropy knows a factor, too, nobody knows the zero point.
    if unit.is_equivalent(units.mag) and unit.to(units.mag) > 0:
        raise ConfigError(f"{place}, and magnitudes are wanted: multiply it by {unit.to(units.mag):g} in the table")
    raise ConfigError(f"{place}, and magnitudes are wanted: set kind = 'flux' and its unit, or another column")


def _refuse_mixed(table: _Stated, choice: Choice) -> None:
    """Refuse fluxes of which one band states another unit than the next: a survey's file names one for all."""
    photometry = choice.photometry
    if photometry.unit == "counts":  # of which each band may have a zero point of its own
        return
    columns = [find_column(photometry.column, band, photometry.columns) for band in choice.bands]
    found = {column: unit for column in columns if (unit := _read_unit(table, column)) is not None}
    factors = {column: factor for column, unit in found.items() if (factor := _find_factor(unit)) is not None}
    if photometry.kind == "flux" and max(factors.values(), default=1) > (1 + _SAME_FACTOR) * min(
        factors.values(), default=1
    ):
        told = ", ".join(f"{column} in {read_unit(table.schema.field(column))!r}" for column in factors)
        raise ConfigError(f"{table.place} has fluxes in several units ({told}): convert them to one in the table")


def _check_system(table: _Stated, photometry: Photometry, column: str, setting: str) -> None:
    """Refuse magnitudes of another system than the survey's file says, where the table names one."""
    # By the text, since of the systems astropy knows no unit of Vega's.
    text = read_unit(table.schema.field(column))
    named = _SYSTEM.search(text)
    if named is None or named[1].upper() == photometry.unit.upper():
        return
    remedy = f"set unit = {named[1]!r}" if named[1] in ("AB", "Vega") else "convert it to AB"
    raise ConfigError(
        f"{table.place}: column {column} ({setting}) is in {text!r}, and unit = {photometry.unit!r} says otherwise: "
        f"{remedy}, or name another column"
    )


def _read_unit(table: _Stated, column: str) -> units.UnitBase | None:
    text = read_unit(table.schema.field(column))
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


def _check_angle(table: _Stated, survey: TableSurvey, column: str) -> None:
    found = _read_unit(table, column)
    if found is None:
        return
    stated = read_unit(table.schema.field(column))
    # Files write h, a unit of time to astropy; of a right ascension it can be nothing but an angle.
    hours = column == survey.ra and found in (units.hourangle, units.hour)
    if not hours and not found.is_equivalent(units.deg):
        raise ConfigError(f"{table.place}: column {column} is in {stated!r}, which is no angle: name another column")
    wanted = survey.position_unit
    if wanted == "hourangle" and column == survey.dec:
        wanted = "deg"
    right = {"": True, "hourangle": hours, "deg": found == units.deg, "rad": found == units.rad}
    if not right[wanted]:
        raise ConfigError(
            f"{table.place}: column {column} is in {stated!r}, and survey.position_unit = {wanted!r} says "
            "otherwise: leave it out, and the file's unit counts"
        )
