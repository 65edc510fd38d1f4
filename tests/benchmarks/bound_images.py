#!/usr/bin/env python
r"""Bound what images can add to fluxes on the simulated sky: networks that are told the true shapes of the galaxies.

    python tests/benchmarks/bound_images.py FOLDER [--rows 17000] [--seeds 1,2] [--judge valid]

FOLDER as of simulate_many.py. mlp's ensemble, fitted as mlp is, reads mlp's features and, in turn, nothing else, the
true shapes, the seeing of the images, both. No image tells a shape without error: what it may tell beyond is the light
outside of the aperture of the fluxes, and neighbours. Scores are those of the raw densities.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from compare_on_many import compute_gain, describe, format_gain, read, read_truth
from simulate_many import make_config

from photoz.estimators.density import find_local_median
from photoz.estimators.mixture import find_median, find_quantiles
from photoz.estimators.mlp.ensemble import EnsembleRecipe, MixtureEnsemble
from photoz.estimators.mlp.estimator import fit_ensemble
from photoz.estimators.mlp.lacking import choose_dark, darken_bands, drop_bands
from photoz.estimators.mlp.unseen import assign_folds
from photoz.estimators.photometric.features import FluxFeatures
from photoz.pdf import score_quantiles
from photoz.schema import LEVELS


def describe_shapes(truth: dict[str, np.ndarray], told: str) -> np.ndarray:
    """Return what a network is told beside the fluxes, shape (N, C)."""
    early_N = truth["early"]
    # Without a disc its radius and ratio mean nothing, and yet follow from the galaxy's.
    disc = {name: np.where(early_N, 0.0, truth[name]) for name in ("disc_radius", "disc_ratio")}
    index_N = np.where((truth["bulge_r"] > 0), truth["bulge_index"], 0.0)
    shapes = [np.log(truth["radius"]), early_N, index_N, np.log1p(disc["disc_radius"]), disc["disc_ratio"]]
    shapes += [truth["bulge_ratio"]]
    columns = {
        "nothing else": [],
        "sizes": [np.log(truth["radius"])],
        "shapes": [*shapes, truth["bulge_r"]],
        # The bulge's share in other bands than one is a colour without noise, which pixels have with noise alone.
        "shapes, bulge by band": [*shapes, *(truth[f"bulge_{band}"] for band in "ugri")],
        "seeing": [np.log(truth[f"seeing_{band}"]) for band in "ugri"],
    }
    columns["shapes and seeing"] = [*columns["shapes"], *columns["seeing"]]
    return np.stack(columns[told], axis=1) if columns[told] else np.zeros((len(early_N), 0))


def fit(sample, shapes_NC: np.ndarray, seed: int):
    """Fit mlp's ensemble to its features and the shapes, as mlp is."""
    recipe, features = EnsembleRecipe(), FluxFeatures.fit(sample)
    mean_C, spread_C = shapes_NC.mean(axis=0), shapes_NC.std(axis=0)
    y_N = np.log1p(np.asarray(sample.z_N, dtype=np.float64))
    scale = (float(y_N.mean()), float(y_N.std()))
    rng = np.random.default_rng(seed)

    def scale_shapes(values_NC: np.ndarray) -> np.ndarray:
        return ((values_NC - mean_C) / spread_C).astype(np.float32)

    def draw() -> np.ndarray:
        darker = darken_bands(sample, choose_dark(sample, recipe.dark_fraction, rng))
        dropped = drop_bands(darker, recipe.band_dropout, rng)
        return np.concatenate([features.apply(dropped.fluxes_NF, dropped.errors_NF), scale_shapes(shapes_NC)], axis=1)

    torch.manual_seed(seed)
    network = MixtureEnsemble(draw().shape[1], recipe)
    fold_N = assign_folds(len(sample), seed)
    fit_ensemble(network, draw, ((y_N - scale[0]) / scale[1]).astype(np.float32), recipe=recipe, fold_N=fold_N)
    return features, scale_shapes, network.eval(), scale, recipe.reach


def judge(fitted, galaxies, shapes_NC: np.ndarray) -> dict[str, np.ndarray]:
    features, scale_shapes, network, (mean, spread), reach = fitted
    inputs = galaxies.inputs
    read_NI = np.concatenate([features.apply(inputs.fluxes_NF, inputs.errors_NF), scale_shapes(shapes_NC)], axis=1)
    with torch.inference_mode():
        mixture = network.mix(torch.from_numpy(read_NI))
        points_N = find_local_median(mixture, find_median(mixture), reach / spread, steps=5)
        levels_NQ = torch.tensor(LEVELS).expand(len(read_NI), -1).contiguous()
        quantiles_NQ = find_quantiles(mixture, levels_NQ)
    values = [np.expm1(each.double().numpy() * spread + mean) for each in (points_N, quantiles_NQ)]
    scores = score_quantiles(values[1], galaxies.z_N)
    return {"z": galaxies.z_N, "z_phot": values[0], **dict(zip(("pit", "crps", "cde"), scores, strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=17000)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--told", default="nothing else;sizes;shapes;shapes, bulge by band;seeing;shapes and seeing")
    parser.add_argument("--judge", choices=("valid", "test"), default="test")
    options = parser.parse_args()
    folder = options.folder.absolute()
    bands, splits = make_config(folder, 1).survey.bands, read(folder, options.rows)
    truth = {split: read_truth(folder, splits[split].names) for split in ("train", options.judge)}
    judged = splits[options.judge]
    for seed in map(int, options.seeds.split(",")):
        bare = None
        for told in options.told.split(";"):
            fitted = fit(splits["train"].to_sample(bands), describe_shapes(truth["train"], told), seed)
            found = judge(fitted, judged, describe_shapes(truth[options.judge], told))
            bare = bare or found
            every = np.arange(len(judged))
            figures = describe(found, every)
            cells = " | ".join(f"{value:.4f}" for value in figures.values())
            gain = format_gain(compute_gain(found, bare, every))
            print(f"| {options.rows} | {told} | {seed} | {cells} | {gain} |", flush=True)


if __name__ == "__main__":
    main()
