"""What storing p(z) as quantiles costs, in accuracy and in bytes.

`python tests/benchmarks/measure_pdf_storage.py CATALOGUE` fits an ensemble of mixture-density networks to the rows of a
plain catalogue (Parquet: mag_<b>, z_spec, split) that are for training, and takes their mixtures for the test rows as
the truth: scores on a full grid against scores from the stored quantiles, and bytes of every column after ZSTD.
"""

import argparse
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy.special import ndtr

from photoz.estimators.base import Estimates, Pdfs
from photoz.estimators.mlp.ensemble import EnsembleRecipe, MixtureEnsemble, sum_losses
from photoz.inference import make_table
from photoz.pdf import (
    compute_cde_losses,
    compute_crps,
    decode_quantiles,
    encode_quantiles,
    score_quantiles,
)
from photoz.schema import LEVELS, make_source_schema

GRID = np.linspace(0.0, 2.5, 5001)
BANDS = ("u", "g", "r", "i", "z")
RECIPE = EnsembleRecipe(members=3, hidden=(128, 128), components=5)


def fit_mixtures(table: pa.Table, *, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit, and return the CDF and the density of the test rows on the grid, and their redshifts."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    magnitudes = np.stack([table[f"mag_{band}"].to_numpy() for band in BANDS], axis=1)
    z_spec, split = table["z_spec"].to_numpy(), table["split"].to_numpy()
    train, test = split == "train", np.flatnonzero(split == "test")[:most]
    features = np.concatenate([magnitudes[:, 2:3], -np.diff(magnitudes, axis=1)], axis=1)
    middle = np.nanmedian(features[train], axis=0)
    scale = 1.4826 * np.nanmedian(np.abs(features[train] - middle), axis=0)
    inputs = torch.tensor(np.nan_to_num(np.clip((features - middle) / scale, -6, 6)), dtype=torch.float32)
    target = np.log1p(z_spec)
    mean, spread = target[train].mean(), target[train].std()
    network = fit_network(inputs[train], torch.tensor((target[train] - mean) / spread, dtype=torch.float32))
    with torch.no_grad():
        weights, centres, widths = (part.double().numpy() for part in network.mix(inputs[test]))
    cdf, pdf = tabulate(weights, centres * spread + mean, widths * spread)
    return cdf, pdf, z_spec[test]


def fit_network(inputs: torch.Tensor, targets: torch.Tensor) -> MixtureEnsemble:
    network = MixtureEnsemble(inputs.shape[1], RECIPE)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    for _ in range(12):
        for rows in torch.randperm(len(inputs)).split(256):
            loss = sum_losses(network(inputs[rows]), targets[rows].expand(RECIPE.members, -1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] *= 0.8
    return network


def tabulate(weights: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tabulate mixtures in ln(1 + z), cut at z = 0, on the grid of redshifts."""
    cdf, pdf = np.empty((2, len(weights), len(GRID)))
    for i, (weight, centre, width) in enumerate(zip(weights, centres, widths, strict=True)):
        pulls = (np.log1p(GRID)[:, None] - centre) / width
        cdf[i] = (ndtr(pulls) * weight).sum(axis=1)
        pdf[i] = (np.exp(-0.5 * pulls**2) / width * weight).sum(axis=1) / np.sqrt(2 * np.pi) / (1 + GRID)
    cdf = (cdf - cdf[:, :1]) / (cdf[:, -1:] - cdf[:, :1])
    return cdf, pdf / np.trapezoid(pdf, GRID, axis=1)[:, None]


def measure_bytes(quantiles: np.ndarray) -> dict[str, float]:
    """Write the galaxies as a catalogue does and return bytes a galaxy by column."""
    count, rng = len(quantiles), np.random.default_rng(1)
    sources = make_source_schema(BANDS)
    values = {"object_id": [f"J{i:09d}" for i in range(count)], "tile": ["T"] * count}
    rows = pa.table(
        [pa.array(values.get(field.name, np.zeros(count))).cast(field.type) for field in sources], schema=sources
    )
    # What the script does not have: a spread between members and a distance of plausible sizes.
    others = [rng.gamma(4.0, scale, count).astype(np.float32) for scale in (0.001, 0.1)]
    median = quantiles[:, LEVELS.index(0.5)].astype(np.float32)
    table = make_table(rows, Estimates(median, np.zeros(count, np.int32), Pdfs(quantiles, *others)), algorithm="mlp")
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    group = pq.ParquetFile(buffer).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    return {column.path_in_schema: column.total_compressed_size / count for column in columns}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("catalogue", help="Parquet")
    parser.add_argument("--galaxies", type=int, default=4000)
    options = parser.parse_args()
    cdf, pdf, z_spec = fit_mixtures(pq.read_table(options.catalogue), most=options.galaxies)
    quantiles = np.stack([np.interp(LEVELS, row + 1e-13 * np.arange(len(GRID)), GRID) for row in cdf])
    _, crps, cde = score_quantiles(decode_quantiles(encode_quantiles(quantiles)), z_spec)
    print(f"{len(z_spec)} galaxies, {len(LEVELS)} quantiles in steps of 0.0001")
    full = compute_crps(pdf, GRID, z_spec).mean(), compute_cde_losses(pdf, GRID, z_spec).mean()
    for name, grid, stored in zip(("CRPS", "CDE loss"), full, (crps.mean(), cde.mean()), strict=True):
        print(f"{name:9s} full grid {grid:10.6f}   stored {stored:10.6f}   {100 * (stored - grid) / abs(grid):+.3f} %")
    sizes = {name: size for name, size in measure_bytes(quantiles.astype(np.float32)).items() if "mlp" in name}
    for name, size in sizes.items():
        print(f"{name:28s} {size:6.2f} bytes a galaxy")
    print(f"{'all columns of p(z)':28s} {sum(sizes.values()):6.2f}")


if __name__ == "__main__":
    main()
