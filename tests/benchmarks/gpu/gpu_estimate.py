"""From arrays in the host's memory to redshifts and p(z), as inference has it: speed, where the time goes, drift."""

import copy
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from gpu_galaxies import NETWORKS, PRECISIONS, Kit, computing_in, prepare, time_call, wait
from gpu_record import Line, Step

PART, STAGES, DRIFT = "estimate", "estimate, by stage", "drift of z_phot"
BATCHES = (1024, 256, 4096)


def list_steps(kit: Kit) -> Iterator[Step]:
    """List speeds with p(z) and the stages, by batch and precision."""
    for batch in BATCHES:
        yield Step(f"hybrid, bfloat16, batch {batch}", partial(measure, kit, "hybrid", "bfloat16", batch))
    for name in NETWORKS:
        for precision in PRECISIONS:
            if (name, precision) != ("hybrid", "bfloat16"):
                yield Step(f"{name}, {precision}", partial(measure, kit, name, precision, BATCHES[0]))
    for name in NETWORKS:
        yield Step(f"{name}, stages", partial(measure_stages, kit, name))


def measure(kit: Kit, name: str, precision: str, batch: int) -> Iterator[Line]:
    """Measure how many galaxies an estimator makes a second of arrays in memory, with p(z) where it gives it."""
    estimator, size = prepare(kit.calibrate(name), precision), kit.size(batch)
    with computing_in(precision):
        seconds = time_call(kit, lambda: estimator.estimate(kit.galaxies.inputs, batch_size=size))
    given = "with p(z)" if estimator.gives_pdf else "z_phot alone"
    what = f"{name}, {precision}, batch {size}, {given}"
    target = "hybrid, galaxies/s with p(z)" if name == "hybrid" else ""
    yield Line(PART, what, len(kit.galaxies) / seconds, "galaxies/s", target=target)


def measure_stages(kit: Kit, name: str) -> Iterator[Line]:
    """Measure what a galaxy costs before the network, in it and after it; the device is waited for in between."""
    estimator, size = prepare(kit.calibrate(name), "bfloat16"), kit.size(BATCHES[0])
    network: Any = getattr(estimator, "packed", None) or estimator.network
    sums, last = {"before": 0.0, "network": 0.0, "after": 0.0}, [time.perf_counter()]

    def mark(stage: str) -> None:
        wait(kit.device)
        now = time.perf_counter()
        sums[stage] += now - last[0]
        last[0] = now

    hooks = [
        network.register_forward_pre_hook(lambda *_: mark("before")),
        network.register_forward_hook(lambda *_: mark("network")),
    ]
    some = kit.galaxies.take(slice(0, size)).inputs
    rounds = 2 if kit.small else 20
    try:
        for done in range(rounds):
            if done == rounds // 4:  # the first are for what is done once
                sums.update(dict.fromkeys(sums, 0.0))
            last[0] = time.perf_counter()
            estimator.estimate(some, batch_size=size)
            mark("after")
    finally:
        for hook in hooks:
            hook.remove()
    said = {"before": "preparation: to the device, scaled there", "network": "the network", "after": "p(z), distance"}
    for stage, seconds in sums.items():
        count = size * (rounds - rounds // 4)
        yield Line(STAGES, f"{name}, bfloat16, {said[stage]}", 1e6 * seconds / count, "µs/galaxy", f"batch {size}")
    if getattr(estimator, "distance", None) is not None:
        seconds = time_call(kit, lambda: estimator.measure_distance(some))
        what = f"{name}, distance from the training sample by itself"
        yield Line(STAGES, what, 1e6 * seconds / size, "µs/galaxy", "on the CPU, one thread")


def list_drifts(kit: Kit) -> Iterator[Step]:
    """List the precisions of both networks against float32 on the CPU."""
    for name in NETWORKS:
        yield Step(name, partial(measure_drift, kit, name))


def measure_drift(kit: Kit, name: str) -> Iterator[Line]:
    """Measure how far z_phot lies from that of the network as it was trained, in float32 on the CPU."""
    here, some = kit.estimators[name].without_pdf(), kit.galaxies.take(slice(0, kit.size(2048, 64))).inputs
    cpu = torch.device("cpu")
    there = type(here)(here.layout, here.preparation, copy.deepcopy(here.network).to(cpu), device=cpu).without_pdf()
    z_N = there.estimate(some).z_phot_N
    for precision in PRECISIONS:
        with computing_in(precision):
            found = {
                "packed": prepare(here, precision).estimate(some).z_phot_N,
                "as trained": estimate_cast(kit, here, some, precision),
            }
        for layout, z_phot_N in found.items():
            change_N = np.abs(z_phot_N - z_N)
            # A redshift on one side alone is no small change.
            lost = int((np.isfinite(z_phot_N) != np.isfinite(z_N)).sum())
            most, usual = np.nanmax(change_N), np.nanquantile(change_N, 0.99)
            note = f"99 % within {usual:.1e}; {lost} of {len(z_N)} finite on one alone"
            yield Line(DRIFT, f"{name}, {layout}, {precision}: at most", float(most), "in z", note)


def estimate_cast(kit: Kit, estimator: Any, inputs: Any, precision: str) -> Any:
    """Estimate with the network as it was trained, bfloat16 by autocast."""
    with torch.autocast(kit.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        return estimator.estimate(inputs).z_phot_N
