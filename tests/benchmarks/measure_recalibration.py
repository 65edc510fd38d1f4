"""How far PIT is from uniform after recalibration, on PITs whose distribution is known.

`PYTHONPATH=tests python tests/benchmarks/measure_recalibration.py` draws calibration samples and fresh test samples and
prints the median KS distance of PIT over the draws (before; after, also in the faintest and the reddest fifth; and with
the empirical distribution, "counted", in place of ours), and how often it is below 0.02 after. With `--fit` it times
the fit of one map to 21,000 galaxies, three times.
"""

import argparse
import time

import numpy as np
from drawn_pits import CASES, draw_pits, measure_ks

from photoz.pdf import Recalibration
from photoz.pdf.pitmaps import PitMap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--calibration", type=int, default=3000, help="galaxies")
    parser.add_argument("--test", type=int, default=9000, help="galaxies")
    parser.add_argument("--fit", action="store_true", help="only time a fit")
    options = parser.parse_args()
    if options.fit:
        time_fit()
        return
    print(f"{options.calibration} galaxies to calibrate, {options.test} to test, {options.draws} draws")
    print(f"{'case':14s} {'before':>8s} {'< 0.02':>7s} {'after':>8s} {'faintest':>8s} {'reddest':>8s} {'counted':>8s}")
    for case in CASES:
        rows = np.array([measure(case, seed, options) for seed in range(options.draws)])
        middle = np.median(rows, axis=0)
        share = f"{np.mean(rows[:, 1] < 0.02):.0%}"
        figures = " ".join(f"{value:8.4f}" for value in middle[1:])
        print(f"{case:14s} {middle[0]:8.4f} {share:>7s} {figures}", flush=True)


def measure(case: str, seed: int, options: argparse.Namespace) -> list[float]:
    """Return KS before, after, and after in the faintest and reddest fifth; and after the empirical distribution."""
    known, places = draw_pits(case, options.calibration, 2 * seed)
    recalibration = Recalibration.fit(known, places)
    pit, coordinates = draw_pits(case, options.test, 2 * seed + 1)
    calibrated = recalibration.apply(pit, coordinates)
    last = [calibrated[values > np.quantile(values, 0.8)] for values in coordinates.T]
    counted = np.interp(pit, np.sort(known), (np.arange(len(known)) + 0.5) / len(known))
    return [measure_ks(values) for values in (pit, calibrated, *last, counted)]


def time_fit() -> None:
    pits = draw_pits("by magnitude", 21_000, 1)
    for _ in range(3):
        begin, used = time.perf_counter(), time.process_time()
        PitMap.fit(*pits)
        print(f"{time.perf_counter() - begin:.1f} s, of the processor {time.process_time() - used:.1f} s", flush=True)


if __name__ == "__main__":
    main()
