#!/usr/bin/env python
r"""How wide mlp's p(z) is on galaxies that it was not fitted to, by the way in which its recalibration is scaled.

    python tests/benchmarks/measure_unseen.py FILE --bands u,g,r,i,z [--rows 1000,4000] [--seeds 1,2]

Of the train rows of a plain catalogue, some are fitted to and all others judged; one fit, several recalibrations.
"""

import argparse
from dataclasses import replace

import numpy as np

from photoz.comparison import read_plain_catalogue
from photoz.estimators.mlp import unseen
from photoz.estimators.mlp.estimator import MlpEstimator
from photoz.pdf import Recalibration, compute_pit_coverage, score_quantiles

MEASURE = unseen.measure_spread


def measure_seen(pit_NK: np.ndarray, unseen_NK: np.ndarray) -> unseen.Spread:
    """Measure how members differ on what they have seen, as it was until 2026-11-28."""
    return MEASURE(pit_NK, ~unseen_NK)


WAYS = {
    "raw": None,
    "as of one member": lambda pit_NK, unseen_NK: unseen.Spread(1.0, 0.0),
    "as members agree on galaxies they have seen": measure_seen,
    "as members agree on galaxies they have not seen": MEASURE,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue")
    parser.add_argument("--bands", default="u,g,r,i,z")
    parser.add_argument("--rows", default="1000,2000,4000,8000")
    parser.add_argument("--seeds", default="1")
    options = parser.parse_args()
    bands = tuple(options.bands.split(","))
    catalogue = read_plain_catalogue(options.catalogue, bands)
    sample = catalogue.sample.take(np.flatnonzero(catalogue.train_N))
    for rows in map(int, options.rows.split(",")):
        for seed in map(int, options.seeds.split(",")):
            order = np.random.default_rng(seed).permutation(len(sample))
            train, others = sample.take(order[:rows]), sample.take(order[rows : rows + 12_000])
            report(MlpEstimator.fit(train, seed=seed), train, others, seed)


def report(estimator: MlpEstimator, train, others, seed: int) -> None:
    fold_N = unseen.assign_folds(len(train), seed)
    for way, measure in WAYS.items():
        if measure is None:
            recalibration = Recalibration.identity()
        else:
            unseen.measure_spread = measure
            recalibration = unseen.fit_recalibration(estimator._model.ensemble, train, fold_N, seed)
            unseen.measure_spread = MEASURE
        arrays = {**estimator.parts.arrays, **recalibration.to_arrays()}
        found = MlpEstimator(replace(estimator.parts, arrays=arrays)).estimate(others.make_inputs())
        pit_N, crps_N, cde_N = score_quantiles(found.pdf.quantiles_NQ, others.z_N)
        covered = " | ".join(f"{100 * compute_pit_coverage(pit_N, share):.1f} %" for share in (0.68, 0.95))
        scores = f"{np.nanmean(crps_N):.5f} | {np.nanmean(cde_N):.2f}"
        print(f"| {len(train)} | {seed} | {way} | {covered} | {scores} |", flush=True)


if __name__ == "__main__":
    main()
