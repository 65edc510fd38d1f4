"""Checks of a partition's p(z): stored quantiles, the figures beside them, and the flag for the training sample."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from photoz.audit.findings import Finding, make_finding
from photoz.catalogue.hats import Partition
from photoz.catalogue.quantiles import find_odd_lists, unpack_codes
from photoz.pdf.quantiles import MISSING, combine_quantiles, decode_quantiles
from photoz.schema import LEVELS, PDF_COLUMNS, QUANTILES, Flag

Problem = tuple[npt.NDArray[np.bool_], str]  # rows that have it, shape (N,), and what it is
Found = Iterator[Problem]


def check_densities(partition: Partition, table: pa.Table, algorithm: str) -> Iterator[Finding]:
    """Check the columns of p(z), as `photoz.schema.PDF_COLUMNS` says they must be.

    Parameters
    ----------
    partition : Partition
    table : pyarrow.Table
        Its rows, whose schema is right.
    algorithm : str
        Estimator whose p(z) it is; "" for a catalogue without, which passes.

    Yields
    ------
    Finding
    """
    if not algorithm:
        return
    stored = f"{algorithm}_{QUANTILES}"
    odd_N = find_odd_lists(table[stored])
    yield from _report(partition, table, [(odd_N, f"have other than {len(LEVELS)} quantiles")])
    # Of the others alone: what follows compares each row's with those of the levels.
    table = table.filter(pa.array(~odd_N)) if odd_N.any() else table
    # The stored codes, not redshifts: whole numbers are equal or not.
    codes_NQ = unpack_codes(table[stored])
    values = {name: table[f"{algorithm}_{name}"].to_numpy() for name in PDF_COLUMNS}
    lost_N, flags_N = np.isnan(table["z_phot"].to_numpy()), table["flags"].to_numpy()
    problems = [
        *_check_quantiles(codes_NQ, lost_N),
        *_check_figures(codes_NQ, values, lost_N),
        *_check_distance(values["training_distance"], flags_N),
    ]
    yield from _report(partition, table, problems)


def _report(partition: Partition, table: pa.Table, problems: Iterable[Problem]) -> Iterator[Finding]:
    for wrong_N, problem in problems:
        if wrong_N.any():
            ids, count = table["object_id"].filter(pa.array(wrong_N)).to_pylist(), int(wrong_N.sum())
            yield make_finding("p(z)", partition.name, f"{count} rows {problem}", count=count, ids=ids)


def _check_quantiles(codes_NQ: npt.NDArray[np.uint16], lost_N: npt.NDArray[np.bool_]) -> Found:
    missing_NQ = codes_NQ == MISSING
    some_N, all_N = missing_NQ.any(axis=1), missing_NQ.all(axis=1)
    yield some_N & ~all_N, "lack some of their quantiles"
    yield some_N & ~lost_N, "have a z_phot and no quantiles"
    yield ~all_N & lost_N, "have quantiles and no z_phot"
    # Signed first: a difference of uint16 that falls wraps around to a large number, and nothing would ever fall.
    falls_N = (np.diff(codes_NQ.astype(np.int32), axis=1) < 0).any(axis=1)
    yield falls_N & ~some_N, "have quantiles that fall"


def _check_figures(
    codes_NQ: npt.NDArray[np.uint16], values: dict[str, npt.NDArray[np.float32]], lost_N: npt.NDArray[np.bool_]
) -> Found:
    # Computed by the function that inference writes with, so that equality to the last bit can be asked for.
    quantiles_NQ = decode_quantiles(codes_NQ)
    for name, column in PDF_COLUMNS.items():
        if column.source == "quantiles":
            expected_N = combine_quantiles(quantiles_NQ, column.terms)
            yield _differ(values[name], expected_N), f"have another {name} than their quantiles"
        if column.source != "estimator":  # which may have none
            yield np.isfinite(values[name]) == lost_N, f"have {name} without z_phot, or z_phot without it"
        # NaN is in no range and outside none: whether it may be missing is asked above.
        outside_N = (values[name] < column.least) | (values[name] > column.most)
        limits = (
            f"outside {column.least:g} to {column.most:g}" if np.isfinite(column.most) else f"below {column.least:g}"
        )
        yield outside_N, f"have {name} {limits}"


def _check_distance(distance_N: npt.NDArray[np.float32], flags_N: npt.NDArray[np.int32]) -> Found:
    flagged_N = (flags_N & Flag.OUTSIDE_TRAINING) != 0
    # Not `<= 1`: a flag beside a distance of NaN is wrong too.
    yield flagged_N & ~(distance_N > 1), "have OUTSIDE_TRAINING and a training_distance that is not above 1"
    yield ~flagged_N & (distance_N > 1), "have a training_distance above 1 and not OUTSIDE_TRAINING"
    # NaN is how an estimator says that nothing was measured; infinity comes from no estimator that works.
    yield np.isinf(distance_N), "have an infinite training_distance"


def _differ(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    # NaN differs from itself, but here says the same on both sides.
    differs_N: npt.NDArray[np.bool_] = (first != second) & ~(np.isnan(first) & np.isnan(second))
    return differs_N
