#!/usr/bin/env python
"""Measure an estimator on the test galaxies, as they are and with a band, VIKING, the image or the photometry removed.

    python tests/benchmarks/measure_missing.py --config tests/benchmarks/pdf_survey.toml --estimator hybrid [--rows N] \
        [--set section.key=value ...]

Reads the test split of the training set, which no choice was made by. A band that is removed is not observed: neither
its magnitude nor its image is there. Every line is without and, but for the first, with recalibration.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch

from photoz.estimators import Inputs, load_estimator
from photoz.estimators.networks.hybrid import HybridEstimator
from photoz.inputs import make_inputs
from photoz.metrics import compute_dz, compute_smad
from photoz.pdf import Recalibration, compute_coverage, compute_ks, make_coordinates, score_quantiles
from photoz.schema import LEVELS
from photoz.settings.config import Config, load_config
from photoz.storage import join
from photoz.training.set import list_columns, read_split

HEAD = "| galaxies | count | SMAD | KS | 68 % | 95 % | half width 68 % | CRPS | CDE loss |"


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    config = load_config(options.config, options.overrides)
    estimator = load_estimator(join(config.locations.models, options.estimator))
    assert isinstance(estimator, HybridEstimator)
    inputs, z_spec_N = read_test(config, estimator, options.rows)
    print(f"\n{estimator.name}, {len(inputs):,} test galaxies, {config.run.name}\n\n{HEAD}\n|{'---|' * 9}")
    raw = replace(estimator, recalibration=Recalibration.identity())
    show("as they are, before recalibration", raw.estimate(inputs), z_spec_N)
    whole = estimator.estimate(inputs)
    for label, rows in list_groups(inputs, estimator.bands, z_spec_N):
        show(label, whole, z_spec_N, rows)
    for label, poorer in list_removals(inputs, estimator):
        show(f"without {label}", estimator.estimate(poorer), z_spec_N)
    if whole.pdf is not None:
        show_distance(whole, z_spec_N)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="tests/benchmarks/pdf_survey.toml")
    parser.add_argument("--estimator", default="hybrid")
    parser.add_argument("--rows", type=int, default=0, help="test galaxies at most; 0: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    return parser.parse_args()


def read_test(config: Config, estimator: HybridEstimator, most: int) -> tuple[Inputs, np.ndarray]:
    columns = list_columns(estimator.bands, images=bool(estimator.image_bands))
    tables, count = [], 0
    for table in read_split(config.locations.training, "test", columns):
        tables.append(table)
        count += len(table)
        if 0 < most <= count:
            break
    whole = pa.concat_tables(tables)
    whole = whole.slice(0, most or len(whole))
    return make_inputs(whole, estimator.bands), whole["z_spec"].to_numpy()


def list_groups(inputs: Inputs, bands: tuple[str, ...], z_spec_N: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    coordinates_NC = make_coordinates(inputs.magnitudes.magnitudes_NF, bands)
    yield "as they are", np.full(len(z_spec_N), True)
    for number, label in enumerate(("faintest fifth", "reddest fifth")):
        values = coordinates_NC[:, number]
        yield f"as they are, {label}", values > np.nanquantile(values, 0.8)


def list_removals(inputs: Inputs, estimator: HybridEstimator) -> Iterator[tuple[str, Inputs]]:
    for band in estimator.bands:
        yield band, remove(inputs, estimator, (band,))
    yield "VIKING (" + " ".join(estimator.layout.unimaged) + ")", remove(inputs, estimator, estimator.layout.unimaged)
    if inputs.cutouts_NBYX is not None:
        blind = replace(inputs, cutouts_NBYX=np.full_like(inputs.cutouts_NBYX, np.nan))
        yield "the image", blind
        yield "the image and VIKING", remove(blind, estimator, estimator.layout.unimaged)
        yield "the photometry", replace(inputs, fluxes_NF=np.full_like(inputs.fluxes_NF, np.nan))


def remove(inputs: Inputs, estimator: HybridEstimator, bands: tuple[str, ...]) -> Inputs:
    gone = np.array([band in bands for band in estimator.bands])
    cutouts_NBYX = inputs.cutouts_NBYX
    images = [band in bands for band in estimator.image_bands]
    if cutouts_NBYX is not None and any(images):
        cutouts_NBYX = cutouts_NBYX.copy()
        cutouts_NBYX[:, images] = np.nan
    return replace(inputs, fluxes_NF=np.where(gone, np.nan, inputs.fluxes_NF), cutouts_NBYX=cutouts_NBYX)


def show(label, estimates, z_spec_N, rows=slice(None)) -> None:
    z_N, spec_N = estimates.z_phot_N[rows], z_spec_N[rows]
    good = np.isfinite(z_N)
    figures = [f"{good.sum():,}", f"{compute_smad(compute_dz(z_N[good], spec_N[good])):.4f}"]
    if estimates.pdf is not None:
        quantiles_NQ = estimates.pdf.quantiles_NQ[rows][good]
        pit_N, crps_N, cde_N = score_quantiles(quantiles_NQ, spec_N[good])
        low, high = (quantiles_NQ[:, LEVELS.index(level)] for level in (0.16, 0.84))
        shares = (100 * compute_coverage(quantiles_NQ, spec_N[good], probability) for probability in (0.68, 0.95))
        figures += [f"{compute_ks(pit_N):.4f}", *(f"{share:.1f}" for share in shares)]
        figures += [f"{np.median(high - low) / 2:.4f}", f"{np.mean(crps_N):.5f}", f"{np.mean(cde_N):.3f}"]
    print(f"| {label} | {' | '.join(figures)} |", flush=True)


def show_distance(estimates, z_spec_N) -> None:
    """Tell whether the members disagree more about galaxies that are unlike the training sample."""
    distance_N, dz_N = estimates.pdf.distance_N, compute_dz(estimates.z_phot_N, z_spec_N)
    print("\n| training_distance | count | SMAD | median z_std_model |\n|---|---|---|---|")
    for low, high in ((0.0, 0.3), (0.3, 0.5), (0.5, 0.75), (0.75, 1.0), (1.0, np.inf)):
        rows = (distance_N >= low) & (distance_N < high) & np.isfinite(dz_N)
        if rows.sum() > 5:
            spread = np.median(estimates.pdf.z_std_model_N[rows])
            print(f"| {low:g} to {high:g} | {rows.sum():,} | {compute_smad(dz_N[rows]):.4f} | {spread:.4f} |")


if __name__ == "__main__":
    main()
