#!/usr/bin/env python
r"""Measure photoz on one GPU in eight minutes, without Ray: README.md beside this script says how.

    PYTHONPATH=CHECKOUT python CHECKOUT/tests/benchmarks/gpu/measure_gpu.py --output FOLDER

Writes ``gpu.json`` and ``gpu.md``. Without a GPU, and with ``--scale 0.01``, it tries the same code on the CPU.
"""

import argparse
from pathlib import Path

import gpu_estimate
import gpu_feeding
import gpu_forward
import gpu_mlp
import gpu_training
from gpu_galaxies import make_kit
from gpu_record import Record

from photoz.inference import keep_memory

PARTS = (
    (gpu_training.PART, 90, gpu_training.list_steps),
    (gpu_estimate.DRIFT, 20, gpu_estimate.list_drifts),
    (gpu_forward.PART, 75, gpu_forward.list_steps),
    (gpu_estimate.PART, 50, gpu_estimate.list_steps),
    (gpu_feeding.PART, 60, gpu_feeding.list_steps),
    (gpu_mlp.PART, 60, gpu_mlp.list_steps),
    (gpu_forward.COMPILED, 105, gpu_forward.list_compiled),
)
"""Each part, the seconds it may take, and its steps: 460 s in all. The networks are trained first: the other parts
estimate with those weights."""


def main() -> None:
    """Measure the parts in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default=".", help="folder of gpu.json and gpu.md")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes; 0.01 tries the code on a CPU")
    parser.add_argument("--seconds", type=float, default=460.0, help="that all parts may take, apart from imports")
    options = parser.parse_args()
    keep_memory()
    kit = make_kit(options.scale)
    record = Record(Path(options.output), kit.device, options.scale, options.seconds)
    whole = sum(seconds for _, seconds, _ in PARTS)
    for part, seconds, list_steps in PARTS:
        record.run(part, seconds * options.seconds / whole, list_steps(kit))
    print(f"{record.folder / 'gpu.md'}: {len(record.lines)} figures, {len(record.left_out)} left out")


if __name__ == "__main__":
    main()
