"""The forward pass against what a plain script does, and against the processor's own products.

The reference runs in a process without our settings of the C library, which hold for a whole process.
"""

import json
import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from bench_table import side_by_side
from from_magnitudes import make_inputs, make_preparation

from photoz.estimators.networks import packed
from photoz.estimators.networks.hybrid import HybridEstimator
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.network import Head, max_pool_same
from photoz.estimators.networks.packed import pack_network
from photoz.estimators.networks.paper import PaperEstimator
from photoz.inference import keep_memory

BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
GFLOP = {"hybrid-paper": 0.136, "hybrid": 0.025}
"""Of a galaxy: 68 and 12 million multiply-adds."""
COUNT, SIDE = 1024, 2048
PLAIN = """
import json, sys, time, torch
from test_bench_forward import make_tensors, make_network
torch.set_num_threads(int(sys.argv[1]))
network, tensors = make_network(sys.argv[2]).to(memory_format=torch.contiguous_format), make_tensors(sys.argv[2])
tensors = [tensor.contiguous() for tensor in tensors]
def run():
    started = time.perf_counter()
    with torch.inference_mode():
        for start in range(0, len(tensors[0]), 256):
            network(*(tensor[start : start + 256] for tensor in tensors))
    return time.perf_counter() - started
run()
print(json.dumps(min(run() for _ in range(3))))
"""


def choose_kind(name):
    return PaperEstimator if name == "hybrid-paper" else HybridEstimator


def make_layout(name):
    return InputLayout(BANDS, BANDS[:4], 36, 0.2, None if name == "hybrid-paper" else Head())


def make_network(name):
    torch.manual_seed(0)
    return choose_kind(name).make_network(make_layout(name)).eval()


def make_tensors(name, device="cpu"):
    torch.manual_seed(1)
    features_NF = torch.randn(COUNT, 9 if name == "hybrid-paper" else 40, device=device)
    images_NBYX = torch.rand(COUNT, 4 if name == "hybrid-paper" else 8, 36, 36, device=device).contiguous(
        memory_format=torch.channels_last
    )
    return features_NF, images_NBYX


def time_plain(name):
    """Seconds of a plain script: torch's default layout and the C library's default settings."""
    folders = [os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__)), *sys.path]  # noqa: PTH120
    variables = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    variables["PYTHONPATH"] = os.pathsep.join(folder for folder in folders if folder)
    command = [sys.executable, "-c", PLAIN, str(torch.get_num_threads()), name]
    result = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def run_network(network, tensors, context=None):
    def run():
        with torch.inference_mode(), context or nullcontext():
            for start in range(0, COUNT, 256):
                network(*(tensor[start : start + 256] for tensor in tensors))

    return run


def multiply(dtype):
    left, right = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    return lambda: torch.mm(left, right)


@contextmanager
def autocast():
    with torch.autocast("cpu", torch.bfloat16):
        yield


@pytest.mark.parametrize("name", ["hybrid", "hybrid-paper"])
def test_bench_forward(bench_table, name):
    keep_memory()
    network, tensors = make_network(name), make_tensors(name)
    ways = {precision: pack_network(network, precision) for precision in ("float32", "bfloat16")}
    runs = {precision: run_network(way, tensors) for precision, way in ways.items()}
    runs |= {f"mm {precision}": multiply(getattr(torch, precision)) for precision in ways}
    runs["channels last"] = run_network(network, tensors)
    levers = {"channels last": "channels last alone, memory kept"}
    if name == "hybrid-paper":
        runs["at once"] = run_changed(ways["float32"], tensors, "_RUN", COUNT)
        runs["max_pool2d"] = run_changed(ways["float32"], tensors, "max_pool_neighbours", max_pool_same)
        levers |= {"at once": "the largest maps of a batch at once", "max_pool2d": "torch's max_pool2d"}
    before = time_plain(name)
    seconds = side_by_side(runs, rounds=8)
    plain = COUNT / min(before, time_plain(name))
    for precision, least in (("float32", 1 / 2), ("bfloat16", 1 / 3)):
        rate, products = COUNT / seconds[precision], 2e-9 * SIDE**3 / seconds[f"mm {precision}"]
        bench_table.add(
            f"forward pass of {name}, {precision}: arithmetic",
            rate * GFLOP[name],
            "GFLOP/s",
            reference=products,
            against="torch.mm",
            target=least,
        )
        stage = f"forward pass of {name}, {precision}"
        bench_table.add(stage, rate, "galaxies/s", reference=plain, against="eager float32, a plain script", target=3.0)
    for way, lever in levers.items():
        figure = f"float32 {COUNT / seconds[way]:,.0f} galaxies/s"
        bench_table.reject(f"{name}: {lever}", figure, f"packed: {COUNT / seconds['float32']:,.0f}")
    started = side_by_side({"autocast": lambda: run_autocast(network, tensors)}, rounds=2)["autocast"]
    bench_table.reject(f"{name}: bf16 by autocast", f"{COUNT / started:,.0f} galaxies/s", "changes z_phot by 4e-3")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_bench_lean(bench_table, precision):
    """The lean network against the paper's, both packed, in turn."""
    keep_memory()
    runs = {name: run_network(pack_network(make_network(name), precision), make_tensors(name)) for name in GFLOP}
    rates = {name: COUNT / seconds for name, seconds in side_by_side(runs, rounds=8).items()}
    stage, against = f"forward pass of the lean network, {precision}", "the paper's, packed"
    options = {"reference": rates["hybrid-paper"], "against": against, "target": 4.0}
    bench_table.add(stage, rates["hybrid"], "galaxies/s", **options)


def run_changed(network, tensors, name, value):
    """Run a packed network with another value of one of its module's names."""

    def run():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(packed, name, value)
            run_network(network, tensors)()

    return run


def run_autocast(network, tensors):
    run_network(network, tensors, autocast())()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["hybrid", "hybrid-paper"])
def test_bench_estimate(bench_table, name, precision):
    """Preparation, forward pass, p(z) without recalibration and distance: what a partition's rows cost."""
    keep_memory()
    rng = np.random.default_rng(0)
    magnitudes_NF = rng.normal(20, 1, (COUNT, 9)).astype(np.float32)
    cutouts_NBYX = rng.normal(size=(COUNT, 4, 36, 36)).astype(np.float32)
    inputs = make_inputs(magnitudes_NF, 0.1, cutouts_NBYX)
    kind = choose_kind(name)
    preparation = make_preparation(kind, BANDS, magnitudes_NF)
    estimator = kind(make_layout(name), preparation, make_network(name), device=torch.device("cpu")).prepare(precision)
    network, tensors = pack_network(make_network(name), precision), make_tensors(name)
    seconds = side_by_side(
        {"estimate": lambda: estimator.estimate(inputs), "forward": run_network(network, tensors)}, rounds=4
    )
    rates = {way: COUNT / value for way, value in seconds.items()}
    stage = f"arrays to estimates with {name}, {precision}"
    bench_table.add(stage, rates["estimate"], "galaxies/s", reference=rates["forward"], against="forward alone")
