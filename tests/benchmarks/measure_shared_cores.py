#!/usr/bin/env python
r"""What a network makes of processors that it shares: alone, beside one busy process, beside two.

    python tests/benchmarks/measure_shared_cores.py [--network hybrid-paper] [--rounds 5] [--output FILE]

The forward pass of the packed network in float32 and bf16, with its threads and their way to wait as they are, waiting
without spinning, and one thread in each of one or several processes. All wait in processes of their own and work in
turn, so that they meet the same disturbances; the best of the rounds counts. The machine should do nothing else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

CORES = len(os.sched_getaffinity(0))
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}
SHORT = {"GOMP_SPINCOUNT": "2000"}
"""What every job sets (`cluster.waiting`)."""
SPINNING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Taken out of the environment first, so that "as it is" is torch's own default."""


@dataclass(frozen=True, eq=False)
class Way:
    """Processes, threads of each, and the variables that say how these wait."""

    name: str
    processes: int
    threads: int
    variables: dict[str, str]


WAYS = (
    Way(f"{CORES} threads, as they are", 1, CORES, {}),
    Way(f"{CORES} threads, as photoz has them", 1, CORES, SHORT),
    Way(f"{CORES} threads, passive", 1, CORES, PASSIVE),
    Way(f"{CORES} threads, KMP_BLOCKTIME=0", 1, CORES, {"KMP_BLOCKTIME": "0"}),
    Way(f"{CORES} threads, passive and KMP_BLOCKTIME=0", 1, CORES, PASSIVE | {"KMP_BLOCKTIME": "0"}),
    Way("1 thread", 1, 1, {}),
    Way(f"{CORES} processes of 1 thread", CORES, 1, {}),
    Way(f"{CORES} processes of {CORES} threads, passive", CORES, CORES, PASSIVE),
)
BUSY = """
import os
parent = os.getppid()
while os.getppid() == parent:  # or it would be busy for ever when the run is killed
    for _ in range(100_000):
        pass
"""
WORKER = """
import sys, time
import torch
from gpu_forward import capture_inputs, pack
from gpu_galaxies import Kit, make_estimator, make_galaxies
from photoz.inference import keep_memory
name, precision, threads = sys.argv[1:]
keep_memory()
torch.set_num_threads(int(threads))
device, galaxies = torch.device("cpu"), make_galaxies(256)
kit = Kit(device, 1.0, galaxies, {name: make_estimator(name, galaxies, device)})
network, tensors = pack(kit.estimators[name], precision), capture_inputs(kit, name, 256)
with torch.inference_mode():
    network(*tensors)
    print("ready", flush=True)
    for line in sys.stdin:
        begun, done = time.perf_counter(), 0
        while time.perf_counter() - begun < float(line):
            network(*tensors)
            done += 256
        print(done / (time.perf_counter() - begun), flush=True)
"""


def main() -> None:
    """Measure all ways beside 0, 1 and 2 busy processes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="hybrid-paper")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each way in each round")
    parser.add_argument("--output", help="file for the figures, JSON")
    options = parser.parse_args()
    print(f"{describe_processor()}, {CORES} cores; load before the run {os.getloadavg()[0]:.2f}")
    found = {}
    for precision in ("float32", "bfloat16"):
        with ExitStack() as stack:
            workers = {way: start_workers(stack, way, options.network, precision) for way in WAYS}
            for busy in (0, 1, 2):
                with keeping_busy(busy):
                    rates = [run_round(workers, options.seconds) for _ in range(options.rounds)]
                found[precision, busy] = {way.name: [each[way] for each in rates] for way in WAYS}
        print(make_table(precision, {busy: found[precision, busy] for busy in (0, 1, 2)}), flush=True)
    if options.output:
        figures = {f"{precision}, {busy} busy": rates for (precision, busy), rates in found.items()}
        Path(options.output).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def start_workers(stack: ExitStack, way: Way, network: str, precision: str) -> list["subprocess.Popen[str]"]:
    """Start the processes of a way, and wait until they have their network."""
    variables = {name: value for name, value in os.environ.items() if name not in SPINNING} | way.variables
    here = Path(__file__).resolve().parent
    variables["PYTHONPATH"] = os.pathsep.join([str(here.parents[1]), str(here / "gpu"), *sys.path])
    command = [sys.executable, "-c", WORKER, network, precision, str(way.threads)]
    pipe = subprocess.PIPE
    workers = [
        stack.enter_context(ending(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=variables)))
        for _ in range(way.processes)
    ]
    for worker in workers:
        if read_line(worker) != "ready":
            raise RuntimeError(f"a worker of {way.name!r} did not start")
    return workers


def run_round(workers: dict[Way, list["subprocess.Popen[str]"]], seconds: float) -> dict[Way, float]:
    """Have each way work for some seconds, its processes together; galaxies/s of each."""
    rates = {}
    for way, processes in workers.items():
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
        rates[way] = sum(float(read_line(process)) for process in processes)
    return rates


def read_line(process: "subprocess.Popen[str]") -> str:
    """Read what a worker says next."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def keeping_busy(count: int) -> Iterator[None]:
    """Run so many processes that do nothing but count."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(ending(subprocess.Popen([sys.executable, "-c", BUSY], text=True)))
        time.sleep(0.5 if count else 0.0)
        yield


@contextmanager
def ending(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """End a process when the block does."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def make_table(precision: str, found: dict[int, dict[str, Sequence[float]]]) -> str:
    """Make a table of Markdown: best galaxies/s, and the share of the best alone that is left beside others.

    ``fair`` is the share of the machine that as many threads as cores have beside so many others.
    """
    alone = max(max(rates) for rates in found[0].values())
    heads = ["alone"] + [f"{busy} busy (fair: {CORES / (CORES + busy):.2f})" for busy in found if busy]
    lines = [f"| {precision} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for way in WAYS:
        cells = [
            f"{max(rates[way.name]):,.0f}/s, {max(rates[way.name]) / alone:.2f} "
            f"(median {statistics.median(rates[way.name]) / alone:.2f})"
            for rates in found.values()
        ]
        lines.append(f"| {way.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def describe_processor() -> str:
    """Describe the processor, as far as it tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "processor unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "cpu family"))]
    return ", family ".join(dict.fromkeys(names[:2][::-1])) if names else "processor unknown"


if __name__ == "__main__":
    main()
