"""Checks of a partition's p(z): stored quantiles, the figures beside them, and the flag for the training sample."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from photoz.audit.columns import flatten_lists
from photoz.audit.findings import Finding, make_finding
from photoz.catalogue.hats import Partition
from photoz.pdf.quantiles import MISSING, decode_quantiles
from photoz.schema import LEVELS, PDF_COLUMNS, QUANTILES, Flag

_LIMITS = {"z_median": 0.5, "z_err68_low": 0.16, "z_err68_high": 0.84, "z_err95_low": 0.025, "z_err95_high": 0.975}
_NOT_OF_PDF = ("z_std_model", "training_distance")  # an estimator may have none of them

Found = Iterator[tuple[npt.NDArray[np.bool_], str]]


def check_densities(partition: Partition, table: pa.Table, algorithm: str) -> Iterator[Finding]:
    """Check the columns of p(z) of rows whose schema is right; yields nothing for a catalogue without p(z)."""
    if not algorithm:
        return
    codes_NQ = flatten_lists(table[f"{algorithm}_{QUANTILES}"])
    values = {name: table[f"{algorithm}_{name}"].to_numpy() for name in PDF_COLUMNS}
    lost_N, flags_N = np.isnan(table["z_phot"].to_numpy()), table["flags"].to_numpy()
    problems = [
        *_check_quantiles(codes_NQ, lost_N),
        *_check_figures(codes_NQ, values, lost_N),
        *_check_distance(values["training_distance"], flags_N),
    ]
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
    falls_N = (np.diff(codes_NQ.astype(np.int32), axis=1) < 0).any(axis=1)
    yield falls_N & ~some_N, "have quantiles that fall"


def _check_figures(
    codes_NQ: npt.NDArray[np.uint16], values: dict[str, npt.NDArray[np.float32]], lost_N: npt.NDArray[np.bool_]
) -> Found:
    quantiles_NQ = decode_quantiles(codes_NQ).astype(np.float32)
    for name, level in _LIMITS.items():
        yield _differ(values[name], quantiles_NQ[:, LEVELS.index(level)]), f"have another {name} than their quantiles"
    for name in PDF_COLUMNS:
        if name not in _NOT_OF_PDF:
            yield np.isfinite(values[name]) == lost_N, f"have {name} without z_phot, or z_phot without it"
    yield (values["odds"] < 0) | (values["odds"] > 1), "have odds outside 0 to 1"
    yield values["z_std_model"] < 0, "have a negative z_std_model"


def _check_distance(distance_N: npt.NDArray[np.float32], flags_N: npt.NDArray[np.int32]) -> Found:
    flagged_N = (flags_N & Flag.OUTSIDE_TRAINING) != 0
    yield flagged_N & ~(distance_N > 1), "have OUTSIDE_TRAINING and a training_distance that is not above 1"
    yield ~flagged_N & (distance_N > 1), "have a training_distance above 1 and not OUTSIDE_TRAINING"
    yield (distance_N < 0) | np.isinf(distance_N), "have a training_distance that is negative or infinite"


def _differ(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    differs_N: npt.NDArray[np.bool_] = (first != second) & ~(np.isnan(first) & np.isnan(second))
    return differs_N
