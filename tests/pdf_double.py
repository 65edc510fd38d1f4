"""An estimator that is no more than its interface: redshifts of no meaning, with p(z)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from photoz.estimators import Estimates, Inputs, Pdfs, folder, registry
from photoz.schema import LEVELS, Flag

SPREAD = 0.03


def make_quantiles(centre_N: np.ndarray, spread: float = SPREAD) -> np.ndarray:
    """Return the stored quantiles of Gaussian densities about redshifts, shape (N, Q)."""
    return np.asarray(norm.ppf(np.asarray(LEVELS)[None], np.asarray(centre_N)[:, None], spread))


class DoubleEstimator:
    """Gives a Gaussian p(z) about a redshift made of the r magnitude; rows without it have none."""

    trained = "fitted"
    name = "double"
    image_bands: tuple[str, ...] = ()
    cutout_size = 0
    gives_pdf = True

    def __init__(self, bands: tuple[str, ...]) -> None:
        self.bands = bands

    def prepare(self, precision: str) -> "DoubleEstimator":
        return self

    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        magnitudes_N = inputs.magnitudes.magnitudes_NF[:, self.bands.index("r")].astype(np.float64)
        z_N = 0.02 + np.clip(0.05 * (magnitudes_N - 14), 0, None)
        quantiles_NQ = norm.ppf(np.asarray(LEVELS)[None], z_N[:, None], 0.02 * (1 + z_N[:, None]))
        distance_N = np.abs(magnitudes_N - 18).astype(np.float32)
        flags_N = inputs.flags_N | np.where(distance_N > 1, np.int32(Flag.OUTSIDE_TRAINING), np.int32(0))
        pdf = Pdfs(quantiles_NQ.astype(np.float32), np.full(len(z_N), 0.01, np.float32), distance_N)
        return Estimates(z_N.astype(np.float32), flags_N, pdf)

    def save(self, location: str) -> None:
        Path(location).mkdir(parents=True, exist_ok=True)
        manifest = {"estimator": self.name, "bands": self.bands, "image_bands": [], "cutout_size": 0}
        Path(location, folder.MANIFEST).write_text(json.dumps(manifest))

    @classmethod
    def load(cls, location: str) -> "DoubleEstimator":
        return cls(tuple(folder.read_manifest(location)["bands"]))


@contextmanager
def known() -> Iterator[None]:
    """Let `photoz.estimators.load_estimator` know the double, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.CLASSES, "double", "pdf_double:DoubleEstimator")
        yield
