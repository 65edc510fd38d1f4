#!/usr/bin/env python
"""Compare recipes of `mlp` on validation data: accuracy, and the processor time of the fit.

    python tests/benchmarks/compare_mlp_recipes.py FILE u,g,r,i,z --recipe "" --recipe epochs=30,learning_rate=6e-3

Fitted to three quarters of the catalogue's training rows and measured on the fourth (seed 11), as the table of
docs/benchmarks/mlp-levers.md was; the test rows are not looked at. Prints a Markdown table.
"""

import argparse
import json
import time

import numpy as np
import torch

from photoz.comparison import read_plain_catalogue
from photoz.estimators.mlp.estimator import MlpEstimator
from photoz.estimators.photometric.base import Sample
from photoz.metrics import compute_metrics
from photoz.pdf import compute_coverage, decode_quantiles, encode_quantiles, score_quantiles

HEAD = "| recipe | seed | SMAD | > 0.05 | CRPS | CDE loss | 68 % | 95 % | processor s | s |"


def read_recipe(text: str) -> dict[str, object]:
    """Read ``name=value,name=value``."""
    return {name: json.loads(value) for name, _, value in (word.partition("=") for word in text.split(",") if word)}


def measure(train: Sample, valid: Sample, recipe: dict[str, object], seed: int) -> str:
    """Fit a recipe and measure it; return a row of the table."""
    clock, processor = time.perf_counter(), time.process_time()
    estimator = MlpEstimator.fit(train, seed=seed, **recipe)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    estimates, z_N = estimator.estimate(valid.make_inputs()), valid.z_N
    metrics = compute_metrics(estimates.z_phot_N, z_N, resamples=0)
    z_NQ = decode_quantiles(encode_quantiles(estimates.pdf.quantiles_NQ))
    _, crps_N, cde_N = score_quantiles(z_NQ, z_N)
    covered = [compute_coverage(z_NQ, z_N, share) for share in (0.68, 0.95)]
    return (
        f"| {recipe} | {seed} | {metrics['smad'].value:.5f} | {metrics['outlier_fraction_005'].value:.2%} "
        f"| {np.nanmean(crps_N):.5f} | {np.nanmean(cde_N):.2f} | {covered[0]:.1%} | {covered[1]:.1%} "
        f"| {processor:.1f} | {clock:.1f} |"
    )


def main() -> None:
    """Read the options, split the training rows, and print a row for each recipe and seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("catalogue")
    parser.add_argument("bands")
    parser.add_argument("--recipe", action="append", default=[], help='"" for the defaults')
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    galaxies = read_plain_catalogue(options.catalogue, options.bands.split(","))
    rows = galaxies.sample.take(galaxies.train_N)
    order = np.random.default_rng(11).permutation(len(rows))
    valid, train = rows.take(order[: len(rows) // 4]), rows.take(order[len(rows) // 4 :])
    print(f"fitted to {len(train):,}, measured on {len(valid):,}\n\n{HEAD}")
    print("|---" * 10 + "|")
    for seed in range(1, options.seeds + 1):
        for recipe in options.recipe or [""]:
            print(measure(train, valid, read_recipe(recipe), seed), flush=True)


if __name__ == "__main__":
    main()
