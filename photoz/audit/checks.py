"""Checks of a partition's rows: plain functions of tables, which yield what is wrong."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from hats.pixel_math.spatial_index import compute_spatial_index

from photoz.audit.columns import find_unequal_rows
from photoz.audit.findings import Finding, make_finding
from photoz.catalogue.hats import Partition
from photoz.catalogue.records import Record
from photoz.schema import HEALPIX_COLUMN, HEALPIX_ORDER, Flag, make_catalogue_schema

Problem = tuple[npt.NDArray[np.bool_], str]  # rows that have it, shape (N,), and what it is

PASSED_THROUGH = ("ra", "dec", "mag_auto", "tile")
"""Columns of the catalogue that are the sources' own, beside those that the survey has carried along."""
_COMPARED = ("object_id", *PASSED_THROUGH, "flags")
"""Of the columns that are read of the sources, those that are not carried along."""


def check_schema(
    partition: Partition, table: pa.Table, algorithm: str = "", carried: Sequence[pa.Field] = ()
) -> Iterator[Finding]:
    """Check columns, types and field metadata against `make_catalogue_schema`, and that no value is null.

    Parameters
    ----------
    partition : Partition
    table : pyarrow.Table
        Its rows.
    algorithm : str
        Estimator whose p(z) the catalogue holds; "" for none.
    carried : sequence of pyarrow.Field
        Columns of the sources that go with the rows.

    Yields
    ------
    Finding
    """
    schema = make_catalogue_schema(algorithm, carried)
    # With metadata: a column whose unit or description changed is read wrongly by those who trust them.
    if not table.schema.equals(schema, check_metadata=True):
        detail = f"columns, types, units or descriptions differ: {_describe_difference(table.schema, schema)}"
        yield make_finding("schema", partition.name, detail)
    # The catalogue says "none" by NaN, a flag or a code, so a null is damage; whole numbers with a null would become
    # floats in numpy.
    if nulls := count_nulls(table):
        yield make_finding("schema", partition.name, f"columns with null values: {nulls}")


def is_comparable(table: pa.Table, algorithm: str = "", carried: Sequence[pa.Field] = ()) -> bool:
    """Tell whether columns and types allow checks of the rows, whatever the units say."""
    # Without metadata here: wrong units are one finding, and must not keep lost rows from being found.
    return bool(table.schema.equals(make_catalogue_schema(algorithm, carried))) and not count_nulls(table)


def count_nulls(table: pa.Table) -> dict[str, int]:
    """Count null values by column, where there are any."""
    return {name: table[name].null_count for name in table.column_names if table[name].null_count}


@dataclass(frozen=True)
class Counted:
    """What completion records count too: rows, those with a finite z_phot, and those with each flag by its name."""

    rows: int
    estimated: int
    flags: Mapping[str, int]


def check_record(partition: Partition, counted: Counted, record: Record) -> Iterator[Finding]:
    """Compare what was counted in a file, by `count_values`, with its completion record.

    Parameters
    ----------
    partition : Partition
    counted : Counted
    record : Record

    Yields
    ------
    Finding
    """
    # The fields of `Counted` bear the names of the record's own.
    pairs = {name: (found, getattr(record, name)) for name, found in vars(counted).items()}
    wrong = {name: (found, recorded) for name, (found, recorded) in pairs.items() if found != recorded}
    if wrong:
        told = "; ".join(f"{key} {_differ(found, recorded)}" for key, (found, recorded) in wrong.items())
        yield make_finding("records", partition.name, f"file against record: {told}", count=len(wrong))


def check_positions(partition: Partition, table: pa.Table) -> Iterator[Finding]:
    """Check that _healpix_29 is what ra and dec say, lies in the file's pixel, and is sorted."""
    # The official validator of HATS passes swapped pixels, so positions are computed again here.
    healpix_N, ids = table[HEALPIX_COLUMN].to_numpy(), table["object_id"]
    computed_N = compute_healpix(table["ra"].to_numpy(), table["dec"].to_numpy())
    shift = 2 * (HEALPIX_ORDER - partition.order)
    # By either: of a row whose column or whose coordinates were damaged, the other may still lie in the pixel.
    outside_N = ((computed_N >> shift) != partition.pixel) | ((healpix_N >> shift) != partition.pixel)
    checks = (
        ("positions", computed_N != healpix_N, "rows have another _healpix_29 than their ra and dec say"),
        ("pixels", outside_N, "rows do not lie in this pixel"),
        # `prepend` gives the first row a difference of 0, so that the mask has a place for each row.
        ("order", np.diff(healpix_N, prepend=healpix_N[:1]) < 0, "rows come after one of higher _healpix_29"),
    )
    for check, wrong_N, problem in checks:
        if wrong_N.any():
            chosen, count = ids.filter(pa.array(wrong_N)).to_pylist(), int(wrong_N.sum())
            yield make_finding(check, partition.name, f"{count} {problem}", count=count, ids=chosen)


def compute_healpix(ra_N: npt.NDArray[np.float64], dec_N: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Compute _healpix_29 as ingest does, from ra and dec [deg], shape (N,); -1 where they are no position."""
    # No pixel is -1, so a row whose ra or dec is damaged is found as misplaced, and `hats` is not asked for a position
    # that does not exist.
    healpix_N = np.full(len(ra_N), -1, dtype=np.int64)
    valid_N = np.isfinite(ra_N) & (np.abs(dec_N) <= 90.0)
    healpix_N[valid_N] = compute_spatial_index(ra_N[valid_N], dec_N[valid_N])
    return healpix_N


def check_flags(partition: Partition, table: pa.Table) -> Iterator[Finding]:
    """Check that z_phot is NaN exactly where ESTIMATE_FAILED is set, and that every bit is a known flag."""
    z_N, flags_N = table["z_phot"].to_numpy(), table["flags"].to_numpy()
    failed_N = (flags_N & Flag.ESTIMATE_FAILED) != 0
    problems = (
        (np.isnan(z_N) & ~failed_N, "rows have z_phot NaN without ESTIMATE_FAILED"),
        (~np.isnan(z_N) & failed_N, "rows have ESTIMATE_FAILED and a z_phot"),
        (np.isinf(z_N), "rows have an infinite z_phot"),
        # Bits of a later version, or damage: either way this version cannot say what they mean.
        ((flags_N & ~np.int32(sum(Flag))) != 0, "rows have flag bits that no flag stands for"),
    )
    yield from _report_rows("flags", partition, table, problems)


def check_sources(partition: Partition, table: pa.Table, sources: pa.Table) -> Iterator[Finding]:
    """Compare a partition's rows with those of the same source partition.

    Parameters
    ----------
    partition : Partition
    table, sources : pyarrow.Table
        Rows in any order; of the sources, ``object_id``, `PASSED_THROUGH` and ``flags``.

    Yields
    ------
    Finding
    """
    if len(table) != len(sources):
        detail = f"{len(table)} rows for {len(sources)} sources"
        yield make_finding("rows", partition.name, detail, count=abs(len(table) - len(sources)))
    passed = [*PASSED_THROUGH, *(name for name in sources.column_names if name not in _COMPARED)]
    changed = find_unequal_rows(table, sources, passed)
    if changed:
        detail = f"{len(changed)} rows differ from their sources in one of {', '.join(passed)}"
        yield make_finding("columns", partition.name, detail, count=len(changed), ids=changed)
    # Inference only adds bits: what ingest found wrong with a source stays true of its estimate.
    lost = find_unequal_rows(_keep_bits(table, sources), sources, ("flags",))
    if lost:
        detail = f"{len(lost)} rows lack a flag that their source has"
        yield make_finding("flags", partition.name, detail, count=len(lost), ids=lost)


def count_values(table: pa.Table) -> Counted:
    """Count what a completion record counts."""
    flags_N = table["flags"].to_numpy()
    return Counted(
        rows=len(table),
        estimated=int(np.isfinite(table["z_phot"].to_numpy()).sum()),
        # Also flags that no row has: the record lists them all, and both are compared as a whole.
        flags={str(flag.name): int(((flags_N & flag) != 0).sum()) for flag in Flag},
    )


def _keep_bits(table: pa.Table, sources: pa.Table) -> pa.Table:
    """Return the rows' flags without the bits that their sources lack."""
    order = pc.index_in(table["object_id"], value_set=sources["object_id"].combine_chunks())
    # An id that the source partition lacks has no bits to keep; the check of ids reports it.
    of_source = pc.fill_null(sources["flags"].take(order), 0)
    kept = pc.bit_wise_and(table["flags"], of_source)
    return pa.table({"object_id": table["object_id"], "flags": kept})


def _describe_difference(found: pa.Schema, expected: pa.Schema) -> str:
    missing, extra = [sorted(set(a.names) - set(b.names)) for a, b in ((expected, found), (found, expected))]
    shared = [name for name in expected.names if name in found.names]
    changed = [name for name in shared if not found.field(name).equals(expected.field(name), check_metadata=True)]
    # Only where nothing else differs: with a column missing or in excess every place after it is another.
    if not missing and not extra and not changed:
        return f"the columns stand in another order: {found.names}, and not {expected.names}"
    return f"missing {missing}, extra {extra}, changed {changed}"


def _report_rows(check: str, partition: Partition, table: pa.Table, problems: Iterable[Problem]) -> Iterator[Finding]:
    for wrong_N, problem in problems:
        if wrong_N.any():
            ids, count = table["object_id"].filter(pa.array(wrong_N)).to_pylist(), int(wrong_N.sum())
            yield make_finding(check, partition.name, f"{count} {problem}", count=count, ids=ids)


def _differ(found: Any, recorded: Any) -> str:
    if not isinstance(found, dict) or not isinstance(recorded, dict):
        return f"{found}, recorded {recorded}"
    changed = {key: (found.get(key, 0), recorded.get(key, 0)) for key in {*found, *recorded}}
    return ", ".join(f"{key} {a}, recorded {b}" for key, (a, b) in sorted(changed.items()) if a != b)
