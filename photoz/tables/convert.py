"""Batches of a table to rows of sources: identifiers, positions, fluxes in nJy and flags, as a survey's file says."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from photoz.errors import ConfigError, TableError
from photoz.measured import Mask, flag_bands
from photoz.photometry import Array, derive_magnitudes
from photoz.schema import make_field
from photoz.survey.positions import find_positions, wrap_ra
from photoz.survey.systems import require_icrs
from photoz.survey.units import convert_to_degrees
from photoz.tables.base import Table, TablePart
from photoz.tables.columns import Choice, choose_columns
from photoz.tables.cuts import apply_cut, parse_cut
from photoz.tables.identifiers import REPEATED_REMEDY, SeenIdentifiers, count_duplicates, join_identifiers
from photoz.tables.masks import hide_masked, select_masks
from photoz.tables.measure import measure_band
from photoz.tables.open import open_table
from photoz.tables.settings import TableSurvey
from photoz.tables.text import quote_text, read_as_numbers
from photoz.tables.types import decode_values, is_nested, is_number, make_column, read_unit, simplify_type
from photoz.tables.units import check_units


@dataclass(frozen=True, eq=False)
class Converted:
    """Rows of sources, and what became of the table's.

    Parameters
    ----------
    table : pyarrow.Table
        ``object_id``, null where the survey was given no identifier; ``ra``, ``dec`` [deg], ``tile``, ``mag_auto``,
        ``magerr_auto`` [mag(AB)] where the survey has them; ``flux_<b>``, ``fluxerr_<b>`` [nJy] of each band, and
        ``flags`` where there is one; ``z_spec`` where the survey has it; carried columns.
    counts : dict of str to int
        ``rows`` of the table and ``rows_out``; rows set aside by the first reason that holds: ``cut``,
        ``no_identifier``, ``no_position``; ``duplicates``, which stay. By band, of the rows that stay:
        ``not_detected_<b>``, ``not_observed_<b>``, ``implausible_<b>``, ``bad_error_<b>``, ``bad_extinction_<b>``;
        ``no_redshift``, ``low_quality`` and ``redshift_out_of_range`` of redshifts that became NaN.
    """

    table: pa.Table
    counts: dict[str, int] = field(default_factory=dict)


def open_survey_table(location: str, survey: TableSurvey) -> Table:
    """Open a survey's table: as `photoz.tables.open_table`, with what the survey says of its files."""
    return open_table(location, hdu=survey.hdu, text=survey.identifiers)


def read_sources(
    table: Table,
    part: TablePart,
    survey: TableSurvey,
    bands: Sequence[str] | None = None,
    *,
    positions: bool = False,
    rows: int = 65_536,
) -> Iterator[Converted]:
    """Read a part of a table as rows of sources, batch by batch.

    Parameters
    ----------
    table : Table
        From `open_survey_table`.
    part : TablePart
    survey : TableSurvey
    bands, positions
        As `convert` takes them.
    rows : int
        At most so many in a batch.

    Yields
    ------
    Converted
        The rows of one batch, which may be none; duplicates are counted over the part.

    Raises
    ------
    ConfigError, TableError
        As `convert`, `Table.read` and `choose_columns`.
    SurveyFileError
        The table says that its positions are in another frame than ICRS.
    """
    # For the part and not for each batch: patterns and cuts are gone through once.
    choice = choose_columns(survey, table.schema.names, bands, table=table.location)
    # Of a table whose columns were never looked at, too, as of one that a notebook names.
    check_units(table.select(choice.columns), choice, table.location)
    for column in filter(None, (choice.survey.ra, choice.survey.dec)):
        require_icrs(table.frames.get(column, table.frames.get("", "")), table.location)
    table = read_as_numbers(table, choice.numbers)
    # Over the part and no farther: other parts are read by other workers.
    seen = SeenIdentifiers()
    for batch in table.read(part, list(choice.columns), rows):
        found = _convert(pa.Table.from_batches([batch]), choice, positions)
        again = seen.find(found.table["object_id"]) if survey.identifiers else []
        if again and survey.duplicates == "refuse":
            _refuse_duplicates(len(again), f"{part.name} ({again[0]!r} first)")
        yield Converted(found.table, found.counts | {"duplicates": len(again)})


def convert(
    batch: pa.RecordBatch | pa.Table,
    survey: TableSurvey,
    bands: Sequence[str] | None = None,
    *,
    positions: bool = False,
    nameless: bool = False,
) -> Converted:
    """Turn rows of a survey's table into rows of sources.

    Parameters
    ----------
    batch : pyarrow.RecordBatch or pyarrow.Table
        With the columns that the survey names; others are not looked at. A field's metadata may state its ``unit``.
    survey : TableSurvey
    bands : sequence of str, optional
        These only, in this order; else all of the survey.
    positions : bool
        Whether a row without a position is set aside; else its ra and dec are NaN.
    nameless : bool
        Whether a row without an identifier stays; its ``object_id`` is null.

    Returns
    -------
    Converted
        Rows in the table's order. Fluxes are AB, corrected for extinction where the survey says how, and NaN where the
        band was not observed or what stands there is no measurement; negative fluxes are data; errors are NaN where
        they are not known.

    Raises
    ------
    ConfigError
        A column is missing, of a type that it cannot have or in another unit than the survey's file says, a cut cannot
        be applied, or positions are wanted and the survey has none.
    TableError
        Identifiers are none, two rows have the same and the survey refuses that, or two columns have one name.
    """
    table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
    choice = choose_columns(survey, table.schema.names, bands)
    if doubled := [name for name in choice.columns if len(table.schema.get_all_field_indices(name)) > 1]:
        raise TableError(f"the table has several columns of the name {doubled[0]!r}: rename all but one")
    table = table.select(list(dict.fromkeys([*choice.columns, *select_masks(list(choice.columns), table.schema)])))
    check_units(table.schema, choice, "the table")
    found = _convert(table, choice, positions, nameless=nameless)
    again = count_duplicates(found.table["object_id"]) if survey.identifiers else 0
    if again and survey.duplicates == "refuse":
        _refuse_duplicates(again, "the table")
    return Converted(found.table, found.counts | {"duplicates": again})


def _refuse_duplicates(count: int, where: str) -> None:
    raise TableError(f"{where}: {count} rows have the identifier of another row: {REPEATED_REMEDY}")


def _convert(table: pa.Table, choice: Choice, positions: bool, *, nameless: bool = False) -> Converted:
    survey, counts = choice.survey, Counter(rows=table.num_rows)
    if positions and not survey.ra:
        raise ConfigError(f"survey {survey.name!r} names no position, which is wanted: set survey.ra and survey.dec")
    table = hide_masked(_combine(table), list(choice.columns))
    # Cuts first: of what a survey throws away neither identifier nor position need make sense.
    table = _keep(table, _apply_cuts(table, survey), "cut", counts)
    if survey.identifiers:
        object_id = join_identifiers([(name, _column(table, name)) for name in survey.identifiers])
        named_N = np.asarray(pc.is_valid(object_id)) | nameless
    else:
        object_id, named_N = pa.nulls(table.num_rows, pa.string()), np.ones(table.num_rows, bool)
    table, object_id = _keep(table, named_N, "no_identifier", counts), object_id.filter(pa.array(named_N))
    ra_N, dec_N, placed_N = _read_positions(table, survey)
    if positions:
        table, object_id = _keep(table, placed_N, "no_position", counts), object_id.filter(pa.array(placed_N))
        ra_N, dec_N = ra_N[placed_N], dec_N[placed_N]
    column = _make("object_id", pa.string(), "", "identifier given by the survey")
    columns: list[tuple[pa.Field, Any]] = [(column, object_id)]
    if survey.ra:
        columns.append((_make("ra", pa.float64(), "deg", "right ascension, ICRS"), ra_N))
        columns.append((_make("dec", pa.float64(), "deg", "declination, ICRS"), dec_N))
    read = _make_reader(table)
    columns += _make_tile(table, survey) + _make_total(read, survey) + _make_fluxes(read, choice, counts)
    columns += _make_redshifts(read, survey, counts)
    columns += [_carry(table, name) for name in survey.carry]
    counts["rows_out"] = table.num_rows
    arrays = [pa.array(values, column.type) if isinstance(values, np.ndarray) else values for column, values in columns]
    return Converted(pa.table(arrays, schema=pa.schema([column for column, _ in columns])), dict(counts))


def _make(name: str, kind: pa.DataType, unit: str, description: str) -> pa.Field:
    return make_field(name, kind, unit=unit, description=description)


def _combine(table: pa.Table) -> pa.Table:
    """Give each column one chunk of a plain type."""
    fields = []
    for each in table.schema:
        if is_nested(each.type):
            raise ConfigError(f"column {each.name} is nested ({each.type}): one value a row can be used or carried")
        fields.append(make_column(each.name, simplify_type(each.type), read_unit(each)))
        values = table.column(each.name)
        if (decoded := decode_values(values)) is not values:
            table = table.set_column(len(fields) - 1, each.name, decoded)
    return table.cast(pa.schema(fields)).combine_chunks()


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    # A table without rows may have no chunk at all.
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _keep(table: pa.Table, rows_N: Mask, reason: str, counts: Counter[str]) -> pa.Table:
    lost = int((~rows_N).sum())
    counts[reason] += lost
    # Combined anew: a filter may leave several chunks, and `_column` takes the first for all.
    return _combine(table.filter(pa.array(rows_N))) if lost else table


def _apply_cuts(table: pa.Table, survey: TableSurvey) -> Mask:
    keep_N: Mask = np.ones(table.num_rows, bool)
    for cut in survey.cuts:
        columns = {name: _column(table, name) for name in parse_cut(cut).columns}
        keep_N &= np.asarray(apply_cut(cut, columns))
    return keep_N


def _make_reader(table: pa.Table) -> Callable[[str], Array]:
    def read(name: str) -> Array:
        column = _column(table, name)
        if not (is_number(column.type) or pa.types.is_boolean(column.type) or pa.types.is_null(column.type)):
            raise ConfigError(
                f"column {name} is {column.type}, and numbers are wanted{quote_text(column)}: correct the table, or "
                "name another column"
            )
        # Nulls are NaN. A whole number beyond 2^53 may round: it is no identifier here.
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)

    return read


def _read_positions(table: pa.Table, survey: TableSurvey) -> tuple[Array, Array, Mask]:
    """Read positions [deg], NaN where there is none, and which rows have one."""
    if not survey.ra:
        return np.empty(0), np.empty(0), np.zeros(table.num_rows, bool)
    read = _make_reader(table)
    ra_N, dec_N = (
        convert_to_degrees(read(name), _find_angle_unit(table, survey, name), column=name, hours=name == survey.ra)
        for name in (survey.ra, survey.dec)
    )
    placed_N = find_positions(ra_N, dec_N)
    with np.errstate(invalid="ignore"):
        return np.where(placed_N, wrap_ra(ra_N), np.nan), np.where(placed_N, dec_N, np.nan), placed_N


def _find_angle_unit(table: pa.Table, survey: TableSurvey, name: str) -> str:
    # Of right ascension alone: declination beside it is in degrees, whatever the file calls it.
    if survey.position_unit == "hourangle":
        return "hourangle" if name == survey.ra else "deg"
    return survey.position_unit or read_unit(table.schema.field(name))


def _make_tile(table: pa.Table, survey: TableSurvey) -> list[tuple[pa.Field, Any]]:
    if not survey.tile:
        return []
    column = _make("tile", pa.string(), "", "survey tile whose images hold this source")
    return [(column, pc.fill_null(_column(table, survey.tile).cast(pa.string()), ""))]


def _make_total(read: Callable[[str], Array], survey: TableSurvey) -> list[tuple[pa.Field, Any]]:
    if survey.total is None:
        return []
    found = measure_band(read, survey.total, survey.total_band, survey.extinction)
    total = derive_magnitudes(found.flux_N, found.error_N)
    name = f"total {survey.total_band} magnitude"
    return [
        (_make("mag_auto", pa.float32(), "mag(AB)", name), total.magnitudes_NF.astype(np.float32)),
        (_make("magerr_auto", pa.float32(), "mag", "1-sigma error of mag_auto"), total.errors_NF.astype(np.float32)),
    ]


def _make_fluxes(
    read: Callable[[str], Array], choice: Choice, counts: Counter[str]
) -> list[tuple[pa.Field, npt.NDArray[Any]]]:
    columns: list[tuple[pa.Field, npt.NDArray[Any]]] = []
    fluxes, errors = [], []
    for band in choice.bands:
        found = measure_band(read, choice.photometry, band, choice.survey.extinction)
        counts.update({f"{name}_{band}": count for name, count in found.counts.items()})
        flux_N, error_N = found.flux_N.astype(np.float32), found.error_N.astype(np.float32)
        # An error of 1e-50 is 0 as float32, which no error is.
        error_N[error_N <= 0] = np.nan
        fluxes.append(flux_N)
        errors.append(error_N)
        columns.append((_make(f"flux_{band}", pa.float32(), "nJy", f"{band} flux, AB, dereddened"), flux_N))
        columns.append((_make(f"fluxerr_{band}", pa.float32(), "nJy", f"1-sigma error of flux_{band}"), error_N))
    # Of a table that is read for its redshifts alone.
    if not choice.bands:
        return []
    flags_N = flag_bands(fluxes, errors)
    return [*columns, (_make("flags", pa.int32(), "", "bits of photoz.schema.Flag"), flags_N)]


def _make_redshifts(
    read: Callable[[str], Array], survey: TableSurvey, counts: Counter[str]
) -> list[tuple[pa.Field, npt.NDArray[Any]]]:
    if not survey.z_spec:
        return []
    z_N = read(survey.z_spec)
    known_N = np.isfinite(z_N)
    good_N = np.ones(len(z_N), bool)
    if survey.z_quality:
        good_N = read(survey.z_quality) >= survey.z_quality_least  # NaN is not
    within_N = (z_N >= survey.z_min) & (z_N <= survey.z_max)
    # Each redshift that is lost counts once, by the first of the three reasons that holds.
    counts["no_redshift"] += int((~known_N).sum())
    counts["low_quality"] += int((known_N & ~good_N).sum())
    counts["redshift_out_of_range"] += int((known_N & good_N & ~within_N).sum())
    kept_N = np.where(known_N & good_N & within_N, z_N, np.nan)
    return [(_make("z_spec", pa.float32(), "", "spectroscopic redshift"), kept_N.astype(np.float32))]


def _carry(table: pa.Table, name: str) -> tuple[pa.Field, pa.Array]:
    column = table.schema.field(name)
    made = _make(name, column.type, read_unit(column), "as the survey's table has it")
    return made, _column(table, name)
