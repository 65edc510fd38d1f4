"""The loop that Ray Train runs against its bare steps on data in memory; two workers against one; an epoch on a GPU."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
import torch
from bench_table import Table
from tiny_training import BANDS, make_config, write_training_set
from training_settings import nest

from cluster.training.plan import TrainingPlan, plan_training
from photoz.estimators.networks.batches import prepare_batch
from photoz.estimators.networks.hybrid import HybridEstimator
from photoz.inputs import make_inputs
from photoz.settings.config import Config
from photoz.storage import join, read_json, remove
from photoz.training.epoch import make_learner, train_epoch
from photoz.training.set import list_columns, read_split

GALAXIES = 12_288
"""So many that an epoch takes half a minute: it begins with a second or so of Ray Data's own."""
KIDS = 95_000
"""Galaxies of the KiDS combined model's training set (arXiv 2312.08043)."""
THREADS = os.cpu_count() or 1


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = make_config(
        tmp_path_factory.mktemp("training"), estimator="hybrid", batch_size=64, max_epochs=2, workers=1,
        threads_per_worker=THREADS,
    )  # fmt: skip
    write_training_set(config, train=GALAXIES, valid=256)
    return config


def spread(config: Config, **training: Any) -> Config:
    parts = {
        name: msgspec.structs.replace(getattr(config.training, name), **part) for name, part in nest(**training).items()
    }
    return msgspec.structs.replace(config, training=msgspec.structs.replace(config.training, **parts))


def prepare_batches(plan: TrainingPlan, device: torch.device) -> list[Any]:
    """Prepare the training galaxies in memory, in batches of the settings' size."""
    size, batches = plan.config.training.schedule.batch_size, []
    table = pa.concat_tables(
        read_split(plan.config.locations.training, "train", list_columns(BANDS, images=True))
    ).combine_chunks()
    for start in range(0, len(table) - size + 1, size):
        rows = table.slice(start, size)
        z_N = rows["z_spec"].to_numpy()
        weight_NK = plan.weigh(rows["object_id"].to_pylist(), z_N)
        inputs = make_inputs(rows, BANDS)
        batches.append(prepare_batch(inputs, z_N, preparation=plan.preparation, device=device, weight_NK=weight_NK))
    return batches


def time_bare_steps(plan: TrainingPlan) -> float:
    """Run the steps of an epoch after some for what is done once only; galaxies/s."""
    settings = plan.config.training.schedule
    device = torch.device("cuda" if plan.config.training.spreading.use_gpu else "cpu")
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    network = plan.make_network().to(device)
    learner = make_learner(network, settings, steps=plan.steps)
    objective, generator = plan.make_objective(), torch.Generator().manual_seed(0)
    batches = prepare_batches(plan, device)
    run: Callable[[list[Any]], Any] = lambda part: train_epoch(  # noqa: E731
        learner, part, objective=objective, generator=generator
    )
    run(batches[:10])
    started = time.perf_counter()
    total = run(batches)  # its last sum waits for the GPU
    return float(total.galaxies / (time.perf_counter() - started))


def measure_bare(config: Config) -> float:
    """As in a training worker: a process of its own with the same settings of the C library and of the threads."""
    import ray  # not needed for the benchmark of the GPU

    from cluster.training.networks import WORKER_VARIABLES

    plan = plan_training(config, HybridEstimator)
    task = ray.remote(time_bare_steps).options(
        num_cpus=0, num_gpus=int(config.training.spreading.use_gpu), runtime_env={"env_vars": WORKER_VARIABLES}
    )
    return float(ray.get(task.remote(plan)))


def measure_loop(config: Config) -> float:
    """Train by the job's own way; galaxies/s of the best epoch."""
    from cluster.training.networks import train_estimator

    remove(join(config.locations.models, "hybrid"))  # how the work is spread makes no other estimator
    train_estimator(config)
    history = read_json(join(config.locations.training, "history-hybrid.json"))
    return max(epoch["galaxies_per_second"] for epoch in history["epochs"])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_bench_training_loop(bench_table: Table, config: Config, ray_cluster: None, precision: str) -> None:
    config = spread(config, precision=precision)
    before = measure_bare(config)
    loop = measure_loop(config)
    bare = max(before, measure_bare(config))
    bench_table.add(f"training loop, {precision}", loop, "galaxies/s", reference=bare, against="bare steps", target=0.9)


def test_bench_training_workers(bench_table: Table, config: Config, ray_cluster: None) -> None:
    config = spread(config, precision="bfloat16")
    one = measure_loop(config)
    two = measure_loop(spread(config, workers=2, threads_per_worker=max(1, THREADS // 2)))
    bench_table.add("training, two workers on the same cores", two, "galaxies/s", reference=one, against="one worker")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_bench_training_gpu(bench_table: Table, config: Config, tmp_path: Path) -> None:
    """Without Ray: the steps alone, scaled to an epoch of the KiDS training set."""
    for precision in ("float32", "bfloat16"):
        settings = spread(config, precision=precision, use_gpu=True, batch_size=256)
        plan = plan_training(settings, HybridEstimator)
        rate = float(np.median([time_bare_steps(plan) for _ in range(3)]))
        bench_table.add(f"an epoch of {KIDS:,} galaxies on the GPU, {precision}", KIDS / rate, "s")
