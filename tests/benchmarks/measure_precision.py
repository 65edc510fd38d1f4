#!/usr/bin/env python
r"""What the layout for inference and bf16 change in redshifts, against the same network as it was trained.

    python tests/benchmarks/measure_precision.py --config SETTINGS --estimator hybrid [--estimator hybrid-paper]

Of galaxies of the settings' training set: the greatest change of z_phot, and that of 99 in 100.
"""

import argparse

import numpy as np
import pyarrow as pa
import torch

from photoz.estimators import load_estimator
from photoz.inputs import make_inputs
from photoz.settings.config import load_config
from photoz.storage import join
from photoz.training.set import list_columns, read_split

GALAXIES = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--estimator", action="append", required=True)
    options = parser.parse_args()
    config = load_config(options.config, [])
    print("| network | packed float32: max, 99 % | packed bf16 | bf16 by autocast |\n|---|---|---|---|")
    for name in options.estimator:
        estimator = load_estimator(join(config.locations.models, name)).without_pdf()
        rows = pa.concat_tables(
            read_split(config.locations.training, "train", list_columns(estimator.bands, images=True))
        )
        rows = rows.slice(0, GALAXIES).combine_chunks()
        inputs = make_inputs(rows, estimator.bands)
        eager_N = estimator.estimate(inputs).z_phot_N
        with torch.autocast("cpu", torch.bfloat16):
            autocast_N = estimator.estimate(inputs).z_phot_N
        packed = [estimator.prepare(precision).estimate(inputs).z_phot_N for precision in ("float32", "bfloat16")]
        cells = [describe(np.abs(z_N - eager_N)) for z_N in (*packed, autocast_N)]
        print(f"| {name}, {len(inputs):,} galaxies | {' | '.join(cells)} |")


def describe(change_N: np.ndarray) -> str:
    return f"{np.nanmax(change_N):.1e}, {np.nanquantile(change_N, 0.99):.1e}"


if __name__ == "__main__":
    main()
