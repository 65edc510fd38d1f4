"""An epoch of KiDS's size: its steps on batches that lie on the device."""

import copy
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
import torch
from gpu_galaxies import Kit, computing_in, make_settings, wait
from gpu_record import Line, Step

from photoz.estimators.networks.batches import prepare_batch
from photoz.training.epoch import make_learner, train_epoch
from photoz.training.weights import leave_out_parts

KIDS = 95_000
"""Galaxies of the KiDS combined model's training set (arXiv 2312.08043)."""
PART = "training"


def list_steps(kit: Kit) -> Iterator[Step]:
    """List them: the whole epoch in bfloat16 first, whose weights the other parts have; then some seconds of others."""
    for name, batch in (("hybrid", 256), ("hybrid-paper", 256)):
        yield Step(f"{name}, bfloat16, batch {batch}", partial(train, kit, name, "bfloat16", batch, whole=True))
    for name, precision, batch in (
        ("hybrid", "tf32", 256),
        ("hybrid", "float32", 256),
        ("hybrid", "bfloat16", 1024),
        ("hybrid", "bfloat16", 64),
        ("hybrid-paper", "float32", 256),
    ):
        yield Step(f"{name}, {precision}, batch {batch}", partial(train, kit, name, precision, batch, whole=False))


def train(kit: Kit, name: str, precision: str, batch: int, *, whole: bool) -> Iterator[Line]:
    """Train an estimator's network for an epoch, or a copy of it for some seconds."""
    size = kit.size(batch)
    steps = kit.size(KIDS, 64) // size
    done, seconds = run_steps(kit, name, precision, size, steps=steps, limit=45.0 if whole else 4.0, keep=whole)
    label = f"{name}, {precision}, batch {size}"
    note = "whole" if done == steps * size else f"of {done:,} galaxies, scaled"
    target = "hybrid, seconds of an epoch in bfloat16" if (name, precision) == ("hybrid", "bfloat16") else ""
    yield Line(PART, f"{label}: an epoch of {steps * size:,}", seconds * steps * size / done, "s", note, target=target)
    yield Line(PART, f"{label}: steps", done / size / seconds, "steps/s")


def run_steps(
    kit: Kit, name: str, precision: str, size: int, *, steps: int, limit: float, keep: bool
) -> tuple[int, float]:
    """Train for some steps, at most some seconds; returns the galaxies and the seconds they took."""
    estimator, settings = kit.estimators[name], make_settings(name)
    network = estimator.network if keep else copy.deepcopy(estimator.network)
    schedule_settings = msgspec.structs.replace(
        settings.schedule, batch_size=size, precision="bfloat16" if precision == "bfloat16" else "float32"
    )
    objective = type(estimator).make_objective(
        estimator.layout, msgspec.structs.replace(settings, schedule=schedule_settings)
    )
    learner = make_learner(network, schedule_settings, steps=steps)
    generator, batches = torch.Generator().manual_seed(0), prepare_batches(kit, estimator, size)
    with computing_in(precision):
        told = {"objective": objective, "generator": generator}
        train_epoch(learner, go_through(batches, 1 if kit.small else 5), **told)
        wait(kit.device)
        begun = time.perf_counter()
        # A step takes a CPU a quarter of a second, and on a GPU none is new.
        some = min(steps, 6 if keep else 1) if kit.small else steps
        total = train_epoch(learner, go_through(batches, some, limit), **told)
        wait(kit.device)
    network.eval()
    if not np.isfinite(total.loss):
        raise RuntimeError(f"the loss is {total.loss} after {total.galaxies} galaxies")
    return total.galaxies, time.perf_counter() - begun


def prepare_batches(kit: Kit, estimator: Any, size: int) -> list[Any]:
    """Prepare all galaxies of the kit in batches on the device, as a training does."""
    batches = []
    for first in range(0, len(kit.galaxies) - size + 1, size):
        some = kit.galaxies.take(slice(first, first + size))
        names = [str(row) for row in range(first, first + size)]
        weight_NK = leave_out_parts(names, seed=0, members=estimator.layout.members)
        told = {"preparation": estimator.preparation, "device": kit.device, "weight_NK": weight_NK}
        batches.append(prepare_batch(some.inputs, some.z_N, **told))
    return batches


def go_through(batches: Sequence[Any], steps: int, limit: float = 60.0) -> Iterator[Any]:
    """Give so many batches, again from the first after the last, until some seconds are over."""
    until = time.monotonic() + limit
    for step in range(steps):
        if step and time.monotonic() > until:
            return
        yield batches[step % len(batches)]
