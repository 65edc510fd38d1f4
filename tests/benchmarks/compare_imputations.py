#!/usr/bin/env python
r"""Measure estimators with each band removed in turn, under photoz's rule for a missing magnitude and its alternatives.

    python tests/benchmarks/compare_imputations.py --catalogue FILE --bands u,g,r,i,z --output FILE.csv

The rules, each used in the fit as well as in the estimate:

- ``neighbours``: photoz's own, the mean difference to the neighbouring bands, from both sides, averaged;
- ``mean``: the band's mean magnitude;
- ``gaussian``: the mean of the missing magnitudes given the others, magnitudes being a multivariate normal fitted to
  the training galaxies that have them all (what an iterated linear regression tends to);
- ``mask``: nothing is filled. `mlp` gets zeros for standardised features and is told by its masks; `boosted` gets NaN;
  `knn` cannot do without (empty);
- ``refitted``: no rule, but what is possible: the estimator fitted without the band.

Fitted to 80 % of the training rows and measured on the other 20 %; the test rows are not looked at, so that a rule may
be chosen by this table.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from photoz.comparison import read_plain_catalogue
from photoz.comparison.page import format_csv
from photoz.estimators.photometric.base import Sample
from photoz.estimators.photometric.features import FluxFeatures
from photoz.estimators.registry import load_class
from photoz.metrics import compute_metrics
from photoz.photometry import Floats, fill_missing_magnitudes, fit_band_differences

HELD_OUT = 0.2
MODULES = ("boosted", "features", "knn")
Rule = tuple[Callable[[Floats], Floats], Callable[[Floats, Floats], Floats]]


def fit_means(magnitudes_NF: Floats) -> Floats:
    return np.asarray(np.nanmean(magnitudes_NF, axis=0))


def fill_with_means(magnitudes_NF: Floats, means_F: Floats) -> Floats:
    return np.where(np.isfinite(magnitudes_NF), magnitudes_NF, means_F)


def fit_gaussian(magnitudes_NF: Floats) -> Floats:
    """Mean and covariance of the complete rows, stacked: shape (1 + F, F)."""
    complete_NF = magnitudes_NF[np.isfinite(magnitudes_NF).all(axis=1)]
    return np.vstack([complete_NF.mean(axis=0), np.cov(complete_NF, rowvar=False)])


def fill_with_gaussian(magnitudes_NF: Floats, parameters: Floats) -> Floats:
    """Fill each row with the conditional mean given its known magnitudes; a row without any gets the mean."""
    mean_F, covariance_FF = parameters[0], parameters[1:]
    filled_NF = np.array(magnitudes_NF, dtype=np.float64)
    known_NF = np.isfinite(filled_NF)
    for known_F in np.unique(known_NF, axis=0):
        rows = np.flatnonzero((known_NF == known_F).all(axis=1))
        weights = np.linalg.solve(covariance_FF[np.ix_(known_F, known_F)], covariance_FF[np.ix_(known_F, ~known_F)])
        given = filled_NF[np.ix_(rows, known_F)] - mean_F[known_F]
        filled_NF[np.ix_(rows, ~known_F)] = mean_F[~known_F] + given @ weights
    return filled_NF


def keep_missing(magnitudes_NF: Floats, parameters: Floats) -> Floats:
    return np.where(np.isfinite(magnitudes_NF), magnitudes_NF, np.nan).astype(np.float64)


RULES: dict[str, Rule] = {
    "neighbours": (fit_band_differences, fill_missing_magnitudes),
    "mean": (fit_means, fill_with_means),
    "gaussian": (fit_gaussian, fill_with_gaussian),
    "mask": (fit_band_differences, keep_missing),
}


class MaskedFeatures(FluxFeatures):
    """Features whose mean and spread are those of what is known; what is missing becomes zero."""

    @classmethod
    def fit(cls, sample: Sample) -> "MaskedFeatures":
        filled = FluxFeatures.fit(sample)
        bare = cls(filled.softening_F, filled.differences, np.zeros(1), np.ones(1))
        raw_NC = bare._compute(sample.fluxes_NF, sample.errors_NF)
        spread_C = np.nanstd(raw_NC, axis=0)
        return cls(bare.softening_F, bare.differences, np.nanmean(raw_NC, axis=0), np.where(spread_C > 0, spread_C, 1))


@contextmanager
def use_rule(name: str) -> Iterator[None]:
    """Put a rule in the place of photoz's own in the modules that fill."""
    fit, fill = RULES[name]
    with ExitStack() as stack:
        for module in MODULES:
            stack.enter_context(patch(f"photoz.estimators.photometric.{module}.fit_band_differences", fit))
            stack.enter_context(patch(f"photoz.estimators.photometric.{module}.fill_missing_magnitudes", fill))
        if name == "mask":
            stack.enter_context(patch("photoz.estimators.mlp.estimator.FluxFeatures", MaskedFeatures))
        yield


def remove_band(sample: Sample, band: str) -> Sample:
    """Return the galaxies without any magnitude in a band ("" removes none)."""
    gone_F = np.array([each == band for each in sample.bands])
    return replace(sample, fluxes_NF=np.where(gone_F, np.nan, sample.fluxes_NF))


def drop_band(sample: Sample, band: str) -> Sample:
    """Return the galaxies as if there were no such band."""
    kept_F = np.array([each != band for each in sample.bands])
    bands = tuple(each for each in sample.bands if each != band)
    return Sample(bands, sample.fluxes_NF[:, kept_F], sample.errors_NF[:, kept_F], sample.z_N)


def measure(estimator: Any, sample: Sample) -> dict[str, float]:
    metrics = compute_metrics(estimator.estimate(sample.make_inputs()).z_phot_N, sample.z_N, resamples=0)
    names = {"smad": "smad", "out_005": "outlier_fraction_005", "completeness": ""}
    return {key: metrics[name].value if name else metrics.completeness for key, name in names.items()}


def measure_rules(name: str, train: Sample, valid: Sample) -> Iterator[dict[str, Any]]:
    """Yield SMAD and outliers of one estimator under each rule with each band removed."""
    kind: Any = load_class(name)
    for rule in RULES:
        if (name, rule) == ("knn", "mask"):
            continue
        with use_rule(rule):
            estimator = kind.fit(train)
            for band in ("", *train.bands):
                yield {"estimator": name, "rule": rule, "removed": band, **measure(estimator, remove_band(valid, band))}
    for band in train.bands:
        estimator = kind.fit(drop_band(train, band).check())
        found = measure(estimator, drop_band(valid, band))
        yield {"estimator": name, "rule": "refitted", "removed": band, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalogue", required=True)
    parser.add_argument("--bands", default="u,g,r,i,z")
    parser.add_argument("--estimators", default="knn,boosted,mlp")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    catalogue = read_plain_catalogue(options.catalogue, options.bands.split(","))
    train, valid = catalogue.sample.take(catalogue.train_N).check().split(HELD_OUT, seed=1)
    print(f"{len(train):,} galaxies to learn from, {len(valid):,} to measure on")
    rows = []
    for name in options.estimators.split(","):
        for row in measure_rules(name, train, valid):
            rows.append(row)
            print(*row.values(), flush=True)
            options.output.write_text(format_csv(rows))


if __name__ == "__main__":
    main()
