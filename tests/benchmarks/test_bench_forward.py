"""Galaxies a second through the network; run with ``pytest --benchmark-only tests/benchmarks``."""

import numpy as np
import pytest
import torch

from photoz.config import Training
from photoz.estimators import Inputs
from photoz.estimators.hybrid import HybridEstimator
from photoz.estimators.layout import InputLayout
from photoz.estimators.network import Head
from photoz.estimators.paper import PaperEstimator
from photoz.photometry import MagnitudeScaling
from photoz.training import make_objective, make_optimizer, make_schedule, prepare_batch, train_epoch

BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
SCALING = MagnitudeScaling(np.full(9, 20.0), np.ones(9), np.zeros(8))


def make_galaxies(count):
    rng = np.random.default_rng(0)
    magnitudes_NF = rng.normal(20, 1, (count, 9)).astype(np.float32)
    cutouts_NBYX = rng.normal(size=(count, 4, 36, 36)).astype(np.float32)
    return Inputs(magnitudes_NF, np.full_like(magnitudes_NF, 0.1), cutouts_NBYX, np.zeros(count, np.int32))


@pytest.mark.benchmark(group="forward")
@pytest.mark.parametrize("batch_size", [64, 256])
@pytest.mark.parametrize("name", ["paper", "hybrid", "photometry"])
def test_estimate(benchmark, batch_size, name):
    image_bands = () if name == "photometry" else BANDS[:4]
    head = None if name == "paper" else Head()
    layout = InputLayout(BANDS, image_bands, 36 if image_bands else 0, 0.2, head)
    kind = PaperEstimator if name == "paper" else HybridEstimator
    estimator = kind(layout, SCALING, layout.make_network())
    galaxies = make_galaxies(512)
    benchmark.pedantic(
        estimator.estimate, args=(galaxies,), kwargs={"batch_size": batch_size}, rounds=3, warmup_rounds=1
    )
    benchmark.extra_info["galaxies_per_second"] = 512 / benchmark.stats["min"]


@pytest.mark.benchmark(group="train")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("head", [None, Head()], ids=["paper", "mixture"])
def test_train_step(benchmark, precision, head):
    settings = Training(precision=precision)
    layout = InputLayout(BANDS, BANDS[:4], 36, 0.2, head)
    network = layout.make_network()
    optimizer = make_optimizer(network, settings)
    schedule = make_schedule(optimizer, settings)
    galaxies = make_galaxies(128)
    batch = prepare_batch(galaxies, np.full(128, 0.2), scaling=SCALING, device=torch.device("cpu"))
    benchmark.pedantic(
        train_epoch,
        args=(network, [batch], optimizer, schedule),
        kwargs={"objective": make_objective(layout, settings), "generator": torch.Generator()},
        rounds=3,
        warmup_rounds=1,
    )
    benchmark.extra_info["galaxies_per_second"] = 128 / benchmark.stats["min"]
