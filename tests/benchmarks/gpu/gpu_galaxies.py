"""Made galaxies of the size of KiDS's, estimators for them, and how a computation on the device is timed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from photoz.estimators import Inputs
from photoz.estimators.photometric.base import Sample
from photoz.estimators.registry import load_class
from photoz.photometry import compute_fluxes_from_magnitudes
from photoz.survey.settings import Survey
from photoz.training.settings import Training

NETWORKS = ("hybrid", "hybrid-paper")
PRECISIONS = ("bfloat16", "tf32", "float32")
"""In the order of their worth, since what comes last may have to be left out."""


@dataclass(frozen=True, eq=False)
class Galaxies:
    """N galaxies with images, and their redshifts, shape (N,)."""

    inputs: Inputs
    z_N: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.z_N)

    def take(self, rows: slice) -> "Galaxies":
        """Return some of them."""
        return Galaxies(self.inputs.take(rows), self.z_N[rows])


@dataclass(frozen=True, eq=False)
class Kit:
    """What every part measures with.

    Parameters
    ----------
    device : torch.device
    scale : float
        Of all sizes: 1 on a GPU.
    galaxies : Galaxies
    estimators : dict of str to NetworkEstimator
        By name; the first part trains their networks, in place.
    """

    device: torch.device
    scale: float
    galaxies: Galaxies
    estimators: dict[str, Any]

    def size(self, whole: int, least: int = 16) -> int:
        """Return a size at this scale."""
        return max(least, round(whole * self.scale))

    @property
    def small(self) -> bool:
        """Whether the run tries the code, and its speeds tell nothing."""
        return self.scale < 1

    @cache  # noqa: B019 - of a few estimators that live as long as the kit
    def calibrate(self, name: str) -> Any:
        """Return an estimator with its recalibration and distance, as one that a training has written."""
        some = self.galaxies.take(slice(0, self.size(2048, 64)))
        # As many as a survey's training set has: the distance from them is searched among them.
        known = make_photometry(self.size(95_000, 64), seed=2)
        told = [(known.fluxes_NF, known.errors_NF)]
        return self.estimators[name].calibrate([(some.inputs, some.z_N)], told, seed=1)


def make_kit(scale: float) -> Kit:
    """Make galaxies and estimators for the GPU, or, where there is none, for the CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    galaxies = make_galaxies(max(64, round(8192 * scale)))
    return Kit(device, scale, galaxies, {name: make_estimator(name, galaxies, device) for name in NETWORKS})


def make_photometry(count: int, seed: int = 0) -> Sample:
    """Make fluxes in the survey's bands that follow the redshift; one in twenty is missing."""
    rng, bands = np.random.default_rng(seed), Survey().bands
    z_N = rng.uniform(0.02, 0.5, count)
    slope_F = 4 * (1 - np.arange(len(bands)) / len(bands))
    magnitudes_NF = 18 + z_N[:, None] * slope_F + rng.normal(0, 0.05, (count, len(bands)))
    magnitudes_NF[rng.random(magnitudes_NF.shape) < 0.05] = np.nan
    fluxes_NF, errors_NF = compute_fluxes_from_magnitudes(magnitudes_NF, np.full(magnitudes_NF.shape, 0.05))
    return Sample(bands, fluxes_NF.astype(np.float32), errors_NF.astype(np.float32), z_N)


def make_galaxies(count: int) -> Galaxies:
    """Make galaxies with images: a round profile, the smaller the redder, and noise."""
    sample, side = make_photometry(count), Training().cutout_size
    rng, bands = np.random.default_rng(1), len(Survey().image_bands)
    axis_X = np.arange(side, dtype=np.float32) - side // 2
    radius_YX = np.hypot(axis_X[:, None], axis_X)
    scale_N = (1.5 + 4 * (0.5 - sample.z_N)).astype(np.float32)
    profile_NYX = np.exp(-radius_YX / scale_N[:, None, None])
    cutouts_NBYX = rng.standard_normal((count, bands, side, side), dtype=np.float32)
    cutouts_NBYX += profile_NYX[:, None] * np.linspace(20, 60, bands, dtype=np.float32)[:, None, None]
    plain = sample.make_inputs()
    return Galaxies(Inputs(plain.fluxes_NF, plain.errors_NF, cutouts_NBYX, plain.flags_N), sample.z_N)


def make_settings(name: str) -> Training:
    """Return the settings that the estimator's training has."""
    settings: Training = load_class(name).resolve_settings(Training(estimator=name))  # type: ignore[attr-defined]
    return settings


def make_estimator(name: str, galaxies: Galaxies, device: torch.device) -> Any:
    """Make an estimator with fresh weights, as a training does."""
    torch.manual_seed(0)
    kind: Any = load_class(name)
    layout = kind.make_layout(Survey(), make_settings(name))
    sample = Sample(layout.bands, galaxies.inputs.fluxes_NF, galaxies.inputs.errors_NF, galaxies.z_N)
    y_N = np.log1p(galaxies.z_N)
    network = kind.make_network(layout, (float(y_N.mean()), float(y_N.std())))
    return kind(layout, kind.PREPARATION.fit(sample), network, device=device)


def prepare(estimator: Any, precision: str) -> Any:
    """Prepare an estimator as inference does, to which tf32 is float32."""
    return estimator.prepare("bfloat16" if precision == "bfloat16" else "float32")


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def time_call(kit: Kit, call: Callable[[], object], seconds: float = 1.0) -> float:
    """Return the seconds of a call: the mean of as many as fit into some seconds, after three for what is done once.

    The device is waited for at the end only, as a stream of batches would have it.
    """
    for _ in range(1 if kit.small else 3):
        call()
    wait(kit.device)
    begun, done = time.perf_counter(), 0
    while done < 1 or (not kit.small and time.perf_counter() - begun < seconds):
        call()
        done += 1
        if done % 16 == 0:  # or the host would run ahead of the device, and measure how fast it can ask
            wait(kit.device)
    wait(kit.device)
    return (time.perf_counter() - begun) / done


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Let float32 products be made of tf32, or not, for the time of the block; bfloat16 leaves the rest to tf32.

    torch itself allows tf32 in convolutions and in no other product.
    """
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.allow_tf32 = value
