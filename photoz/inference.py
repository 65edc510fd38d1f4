"""The parts of the spine: rows of the source catalogue -> their cutouts -> their redshifts, in one process.

`cluster.inference.stages` puts a partition through them, on whichever engine.
"""

import ctypes
import logging
import sys
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from photoz.catalogue.quantiles import pack_codes
from photoz.errors import EstimatorError, MissingPackageError
from photoz.estimators import Estimates, Estimator, Inputs, Pdfs, load_estimator
from photoz.inputs import ALL_ROWS, Problem, Rows, attach_cutouts, make_inputs
from photoz.pdf import decode_quantiles, encode_quantiles, summarize_quantiles
from photoz.schema import QUANTILES, Flag, list_carried, make_catalogue_schema
from photoz.settings.inference import Inference

logger = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # numbers of malloc.h


class Needs(Protocol):
    """The part of an estimator that reading needs: small, so that readers need not load the weights."""

    @property
    def image_bands(self) -> tuple[str, ...]:
        """Bands of the cutouts; empty for photometry alone."""

    @property
    def cutout_size(self) -> int:
        """[pixel] side of the cutouts."""


def prepare_estimator(location: str, settings: Inference) -> Estimator:
    """Load an estimator for the precision, threads and outputs that the settings say, in this process."""
    keep_memory()
    estimator = load_estimator(location)
    # Asked for after it is loaded: an estimator without torch, as knn, need not hold its 200 MB.
    if "torch" in sys.modules:
        import torch

        # The same everywhere, since the last digits of a float32 sum depend on it (`Inference.threads`).
        torch.set_num_threads(settings.threads)
    estimator = estimator.prepare(settings.precision)
    return estimator if settings.pdf else estimator.without_pdf()


def keep_memory() -> None:
    """Have the C library keep the memory that is freed, as ``MALLOC_SETTINGS`` in cluster/engines/base.py does.

    With glibc's defaults a network's buffers go back to the kernel after every layer, and come again a page at a time.
    Another C library that does not know the call is left as it is.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        mallopt(option, 2_000_000_000)


def read_cutouts(sources: pa.Table, tiles: str, needs: Needs, *, give_up: bool = False) -> Rows:
    """Add the cutouts that an estimator needs to rows of the source catalogue; none for photometry alone.

    Parameters
    ----------
    sources : pyarrow.Table
        Rows of the source catalogue.
    tiles : str
        Folder of the tile store.
    needs : Needs
        The estimator, or what stands for it.
    give_up : bool
        As of `photoz.inputs.attach_cutouts`.

    Returns
    -------
    Rows
        The same in the same order, with the column ``cutout`` where the estimator reads images.
    """
    if not needs.image_bands:
        return Rows(sources)
    return attach_cutouts(sources, tiles, image_bands=needs.image_bands, cutout_size=needs.cutout_size, give_up=give_up)


def estimate_rows(sources: pa.Table, estimator: Estimator, *, batch_size: int = 256, give_up: bool = True) -> Rows:
    """Estimate the redshifts of rows whose cutouts have been read.

    A row that makes the estimator raise costs only itself: it comes out with NaN and ``ESTIMATE_FAILED``, and is one of
    the problems. Where every one of several rows does, the fault is the estimator's or its machine's: they are one
    problem, whose subject is ``ALL_ROWS``, and without ``give_up`` that is raised.

    Parameters
    ----------
    sources : pyarrow.Table
        Rows of the source catalogue, from `read_cutouts`.
    estimator : Estimator
    batch_size : int
        Galaxies that the estimator takes at one time: bounds its memory.
    give_up : bool
        Take it that the estimator fails on all rows.

    Returns
    -------
    Rows
        One row of the photo-z catalogue for every source, in the same order (`photoz.schema.make_catalogue_schema`).

    Raises
    ------
    RuntimeError
        Every row failed, and somebody may try again elsewhere.
    EstimatorError
        The estimator does not keep what it promises.
    """
    found = _estimate_isolating(make_inputs(sources, estimator.bands), estimator, batch_size)
    problems = found.problems
    # Of a single row nobody can tell whose fault it is: it counts as the row's.
    if len(problems) == len(sources) > 1:
        if not give_up:
            raise RuntimeError(
                f"{estimator.name} failed on all {len(sources)} rows, the first time with {problems[0].error}"
            )
        problems = (replace(problems[0], subject=ALL_ROWS, rows=len(sources)),)
    else:
        object_ids = sources["object_id"]
        problems = tuple(replace(each, subject=str(object_ids[int(each.subject)].as_py())) for each in problems)
    table = make_table(sources, found.estimates, algorithm=estimator.name if estimator.gives_pdf else "")
    return Rows(table, problems)


def estimate_table(table: pa.Table, estimator: Estimator, schema: pa.Schema, *, batch_size: int = 256) -> pa.Table:
    """Estimate rows of a table that need not have positions.

    Parameters
    ----------
    table : pyarrow.Table
        Of `photoz.tables.Converted`.
    estimator : Estimator
        One that reads photometry alone.
    schema : pyarrow.Schema
        Of the sources that the table gives (`photoz.views.make_table_schema`).
    batch_size : int
        As of `estimate_rows`.

    Returns
    -------
    pyarrow.Table
        In the table's order: of the columns of `photoz.schema.make_catalogue_schema` those that the table has or that
        are estimated.
    """
    # Readers of tables bring astropy with them, which those of cutouts need not have.
    from photoz.views import complete_sources

    rows = estimate_rows(complete_sources(table, schema), estimator, batch_size=batch_size).table
    absent = {name for name in schema.names if name not in table.column_names}
    return rows.select([name for name in rows.column_names if name not in absent])


@dataclass(frozen=True, eq=False)
class _Isolated:
    """Estimates of rows, and those that made the estimator raise: the subject of each problem is the row's number."""

    estimates: Estimates
    problems: tuple[Problem, ...] = ()


def _estimate_isolating(inputs: Inputs, estimator: Estimator, batch_size: int, first: int = 0) -> _Isolated:
    """Estimate, and where the estimator raises, halve the rows until those that make it raise stand alone."""
    try:
        estimates = estimator.estimate(inputs, batch_size=batch_size)
    # The settings or the arrays are wrong, or a package is missing, not a row.
    except (EstimatorError, MissingPackageError):
        raise
    except Exception as error:  # whatever a row does to an estimator, the other rows must come out
        if not len(inputs):  # there is no row to blame, and the halves of none are none again, for ever
            raise
        if len(inputs) == 1:
            logger.warning("row %d cannot be estimated: %s", first, error)
            problem = Problem("estimate", str(first), 1, f"{type(error).__name__}: {error}")
            return _Isolated(Estimates.fail(inputs.flags_N, with_pdf=estimator.gives_pdf), (problem,))
        # Halves, not one by one: one bad row of N takes some 2 log2 N further calls in place of N. Where all are bad it
        # is 2 N.
        middle = len(inputs) // 2
        halves = ((slice(0, middle), first), (slice(middle, None), first + middle))
        parts = [_estimate_isolating(inputs.take(half), estimator, batch_size, at) for half, at in halves]
        problems = tuple(problem for part in parts for problem in part.problems)
        return _Isolated(Estimates.concatenate([part.estimates for part in parts]), problems)
    # One too few, and every redshift after it would stand in another galaxy's row.
    if len(estimates.z_phot_N) != len(inputs):
        raise EstimatorError(f"{estimator.name} gave {len(estimates.z_phot_N)} redshifts for {len(inputs)} galaxies")
    if (estimates.pdf is not None) != estimator.gives_pdf:
        raise EstimatorError(f"{estimator.name} must give p(z) with every estimate, or never")
    return _Isolated(estimates)


def make_table(rows: pa.Table, estimates: Estimates, *, algorithm: str) -> pa.Table:
    """Make the rows of the photo-z catalogue from those of the source catalogue and their estimates.

    Parameters
    ----------
    rows : pyarrow.Table
        Of the source catalogue.
    estimates : Estimates
        Of the same rows; what is no finite redshift becomes NaN and ``ESTIMATE_FAILED``.
    algorithm : str
        As of `photoz.schema.make_catalogue_schema`.
    """
    # An infinite one too: the audit knows no other form of "none" than NaN with its flag.
    lost_N = ~np.isfinite(estimates.z_phot_N)
    z_phot_N = np.where(lost_N, np.nan, estimates.z_phot_N).astype(np.float32)
    flags_N = estimates.flags_N | np.where(lost_N, np.int32(Flag.ESTIMATE_FAILED), np.int32(0))
    schema = make_catalogue_schema(algorithm, list_carried(rows.schema))
    made = {"z_phot": pa.array(z_phot_N), "flags": pa.array(flags_N.astype(np.int32))}
    if estimates.pdf is not None:
        columns = _make_pdf_columns(estimates.pdf, z_phot_N)
        made |= {f"{algorithm}_{name}": values for name, values in columns.items()}
    return pa.table([made[name] if name in made else rows[name] for name in schema.names], schema=schema)


def _make_pdf_columns(pdf: Pdfs, z_phot_N: npt.NDArray[np.float32]) -> dict[str, pa.Array]:
    """Make the columns of `photoz.schema.PDF_COLUMNS` and the stored quantiles; rows without z_phot have none."""
    # A row has all of its quantiles or none, which the audit checks.
    quantiles_NQ = np.where(np.isnan(z_phot_N)[:, None], np.nan, pdf.quantiles_NQ)
    codes_NQ = encode_quantiles(quantiles_NQ)
    columns = summarize_quantiles(decode_quantiles(codes_NQ), z_phot_N)  # of what is stored, so that they agree
    columns |= {"z_std_model": pdf.z_std_model_N, "training_distance": pdf.distance_N}
    arrays = {name: pa.array(values.astype(np.float32)) for name, values in columns.items()}
    return arrays | {QUANTILES: pack_codes(codes_NQ)}
