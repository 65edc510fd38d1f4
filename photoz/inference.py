"""The spine: rows of the source catalogue in, rows of the photo-z catalogue out, on whichever engine."""

import logging
from dataclasses import replace
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch

from photoz.config import Config
from photoz.errors import EstimatorError
from photoz.estimators import Estimates, Estimator, Inputs, load_estimator
from photoz.inputs import Problem, attach_cutouts, make_inputs
from photoz.schema import Flag, make_catalogue_schema

logger = logging.getLogger(__name__)


class Needs(Protocol):
    """The part of an estimator that reading needs: small, so that readers need not load the weights."""

    @property
    def image_bands(self) -> tuple[str, ...]:
        """Bands of the cutouts; empty for photometry alone."""

    @property
    def cutout_size(self) -> int:
        """[pixel] side of the cutouts."""


def estimate_partition(sources: pa.Table, config: Config, estimator: Estimator) -> pa.Table:
    """Estimate the redshifts of one partition of the source catalogue.

    Parameters
    ----------
    sources : pyarrow.Table
        Rows of the source catalogue.
    config : Config
        ``locations.tiles`` is read; ``inference.batch_size`` bounds memory.
    estimator : Estimator

    Returns
    -------
    pyarrow.Table
        One row for every source, in the same order (`photoz.schema.make_catalogue_schema`).
    """
    return estimate_rows(read_cutouts(sources, config, estimator), config, estimator)


def prepare_estimator(location: str, config: Config) -> Estimator:
    """Load an estimator and give its network the threads that the settings say, in this process."""
    torch.set_num_threads(config.inference.threads)
    return load_estimator(location)


def read_cutouts(
    sources: pa.Table,
    config: Config,
    needs: Needs,
    *,
    give_up: bool = False,
    problems: list[Problem] | None = None,
) -> pa.Table:
    """Add the cutouts that an estimator needs to rows of the source catalogue; none for photometry alone.

    ``give_up`` and ``problems`` as in `photoz.inputs.attach_cutouts`.
    """
    if not needs.image_bands:
        return sources
    return attach_cutouts(
        sources,
        config.locations.tiles,
        image_bands=needs.image_bands,
        cutout_size=needs.cutout_size,
        give_up=give_up,
        problems=problems,
    )


def estimate_rows(
    rows: pa.Table, config: Config, estimator: Estimator, *, problems: list[Problem] | None = None
) -> pa.Table:
    """Estimate redshifts from rows whose cutouts have been read; see `estimate_partition`.

    A row that makes the estimator raise costs only itself: it comes out with NaN and ``ESTIMATE_FAILED``, and is
    appended to ``problems``.
    """
    found: list[Problem] = []
    estimates = _estimate_isolating(make_inputs(rows, estimator.bands), config, estimator, found)
    if problems is not None:
        problems += [replace(each, subject=str(rows["object_id"][int(each.subject)].as_py())) for each in found]
    return _make_table(rows, estimates)


def _estimate_isolating(
    inputs: Inputs, config: Config, estimator: Estimator, problems: list[Problem], first: int = 0
) -> Estimates:
    """Estimate, and where the estimator raises, halve the rows until those that make it raise stand alone."""
    try:
        estimates = estimator.estimate(inputs, batch_size=config.inference.batch_size)
    except EstimatorError:  # the settings or the arrays are wrong, not a row
        raise
    except Exception as error:  # noqa: BLE001 - whatever a row does to an estimator, the other rows must come out
        if len(inputs) == 1:
            logger.warning("row %d cannot be estimated: %s", first, error)
            problems.append(Problem("estimate", str(first), 1, f"{type(error).__name__}: {error}"))
            return Estimates(np.full(1, np.nan, np.float32), inputs.flags_N)
        middle = len(inputs) // 2
        halves = ((slice(0, middle), first), (slice(middle, None), first + middle))
        parts = [_estimate_isolating(inputs.take(half), config, estimator, problems, at) for half, at in halves]
        return Estimates(
            np.concatenate([part.z_phot_N for part in parts]), np.concatenate([part.flags_N for part in parts])
        )
    if len(estimates.z_phot_N) != len(inputs):
        raise EstimatorError(f"{estimator.name} gave {len(estimates.z_phot_N)} redshifts for {len(inputs)} galaxies")
    return estimates


def _make_table(rows: pa.Table, estimates: Estimates) -> pa.Table:
    lost_N = ~np.isfinite(estimates.z_phot_N)
    z_phot_N = np.where(lost_N, np.nan, estimates.z_phot_N).astype(np.float32)
    flags_N = estimates.flags_N | np.where(lost_N, np.int32(Flag.ESTIMATE_FAILED), np.int32(0))
    schema = make_catalogue_schema()
    made = {"z_phot": pa.array(z_phot_N), "flags": pa.array(flags_N.astype(np.int32))}
    return pa.table([made[name] if name in made else rows[name] for name in schema.names], schema=schema)
