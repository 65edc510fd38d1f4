"""How often galaxies that were left out of training for their colour are flagged, and the time it takes.

python tests/benchmarks/measure_coverage.py CATALOGUE.parquet     (mag_<b> of u g r i z, split)
"""

import sys
import time

import numpy as np
import pyarrow.parquet as pq

from photoz.estimators.distance import TrainingDistance

CHOICES = ((10, 20_000), (20, 20_000), (30, 20_000), (20, 10_000), (20, 5_000))
COLOURS = {"g - r": (1, 2), "g - i": (1, 3), "u - g": (0, 1)}


def main(location: str) -> None:
    table = pq.read_table(location)
    magnitudes_NF = np.column_stack([table[f"mag_{band}"].to_numpy() for band in "ugriz"])
    complete = np.isfinite(magnitudes_NF).all(axis=1)
    magnitudes_NF, train_N = magnitudes_NF[complete], (table["split"].to_numpy() == "train")[complete]
    spaces = {
        "colours and r": np.column_stack([magnitudes_NF[:, 2], -np.diff(magnitudes_NF, axis=1)]),
        "magnitudes": magnitudes_NF,
    }
    for space, features_NC in spaces.items():
        for neighbours, most in CHOICES:
            cells = [
                measure(features_NC, magnitudes_NF[:, i] - magnitudes_NF[:, j], train_N, (neighbours, most))
                for i, j in COLOURS.values()
            ]
            print(f"| {space} | {neighbours} | {most} | " + " | ".join(cells) + " |")


def measure(features_NC, colour_N, train_N, choice: tuple[int, int]) -> str:
    cut = np.quantile(colour_N[train_N], 0.95)
    used = features_NC[train_N & (colour_N <= cut)]
    shift, spread = used.mean(axis=0), used.std(axis=0)
    distance = TrainingDistance.fit((used - shift) / spread, neighbours=choice[0], most=choice[1])
    others = (features_NC[~train_N] - shift) / spread
    started = time.process_time()
    distance_N = distance.measure(others)
    seconds = (time.process_time() - started) / len(others) * 1e6
    outside = distance_N > 1
    red, rest = outside[colour_N[~train_N] > cut].mean(), outside[colour_N[~train_N] <= cut].mean()
    return f"{100 * red:.1f} %, {100 * rest:.2f} %: {red / rest:.1f} times ({seconds:.0f} s)"


if __name__ == "__main__":
    main(sys.argv[1])
