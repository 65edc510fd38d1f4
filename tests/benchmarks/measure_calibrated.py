#!/usr/bin/env python
r"""What p(z) of a network is recalibrated on, where there are as few galaxies as in the demo, and how wide it is then.

    python tests/benchmarks/measure_calibrated.py FOLDER [--repeats 5]

FOLDER as of simulate_many.py. `photometry`, trained on 3,800 galaxies, other ones each time, ended by 400 and
recalibrated on these, on 400 others, on both; judged by the test galaxies. Prints a line a repeat, and their means.
"""

import argparse
from pathlib import Path

import numpy as np
from compare_image_levers import read_changes, train_network
from compare_on_many import judge, read
from simulate_many import make_config

from photoz.estimators.registry import load_class
from photoz.pdf import Recalibration, compute_pit_coverage

TRAIN, FEW = 3800, 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    folder = options.folder.absolute()
    survey, splits, kind = make_config(folder, 1).survey, read(folder, images=False), load_class("photometry")
    rows: dict[str, list[list[float]]] = {}
    for repeat in range(options.repeats):
        few = slice(repeat * FEW, (repeat + 1) * FEW)
        some = {
            "train": splits["train"].take(slice(repeat * TRAIN, (repeat + 1) * TRAIN)),
            **{split: splits[split].take(few) for split in ("valid", "calib")},
        }
        estimator, _ = train_network(kind, some, survey, read_changes([]), repeat, "parts")
        fluxes = [(some["train"].inputs.fluxes_NF, some["train"].inputs.errors_NF)]
        for on in ((), ("valid",), ("calib",), ("valid", "calib")):
            galaxies = [(some[split].inputs, some[split].z_N) for split in on]
            if galaxies:
                estimator = estimator.calibrate(galaxies, fluxes, seed=repeat)
            else:
                estimator = estimator.with_arrays(estimator.to_arrays() | Recalibration.identity().to_arrays())
            found = judge(estimator, splits["test"])
            covered = [100 * compute_pit_coverage(found["pit"], share) for share in (0.68, 0.95)]
            cells = [*covered, found["crps"].mean(), found["cde"].mean()]
            rows.setdefault(" and ".join(on) or "nothing", []).append(cells)
            print(repeat, on, cells, flush=True)
    print("| recalibrated on | 68 % | 95 % | CRPS | CDE loss |\n|---|---|---|---|---|")
    for on, cells in rows.items():
        mean, spread = np.mean(cells, axis=0), np.std(cells, axis=0, ddof=1)
        covered = " | ".join(f"{mean[share]:.1f} ± {spread[share]:.1f} %" for share in range(2))
        print(f"| {on} | {covered} | {mean[2]:.5f} | {mean[3]:.2f} |")


if __name__ == "__main__":
    main()
