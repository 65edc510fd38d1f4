#!/usr/bin/env python
"""Measure the p(z) of a fitted `mlp` on the test rows of a plain catalogue: calibration, missing bands, coverage, time.

    python jobs/compare_estimators.py --set data.catalogue=FILE --set data.bands=u,g,r,i,z --set estimators=mlp \
        --set output=DIR
    python tests/benchmarks/measure_mlp_pdf.py FILE u,g,r,i,z DIR/models/mlp

Prints Markdown tables. "Raw" is p(z) without its recalibration. Everything is of the stored quantiles, rounded as a
catalogue rounds them, but for the line "on a grid".
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from photoz.comparison import read_plain_catalogue
from photoz.estimators.base import Inputs
from photoz.estimators.distance import TrainingDistance
from photoz.estimators.mlp.estimator import MlpEstimator
from photoz.estimators.photometric.base import Sample
from photoz.estimators.photometric.features import FluxFeatures, select_distinct
from photoz.metrics import compute_metrics
from photoz.pdf import (
    Recalibration,
    compute_cde_losses,
    compute_coverage,
    compute_crps,
    compute_ks,
    decode_quantiles,
    encode_quantiles,
    score_quantiles,
)
from photoz.schema import LEVELS, Flag

HEAD = "| | galaxies | SMAD | > 0.05 | KS of PIT | 68 % | 95 % | CRPS | CDE loss | width of 68 % | flagged |"


def make_raw(estimator: MlpEstimator) -> MlpEstimator:
    """Return the estimator without its recalibration."""
    arrays = {**estimator.parts.arrays, **Recalibration.identity().to_arrays()}
    return MlpEstimator(replace(estimator.parts, arrays=arrays))


def format_row(label: str, estimator: MlpEstimator, inputs: Inputs, z_N: np.ndarray) -> str:
    estimates = estimator.estimate(inputs)
    z_NQ = decode_quantiles(encode_quantiles(estimates.pdf.quantiles_NQ))
    pit_N, crps_N, cde_N = score_quantiles(z_NQ, z_N)
    metrics = compute_metrics(estimates.z_phot_N, z_N, resamples=0)
    covered = [compute_coverage(z_NQ, z_N, share) for share in (0.68, 0.95)]
    width = np.nanmedian(z_NQ[:, LEVELS.index(0.84)] - z_NQ[:, LEVELS.index(0.16)])
    return (
        f"| {label} | {len(z_N):,} | {metrics['smad'].value:.4f} | {metrics['outlier_fraction_005'].value:.2%} "
        f"| {compute_ks(pit_N):.4f} | {covered[0]:.1%} | {covered[1]:.1%} "
        f"| {np.nanmean(crps_N):.5f} | {np.nanmean(cde_N):.2f} | {width:.4f} "
        f"| {np.mean(estimates.flags_N & Flag.OUTSIDE_TRAINING != 0):.1%} |"
    )


def print_calibration(estimator: MlpEstimator, inputs: Inputs, test: Sample) -> None:
    """Calibration of all galaxies, of the faintest and of the reddest fifth, before and after."""
    r_N, colour_N = find_colour(test)
    fifths = {
        "faintest fifth": np.flatnonzero(r_N >= np.nanquantile(r_N, 0.8)),
        "reddest fifth": np.flatnonzero(colour_N >= np.nanquantile(colour_N, 0.8)),
    }
    print(HEAD, "|---" * 11 + "|", sep="\n")
    for label, rows in {"all": np.arange(len(test)), **fifths}.items():
        for name, each in (("raw", make_raw(estimator)), ("recalibrated", estimator)):
            print(format_row(f"{label}, {name}", each, inputs.take(rows), test.z_N[rows]), flush=True)
    grid = np.linspace(0.0, 1.2 * test.z_N.max(), 601)
    pdf_NZ = estimator.estimate_pdf(inputs, grid)
    crps, cde = (np.nanmean(score(pdf_NZ, grid, test.z_N)) for score in (compute_crps, compute_cde_losses))
    print(f"\nOn a grid of {len(grid)} redshifts: CRPS {crps:.5f}, CDE loss {cde:.2f}\n")


def print_removed(estimator: MlpEstimator, inputs: Inputs, test: Sample) -> None:
    """The same with bands removed from the test galaxies."""
    bands = list(test.bands)
    groups = {band: [i] for i, band in enumerate(bands)}
    groups |= {"all redder than r": list(range(bands.index("r") + 1, len(bands))), "u and g": [0, 1]}
    print(HEAD.replace("| |", "| removed |", 1), "|---" * 11 + "|", sep="\n")
    print(format_row("nothing", estimator, inputs, test.z_N), flush=True)
    for label, lost in groups.items():
        print(format_row(label, estimator, remove(inputs, lost), test.z_N), flush=True)


def print_not_detected(estimator: MlpEstimator, inputs: Inputs, test: Sample) -> None:
    """Galaxies that are faint in the first band, whose magnitude there is then taken for something else."""
    # Of what was detected: a flux below its error has no magnitude.
    rows = np.flatnonzero(test.magnitudes.errors_NF[:, 0] > 2.5 / np.log(10) / 2)
    first = test.bands[0]
    few, z_N = inputs.take(rows), test.z_N[rows]
    print(f"\nGalaxies of a signal-to-noise ratio below 2 in {first}, where that magnitude is", HEAD, sep="\n\n")
    print("|---" * 11 + "|")
    print(format_row("given", estimator, few, z_N))
    print(format_row("not detected", estimator, remove(few, [0], dark=True), z_N))
    print(format_row("not observed", estimator, remove(few, [0]), z_N))


def print_coverage(train: Sample, test: Sample) -> None:
    """How often galaxies redder than any of the training sample's are flagged, and the others."""
    print(
        "\n| training sample without the reddest 5 % in | flagged of these | of the others | ratio |\n|---|---|---|---|"
    )
    for blue, red in (("g", "r"), ("g", "i")):
        first, second = train.bands.index(blue), train.bands.index(red)
        magnitudes = [each.magnitudes.magnitudes_NF for each in (train, test)]
        colours = [each_NF[:, first] - each_NF[:, second] for each_NF in magnitudes]
        limit = np.nanquantile(colours[0], 0.95)
        kept = train.take(colours[0] <= limit)
        features = FluxFeatures.fit(kept)
        points, queries = (select_distinct(features.apply(s.fluxes_NF, s.errors_NF)) for s in (kept, test))
        outside_N = TrainingDistance.fit(points, seed=1).measure(queries) > 1
        red_N = colours[1] > limit
        shares = outside_N[red_N].mean(), outside_N[~red_N].mean()
        print(f"| {blue} - {red} | {shares[0]:.1%} | {shares[1]:.1%} | {shares[0] / shares[1]:.1f} |")


def print_time(estimator: MlpEstimator, inputs: Inputs) -> None:
    """CPU time a galaxy, on one thread, of the whole and of its parts."""
    features_NC = estimator._model.ensemble.features.apply(inputs.fluxes_NF, inputs.errors_NF)
    parts = {
        "z_phot alone": lambda: estimator._predict_points(inputs),
        "levels of the recalibration": lambda: estimator._map_levels(inputs.magnitudes),
        "distance from the training sample": lambda: estimator._model.distance.measure(select_distinct(features_NC)),
        "everything (`estimate`)": lambda: estimator.estimate(inputs),
    }
    print("\n| one thread | CPU µs a galaxy | galaxies a CPU second |\n|---|---|---|")
    for label, work in parts.items():
        seconds = measure_cpu(work) / len(inputs)
        print(f"| {label} | {1e6 * seconds:.1f} | {1 / seconds:,.0f} |", flush=True)


def measure_cpu(work: Callable[[], object], *, rounds: int = 3) -> float:
    """Return the least CPU time [s] of a few calls."""
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def find_colour(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude in r and g - r."""
    g, r = sample.bands.index("g"), sample.bands.index("r")
    magnitudes_NF = sample.magnitudes.magnitudes_NF
    return magnitudes_NF[:, r], magnitudes_NF[:, g] - magnitudes_NF[:, r]


def remove(inputs: Inputs, bands: list[int], *, dark: bool = False) -> Inputs:
    """Take bands from galaxies that have another one."""
    others = [i for i in range(inputs.fluxes_NF.shape[1]) if i not in bands]
    rows = np.flatnonzero(np.isfinite(inputs.magnitudes.magnitudes_NF[:, others]).any(axis=1))
    fluxes_NF, errors_NF = inputs.fluxes_NF.copy(), inputs.errors_NF.copy()
    fluxes_NF[np.ix_(rows, bands)], errors_NF[np.ix_(rows, bands)] = 0.0 if dark else np.nan, np.nan
    return replace(inputs, fluxes_NF=fluxes_NF, errors_NF=errors_NF)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue")
    parser.add_argument("bands", help="as they were fitted, such as u,g,r,i,z")
    parser.add_argument("model", help="folder of the fitted estimator")
    options = parser.parse_args()
    torch.set_num_threads(1)
    catalogue = read_plain_catalogue(options.catalogue, options.bands.split(","))
    train, test = catalogue.sample.take(catalogue.train_N), catalogue.sample.take(~catalogue.train_N)
    estimator, inputs = MlpEstimator.load(options.model), test.make_inputs()
    print_calibration(estimator, inputs, test)
    print_removed(estimator, inputs, test)
    print_not_detected(estimator, inputs, test)
    print_coverage(train, test)
    print_time(estimator, inputs)


if __name__ == "__main__":
    main()
