#!/usr/bin/env python
"""Measure the paper's network in Keras on TensorFlow beside ours, turn by turn in one run.

    python -m venv KERAS && KERAS/bin/pip install tensorflow-cpu
    PYTHONPATH=.:tests python tests/benchmarks/measure_keras.py --keras-python KERAS/bin/python --threads 2

Keras is what the network's authors used. Prints the processor's name and a Markdown table: galaxies per second, and per
second of processor time, which other work on the machine changes less; the best of all rounds.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch
from bench_table import describe_hardware
from test_bench_forward import COUNT, make_network, make_tensors, run_network

from photoz.estimators.networks.packed import pack_network
from photoz.inference import keep_memory

BATCH = 256


def main() -> None:
    """Read the options, run all ways in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keras-python", required=True, help="an interpreter with keras and tensorflow")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_memory()
    network, tensors = make_network("hybrid-paper"), make_tensors("hybrid-paper")
    ways: dict[str, Callable[[], list[float]]] = {
        "ours, eager float32": time_ours(network, tensors),
        "ours, packed float32": time_ours(pack_network(network, "float32"), tensors),
        "ours, packed bf16": time_ours(pack_network(network, "bfloat16"), tensors),
    }
    script = Path(__file__).with_name("keras_forward.py")
    command = [options.keras_python, str(script), *map(str, (COUNT, BATCH, options.threads))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as keras:
        versions = json.loads(keras.stdout.readline())
        ours = sum(weight.numel() for weight in network.parameters())
        print(f"{describe_hardware()}, torch {torch.__version__}, {versions}; ours: {ours} weights\n")
        ways["Keras, predict"] = lambda: ask(keras)
        runs = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, run in ways.items():
                runs[name].append(run())
        keras.stdin.close()
    print("| way | galaxies/s | galaxies per processor s |\n|---|---|---|")
    for name, times in runs.items():
        clock, processor = (min(column) for column in zip(*times, strict=True))
        print(f"| {name} | {COUNT / clock:,.0f} | {COUNT / processor:,.0f} |")


def time_ours(network: torch.nn.Module, tensors: tuple[torch.Tensor, ...]) -> Callable[[], list[float]]:
    """Make a function that runs a network once over all galaxies and tells seconds and processor seconds."""
    run = run_network(network, tensors)

    def measure() -> list[float]:
        clock, processor = time.perf_counter(), time.process_time()
        run()
        return [time.perf_counter() - clock, time.process_time() - processor]

    measure()
    return measure


def ask(keras: subprocess.Popen[str]) -> list[float]:
    """Have Keras do the same, and read what it took."""
    assert keras.stdin is not None
    assert keras.stdout is not None
    keras.stdin.write("\n")
    keras.stdin.flush()
    return json.loads(keras.stdout.readline())


if __name__ == "__main__":
    main()
