#!/usr/bin/env python
r"""Measure what Ray Data's reading costs the training loop, a held split in one order or in any.

    python tests/benchmarks/measure_streaming.py FOLDER

``FOLDER`` gets a training set of 12,288 galaxies, 0.4 GB; prints microseconds a galaxy of three epochs, without steps.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from tiny_training import make_config, write_training_set

from cluster.training import networks
from cluster.training.plan import TrainingPlan, plan_training
from photoz.estimators.networks.hybrid import HybridEstimator

GALAXIES = 12_288


def main() -> None:
    """Write the training set, and stream it in pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    config = make_config(parser.parse_args().folder, estimator="hybrid", batch_size=64, workers=1)
    write_training_set(config, train=GALAXIES, valid=256)
    plan = plan_training(config, HybridEstimator)
    with networks.ray_cluster(config.engine):
        for ordered in (False, True, False, True):
            split = networks._open_split(plan, "train")
            split.context.execution_options.preserve_order = ordered
            epochs = time_epochs(plan, split.materialize())
            print("one order" if ordered else "any order", " ".join(f"{each:.0f}" for each in epochs), "us/galaxy")


def time_epochs(plan: TrainingPlan, split: Any) -> list[float]:
    """Stream three epochs as a training worker does; [us/galaxy] of each, of which the first also starts threads."""
    settings, times = plan.config.training.schedule, []
    split.context.execution_options = networks._make_execution_options()
    (shard,) = split.streaming_split(1, equal=True)
    for epoch in range(3):
        started = time.perf_counter()
        tables = shard.iter_batches(
            batch_size=settings.batch_size,
            batch_format="pyarrow",
            prefetch_batches=2,
            drop_last=True,
            local_shuffle_buffer_size=settings.shuffle_rows,
            local_shuffle_seed=epoch,
        )
        rows = sum(len(table) for table in tables)
        times.append((time.perf_counter() - started) / rows * 1e6)
    return times


if __name__ == "__main__":
    main()
