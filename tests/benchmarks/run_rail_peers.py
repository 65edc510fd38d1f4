#!/usr/bin/env python
r"""Train RAIL's FlexZBoost, GPz and kNN on a plain catalogue and measure them as jobs/compare_estimators.py does ours.

RAIL pins other versions than photoz does, so it has an environment of its own:

    python -m venv RAIL && RAIL/bin/pip install pz-rail-base pz-rail-flexzboost pz-rail-gpz-v1 pz-rail-sklearn
    python tests/benchmarks/run_rail_peers.py --rail-python RAIL/bin/python --catalogue FILE \
        --bands u,g,r,i,z --output DIR

This file runs in both: photoz's environment reads the catalogue, with its split, and computes the metrics; RAIL's fits
and estimates (``--peer``), the arrays going through .npz files in DIR. Every setting is RAIL's default but those that
name columns, and these: the redshift grid is ours; a missing magnitude becomes the faintest training magnitude of its
band, by RAIL's own rule (``nondetect_val``, ``mag_limits``); ``flexzboost_errors`` has ``include_mag_err``. The point
estimate is the median of p(z).
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

PEERS = ("flexzboost", "flexzboost_errors", "gpz", "knn")
GRID_POINTS = 301


def main() -> None:
    options = parse_options()
    if options.peer:
        run_peer(options.peer, options.output)
        return
    from photoz.comparison.page import format_csv

    train_rows, test = write_arrays(options)
    rows = []
    for peer in options.peers.split(","):
        command = [options.rail_python, str(Path(__file__).resolve()), "--peer", peer, "--output", options.output]
        subprocess.run([str(part) for part in command], check=True)
        rows.append(measure(peer, options.output, train_rows, test))
        (options.output / "metrics.csv").write_text(format_csv(rows))
    print((options.output / "metrics.csv").read_text())


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rail-python", help="python of the environment that has RAIL")
    parser.add_argument("--catalogue", help="as data.catalogue of jobs/compare_estimators.py")
    parser.add_argument("--bands", default="u,g,r,i,z")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--output", type=lambda text: Path(text).resolve(), required=True, help="folder to write into")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_arrays(options: argparse.Namespace) -> tuple[int, Any]:
    """Write training and test galaxies for RAIL; return the number of the former and the test sample."""
    from photoz.comparison import read_plain_catalogue

    catalogue = read_plain_catalogue(options.catalogue, options.bands.split(","))
    train, test = catalogue.sample.take(catalogue.train_N), catalogue.sample.take(~catalogue.train_N)
    options.output.mkdir(parents=True, exist_ok=True)
    np.savez(
        options.output / "input.npz",
        bands=np.array(train.bands),
        z_grid=np.linspace(0.0, 1.2 * train.z_N.max(), GRID_POINTS),
        z_train=train.z_N,
        **{f"mag_{name}": each.magnitudes.magnitudes_NF for name, each in (("train", train), ("test", test))},
        **{f"magerr_{name}": each.magnitudes.errors_NF for name, each in (("train", train), ("test", test))},
    )
    return len(train), test


def measure(peer: str, output: Path, train_rows: int, test: Any) -> dict[str, Any]:
    """Return the row of metrics.csv of what a peer wrote."""
    from photoz.comparison.page import COLUMNS
    from photoz.metrics import compute_metrics
    from photoz.pdf import compute_cde_losses, compute_crps

    found = np.load(output / f"{peer}.npz")
    metrics = compute_metrics(found["z_phot"], test.z_N, resamples=100)
    scores = found["pdf"], found["z_grid"], test.z_N
    row: dict[str, Any] = {"estimator": peer, "n_train": train_rows, "n_test": len(test)}
    row |= {column: metrics[name].value for column, name in COLUMNS.items()}
    row |= {
        f"{name}": float(np.nanmean(f(*scores)))
        for name, f in (("crps", compute_crps), ("cde_loss", compute_cde_losses))
    }
    row |= {"train_s": float(found["train_s"])}
    return row | {"estimate_s_per_million": 1e6 * float(found["estimate_s"]) / len(test)}


def run_peer(peer: str, output: Path) -> None:
    """Fit one peer and estimate the test galaxies, in RAIL's environment."""
    arrays = np.load(output / "input.npz")
    informer, estimator = load_stages(peer)
    common, train, test = make_settings(peer, arrays)
    start = time.perf_counter()
    stage = informer.make_stage(name=f"inform_{peer}", model=str(output / f"{peer}.pkl"), **common)
    stage.inform(train)
    trained = time.perf_counter()
    stage = estimator.make_stage(
        name=f"estimate_{peer}", model=stage.get_handle("model"), output=str(output / f"{peer}.hdf5"), **common
    )
    densities = stage.estimate(test).data
    seconds = time.perf_counter() - trained
    z_grid = arrays["z_grid"]
    np.savez(
        output / f"{peer}.npz",
        z_grid=z_grid,
        z_phot=np.ravel(densities.ppf(0.5)),
        pdf=densities.pdf(z_grid),
        train_s=trained - start,
        estimate_s=seconds,
    )


def load_stages(peer: str) -> tuple[Any, Any]:
    if peer.startswith("flexzboost"):
        from rail.estimation.algos.flexzboost import FlexZBoostEstimator, FlexZBoostInformer

        return FlexZBoostInformer, FlexZBoostEstimator
    if peer == "gpz":
        from rail.estimation.algos.gpz import GPzEstimator, GPzInformer

        return GPzInformer, GPzEstimator
    from rail.estimation.algos.k_nearneigh import KNearNeighEstimator, KNearNeighInformer

    return KNearNeighInformer, KNearNeighEstimator


def make_settings(peer: str, arrays: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return RAIL's settings, and training and test galaxies as RAIL's columns."""
    bands = [str(band) for band in arrays["bands"]]
    limits = {f"mag_{band}": float(np.nanmax(arrays["mag_train"][:, i])) for i, band in enumerate(bands)}
    settings: dict[str, Any] = {
        "hdf5_groupname": "",
        "bands": [f"mag_{band}" for band in bands],
        "err_bands": [f"magerr_{band}" for band in bands],
        "ref_band": "mag_i",
        "mag_limits": limits,
        "nondetect_val": float("nan"),
        "redshift_col": "z_spec",
        "zmin": 0.0,
        "zmax": float(arrays["z_grid"][-1]),
        "nzbins": GRID_POINTS,
        "replace_error_vals": [0.1] * len(bands),
    }
    if peer == "flexzboost_errors":
        settings["include_mag_err"] = True
    tables = [
        {
            f"{kind}_{band}": arrays[f"{kind}_{part}"][:, i].copy()
            for i, band in enumerate(bands)
            for kind in ("mag", "magerr")
        }
        for part in ("train", "test")
    ]
    return settings, {**tables[0], "z_spec": arrays["z_train"]}, tables[1]


if __name__ == "__main__":
    sys.exit(main())
