"""The share of the time that the GPU works, when processes cut galaxies in the host's memory and hand them to it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_galaxies import Kit, computing_in, prepare, wait
from gpu_reader import open_slot
from gpu_record import Line, Step
from torch.profiler import ProfilerActivity, profile

from photoz.estimators import Inputs

PART = "fed from memory"
COUNT, BATCH = 4096, 1024
"""Galaxies that a reader hands over at one time, and those of a forward pass."""
SLOTS = 2
"""Of a reader: it fills one while the other is estimated."""
BUSY = "hybrid, share of the time that the GPU works when fed"


def list_steps(kit: Kit) -> Iterator[Step]:
    """List the readers: none, whose galaxies are in memory already, and more and more of them."""
    for precision in ("bfloat16", "tf32"):
        yield Step(f"no reader, {precision}", partial(measure, kit, precision, 0))
        for readers in (1,) if kit.small else (4, 8, 2, 1, 12):
            yield Step(f"{readers} readers, {precision}", partial(measure, kit, precision, readers))
    yield Step("a reader by itself", partial(measure_reader, kit))


def measure(kit: Kit, precision: str, readers: int) -> Iterator[Line]:
    """Measure galaxies/s and the GPU's share of work with so many readers."""
    estimator = prepare(kit.calibrate("hybrid"), precision)
    with computing_in(precision), feeding(kit, readers) as feed:
        run(kit, estimator, feed, 0.0)  # for what is done once
        found = run(kit, estimator, feed, 0.0 if kit.small else 2.0)
        busy = measure_busy(kit, estimator, feed)
    what = f"hybrid, {precision}, {readers} readers" if readers else f"hybrid, {precision}, all in memory"
    yield Line(PART, what, found.galaxies / found.seconds, "galaxies/s", f"batch {kit.size(BATCH)}, with p(z)")
    note = "kernels and copies, by torch's profiler" if kit.device.type == "cuda" else "no GPU: seconds of estimating"
    yield Line(PART, f"{what}: the device works", busy, "of the time", note, target=BUSY if readers else "")


def measure_reader(kit: Kit) -> Iterator[Line]:
    """Measure what one reader makes when nobody estimates."""
    with feeding(kit, 1) as feed:
        for _ in range(SLOTS):  # those that it filled before it was asked
            next(feed)
        begun, galaxies = time.perf_counter(), 0
        while galaxies == 0 or (not kit.small and time.perf_counter() - begun < 1.0):
            galaxies += len(next(feed))
        seconds = time.perf_counter() - begun
    yield Line(PART, "a reader by itself", galaxies / seconds, "galaxies/s")


@dataclass(frozen=True)
class Run:
    """What was estimated in how many seconds, of which some were estimating and not waiting for a reader."""

    galaxies: int
    seconds: float
    estimating: float


def run(kit: Kit, estimator: Any, feed: Iterator[Inputs], seconds: float) -> Run:
    """Estimate what readers give, at least once, until some seconds are over."""
    begun, galaxies, estimating = time.perf_counter(), 0, 0.0
    while galaxies == 0 or time.perf_counter() - begun < seconds:
        inputs = next(feed)
        started = time.perf_counter()
        estimator.estimate(inputs, batch_size=kit.size(BATCH))
        estimating += time.perf_counter() - started
        galaxies += len(inputs)
    wait(kit.device)
    return Run(galaxies, time.perf_counter() - begun, estimating)


def measure_busy(kit: Kit, estimator: Any, feed: Iterator[Inputs]) -> float:
    """Measure the share of the time in which the GPU runs a kernel or copies.

    Raises
    ------
    RuntimeError
        The profiler saw no kernel: the driver may not let it.
    """
    if kit.device.type != "cuda":
        found = run(kit, estimator, feed, 0.0)
        return found.estimating / found.seconds
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        found = run(kit, estimator, feed, 1.5)
    # One stream: kernels and copies lie one after another, and their times add up.
    events = [event for event in seen.key_averages() if event.device_type == torch.autograd.DeviceType.CUDA]
    busy = 1e-6 * sum(event.self_device_time_total for event in events)
    if not busy:
        raise RuntimeError("torch's profiler saw no kernel")
    return float(busy / found.seconds)


@contextmanager
def feeding(kit: Kit, readers: int) -> Iterator[Iterator[Inputs]]:
    """Start readers and give what they cut, of one after another, without end; without readers what is in memory."""
    count, whole = kit.size(COUNT, 32), kit.galaxies.inputs
    if not readers:
        yield repeat_forever(whole.take(slice(0, count)))
        return
    assert whole.cutouts_NBYX is not None
    shape = (count, *whole.cutouts_NBYX.shape[1:])
    size = 4 * readers * SLOTS * int(np.prod(shape))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=choose_folder(size)))
        file = Path(folder) / "cutouts"
        with file.open("wb") as slots:
            slots.truncate(size)
        processes = [stack.enter_context(reading(file, reader, shape)) for reader in range(readers)]
        yield take_turns(processes, file, whole.take(slice(0, count)), shape)


def repeat_forever(inputs: Inputs) -> Iterator[Inputs]:
    """Give the same galaxies again and again, each time as arrays of their own."""
    while True:
        yield replace(inputs)


def choose_folder(size: int) -> str | None:
    """Choose where the slots lie: in memory where it has room, else in the default folder."""
    shared = Path("/dev/shm")  # containers often have 64 MB of it
    if not shared.is_dir():
        return None
    found = os.statvfs(shared)
    return str(shared) if found.f_bavail * found.f_frsize > 1.5 * size else None


@contextmanager
def reading(file: Path, reader: int, shape: tuple[int, ...]) -> Iterator["subprocess.Popen[str]"]:
    """Run a reader for the time of the block."""
    slots = ",".join(str(reader * SLOTS + slot) for slot in range(SLOTS))
    script = str(Path(__file__).with_name("gpu_reader.py"))
    command = [sys.executable, script, str(file), slots, *map(str, shape[:3])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()


def take_turns(
    processes: list["subprocess.Popen[str]"], file: Path, plain: Inputs, shape: tuple[int, ...]
) -> Iterator[Inputs]:
    """Give a filled slot of each reader in turn, and have it filled again when the next is asked for.

    Raises
    ------
    RuntimeError
        A reader has ended.
    """
    cutouts = [open_slot(str(file), slot, shape) for slot in range(len(processes) * SLOTS)]
    while True:
        for process in processes:
            assert process.stdin is not None
            assert process.stdout is not None
            said = process.stdout.readline()
            if not said:
                raise RuntimeError(f"a reader ended with exit status {process.wait()}")
            yield replace(plain, cutouts_NBYX=cutouts[int(said)])
            process.stdin.write(said)
            process.stdin.flush()
