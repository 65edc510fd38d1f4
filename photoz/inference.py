"""The spine: rows of the source catalogue in, rows of the photo-z catalogue out, on whichever engine."""

from typing import Protocol

import numpy as np
import pyarrow as pa
import torch

from photoz.config import Config
from photoz.errors import EstimatorError
from photoz.estimators import Estimator, load_estimator
from photoz.inputs import attach_cutouts, make_inputs
from photoz.schema import Flag, make_catalogue_schema


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


def read_cutouts(sources: pa.Table, config: Config, needs: Needs) -> pa.Table:
    """Add the cutouts that an estimator needs to rows of the source catalogue; none for photometry alone."""
    if not needs.image_bands:
        return sources
    return attach_cutouts(sources, config.locations.tiles, image_bands=needs.image_bands, cutout_size=needs.cutout_size)


def estimate_rows(rows: pa.Table, config: Config, estimator: Estimator) -> pa.Table:
    """Estimate redshifts from rows whose cutouts have been read; see `estimate_partition`."""
    inputs = make_inputs(rows, estimator.bands)
    estimates = estimator.estimate(inputs, batch_size=config.inference.batch_size)
    if len(estimates.z_phot_N) != len(rows):
        raise EstimatorError(f"{estimator.name} gave {len(estimates.z_phot_N)} redshifts for {len(rows)} galaxies")
    lost_N = ~np.isfinite(estimates.z_phot_N)
    z_phot_N = np.where(lost_N, np.nan, estimates.z_phot_N).astype(np.float32)
    flags_N = estimates.flags_N | np.where(lost_N, np.int32(Flag.ESTIMATE_FAILED), np.int32(0))
    schema = make_catalogue_schema()
    made = {"z_phot": pa.array(z_phot_N), "flags": pa.array(flags_N.astype(np.int32))}
    return pa.table([made[name] if name in made else rows[name] for name in schema.names], schema=schema)
