#!/usr/bin/env python
r"""Compare estimators on many simulated galaxies: what images add, and whether it is the images that do.

    python tests/benchmarks/simulate_many.py FOLDER
    python tests/benchmarks/compare_on_many.py FOLDER --fit mlp,photometry,hybrid --rows 3800,8000,17000,34000
    python tests/benchmarks/compare_on_many.py FOLDER --report [--judge valid]

The first 17,000 of the training galaxies are among the 34,000, and all else is the same for all. What is fitted stays
in FOLDER/fits, with what each says of the galaxies to validate and to test with; the report compares these, paired.
Choices are made by ``--judge valid``. ``hybrid=batch512`` is hybrid by the settings of ``--set``, under a name of its
own; ``hybrid=shuffled`` learns from images shuffled among galaxies that are about as bright in r.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from compare_image_levers import SPLITS, Galaxies, fit_plain, read_changes, train_network
from simulate_many import make_config

from photoz.estimators import Inputs
from photoz.estimators.registry import load_class
from photoz.inputs import make_inputs
from photoz.metrics import compute_dz, compute_outlier_fraction, compute_r2, compute_smad
from photoz.pdf import compute_pit_coverage, score_quantiles
from photoz.training.set import list_columns, read_split

RESAMPLES = 400
LIKE = 50  # galaxies next to each other in r, among which images are shuffled
FIGURES = ("SMAD", "CRPS")


def gather(folder: Path) -> None:
    """Write the training sets of all parts as arrays, once, in an order that mixes them."""
    config = make_config(folder, 1)
    bands = config.survey.bands
    columns = list_columns(bands, images=True)
    places = sorted(folder.glob("*/training"))
    for split in SPLITS:
        found = [table for place in places for table in read_split(str(place), split, columns)]
        table = pa.concat_tables(found).combine_chunks()
        table = table.take(np.random.default_rng(15).permutation(len(table)))
        inputs = make_inputs(table, bands)
        np.save(folder / f"{split}-cutouts.npy", inputs.cutouts_NBYX)
        names = np.array(table["object_id"].to_pylist())
        arrays = {"fluxes": inputs.fluxes_NF, "errors": inputs.errors_NF, "flags": inputs.flags_N, "names": names}
        np.savez(folder / f"{split}.npz", z=table["z_spec"].to_numpy(), **arrays)


def read(folder: Path, rows: int | None = None, *, images: bool = True) -> dict[str, Galaxies]:
    """Read the galaxies of each split; the cutouts stay on disk until they are looked at."""
    if not (folder / "test.npz").exists():
        gather(folder)
    found = {}
    for split in SPLITS:
        arrays = np.load(folder / f"{split}.npz")
        cutouts = np.load(folder / f"{split}-cutouts.npy", mmap_mode="c") if images else None
        inputs = Inputs(arrays["fluxes"], arrays["errors"], cutouts, arrays["flags"])
        found[split] = Galaxies(inputs, arrays["z"], arrays["names"])
    if rows:
        found["train"] = found["train"].take(slice(rows))
    return found


def read_truth(folder: Path, names: np.ndarray) -> dict[str, np.ndarray]:
    """Read what the simulation drew of galaxies, in their order."""
    table = pa.concat_tables([pq.read_table(part) for part in sorted(folder.glob("*/truth.parquet"))])
    place = {name: row for row, name in enumerate(table["object_id"].to_pylist())}
    rows = np.array([place[name] for name in names])
    return {name: table[name].to_numpy()[rows] for name in table.column_names if name != "object_id"}


def shuffle_images(galaxies: Galaxies, bands: tuple[str, ...]) -> Galaxies:
    """Give each galaxy the image of another that is about as bright in r."""
    flux_N = np.nan_to_num(galaxies.inputs.fluxes_NF[:, bands.index("r")], nan=0.0)
    order, rng = np.argsort(flux_N), np.random.default_rng(15)
    from_N = np.empty(len(order), dtype=np.int64)
    for start in range(0, len(order), LIKE):
        some = order[start : start + LIKE]
        cycle = rng.permutation(some)
        from_N[cycle] = np.roll(cycle, 1)  # none keeps its own
    inputs = replace(galaxies.inputs, cutouts_NBYX=np.asarray(galaxies.inputs.cutouts_NBYX)[from_N])
    return Galaxies(inputs, galaxies.z_N, galaxies.names)


def show_images_alone(galaxies: Galaxies) -> Galaxies:
    inputs = galaxies.inputs
    nothing_NF = np.full_like(inputs.fluxes_NF, np.nan)
    return Galaxies(replace(inputs, fluxes_NF=nothing_NF, errors_NF=nothing_NF), galaxies.z_N, galaxies.names)


def judge(estimator, galaxies: Galaxies) -> dict[str, np.ndarray]:
    """Return what an estimator says of galaxies, one by one."""
    inputs = galaxies.inputs if estimator.image_bands else replace(galaxies.inputs, cutouts_NBYX=None)
    found = estimator.estimate(inputs)
    kept = {"z": galaxies.z_N, "z_phot": found.z_phot_N}
    if found.pdf is not None:
        scores = score_quantiles(found.pdf.quantiles_NQ, galaxies.z_N)
        kept |= dict(zip(("pit", "crps", "cde"), scores, strict=True))
    return kept


def fit(folder: Path, label: str, rows: int, changes: list[str], seed: int) -> None:
    """Fit an estimator and keep what it says, unless that is there."""
    location = folder / "fits" / f"{label}-{rows}.npz"
    if location.exists():
        return
    name, _, variant = label.partition("=")
    kind, config = load_class(name), make_config(folder, 1)
    splits = read(folder, rows, images=getattr(kind, "reads_images", False))
    bands = config.survey.bands
    if "shuffled" in variant:
        splits = {split: shuffle_images(galaxies, bands) for split, galaxies in splits.items()}
    if kind.trained == "spread":
        settings = read_changes(changes)
        estimator, took = train_network(kind, splits, config.survey, settings, seed, "parts")
    else:
        estimator, took = fit_plain(kind, splits, bands, seed)
    estimator.save(str(location.with_suffix("")))
    kept = {"took": np.array(took)}
    views: dict[str, Callable[[], Galaxies]] = {split: lambda split=split: splits[split] for split in ("valid", "test")}
    if estimator.image_bands:
        for split in ("valid", "test"):
            views[f"{split} shuffled"] = lambda split=split: shuffle_images(splits[split], bands)
            views[f"{split} alone"] = lambda split=split: show_images_alone(splits[split])
    for view, take in views.items():
        kept |= {f"{view}/{key}": values for key, values in judge(estimator, take()).items()}
    np.savez(location, **kept)


def read_fit(location: Path, view: str) -> dict[str, np.ndarray]:
    arrays = np.load(location)
    return {key.partition("/")[2]: arrays[key] for key in arrays.files if key.startswith(f"{view}/")}


def describe(found: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, float]:
    """Compute the figures of some galaxies."""
    z_phot_N, z_N = found["z_phot"][rows], found["z"][rows]
    dz_N = compute_dz(z_phot_N, z_N)
    figures = {"SMAD": float(compute_smad(dz_N)), "σ": float(dz_N.std()), "mean": float(dz_N.mean())}
    figures |= {"R²": float(compute_r2(z_phot_N, z_N))}
    figures |= {f"> {limit}": float(compute_outlier_fraction(dz_N, limit)) for limit in (0.05, 0.15)}
    if "crps" not in found:
        return figures
    pit_N = found["pit"][rows]
    scores = {"CRPS": float(found["crps"][rows].mean()), "CDE": float(found["cde"][rows].mean())}
    return figures | scores | {f"{100 * p:.0f} %": compute_pit_coverage(pit_N, p) for p in (0.68, 0.95)}


def compute_gain(one: dict[str, np.ndarray], other: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, tuple]:
    """Compute by how much one is less than another, in parts of the other, with errors by resampling galaxies."""
    draws = np.random.default_rng(15).integers(len(rows), size=(RESAMPLES, len(rows)))
    dz = [np.asarray(compute_dz(each["z_phot"], each["z"]))[rows] for each in (one, other)]
    gains = {}
    for figure in FIGURES:
        if figure == "SMAD":
            pairs = [(compute_smad(dz[0][draw]), compute_smad(dz[1][draw])) for draw in (np.arange(len(rows)), *draws)]
        else:
            if "crps" not in one or "crps" not in other:
                continue
            crps = [each["crps"][rows] for each in (one, other)]
            pairs = [(crps[0][draw].mean(), crps[1][draw].mean()) for draw in (np.arange(len(rows)), *draws)]
        relative = np.array([float(mine) / float(theirs) - 1 for mine, theirs in pairs])
        gains[figure] = (relative[0], relative[1:].std())
    return gains


def list_fits(folder: Path) -> Iterator[tuple[str, int, Path]]:
    for location in folder.glob("fits/*.npz"):
        label, _, rows = location.stem.rpartition("-")
        yield label, int(rows), location


def format_gain(gain: dict[str, tuple]) -> str:
    return " | ".join(f"{100 * value:+.1f} ± {100 * error:.1f} %" for value, error in gain.values())


def report(folder: Path, split: str) -> None:
    """Print the tables."""
    fits = {(label, rows): read_fit(place, split) for label, rows, place in sorted(list_fits(folder))}
    every = np.arange(len(next(iter(fits.values()))["z"]))
    print(f"{len(every)} galaxies of {split}\n")
    names = None
    for (label, rows), found in sorted(fits.items(), key=lambda item: item[0][1]):
        figures = describe(found, every)
        if names is None or len(figures) > len(names):
            names = list(figures)
            print("| learnt from | estimator | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 2))
        print(f"| {rows} | {label} | " + " | ".join(f"{figures.get(name, np.nan):.4f}" for name in names) + " |")
    for (label, rows), found in sorted(fits.items(), key=lambda item: item[0][1]):
        for other in ("mlp", "photometry"):
            if label.startswith(("hybrid", "photometry")) and label != other and (other, rows) in fits:
                gain = compute_gain(found, fits[other, rows], every)
                print(f"| {rows} | {label} less {other} | {format_gain(gain)} |")
    for label, rows, place in sorted(list_fits(folder)):
        if label.startswith("hybrid") and ("photometry", rows) in fits:
            report_parts(folder, split, (label, rows), place, fits)


def report_parts(folder: Path, split: str, key: tuple[str, int], place: Path, fits: dict) -> None:
    """Print what images give in parts of the galaxies, and what is left of it with others' images."""
    label, rows = key
    found, twin = fits[key], fits["photometry", rows]
    for view in (f"{split} shuffled", f"{split} alone"):
        other = read_fit(place, view)
        print(f"\n{label} {rows}, {view}: {describe(other, np.arange(len(other['z'])))}")
        print(format_gain(compute_gain(other, twin, np.arange(len(other["z"])))))
    for name, value_N in list_properties(folder, split).items():
        parts = 2 if name.startswith("half") else 4
        edges = np.nanquantile(value_N, np.linspace(0, 1, parts + 1))
        for low, high in pairwise(edges):
            chosen = np.flatnonzero((value_N >= low) & (value_N <= high))
            figures = [describe(each, chosen) for each in (twin, found)]
            cells = " | ".join(f"{each[figure]:.4f}" for figure in FIGURES for each in figures)
            gain = format_gain(compute_gain(found, twin, chosen))
            print(f"| {label} {rows} | {name} | {low:.2f} to {high:.2f} | {len(chosen)} | {cells} | {gain} |")


def list_properties(folder: Path, split: str) -> dict[str, np.ndarray]:
    """List what the gain is looked at against."""
    galaxies, bands = read(folder)[split], make_config(folder, 1).survey.bands
    magnitude = dict(zip(bands, galaxies.inputs.magnitudes.magnitudes_NF.T, strict=True))
    truth = read_truth(folder, galaxies.names)
    colour = magnitude["g"] - magnitude["r"]
    properties = {"half by g - r": colour, "g - r": colour, "r [mag]": magnitude["r"], "z_spec": galaxies.z_N}
    return properties | {"half-light radius [arcsec]": truth["radius"], "seeing in r [arcsec]": truth["seeing_r"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fit", default="")
    parser.add_argument("--rows", default="17000")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--judge", choices=("valid", "test"), default="test")
    options = parser.parse_args()
    folder = options.folder.absolute()
    (folder / "fits").mkdir(exist_ok=True)
    wanted = product(filter(None, options.fit.split(",")), options.rows.split(","))
    for label, rows in wanted:
        fit(folder, label, int(rows), options.set, options.seed)
        figures = describe(read_fit(folder / "fits" / f"{label}-{rows}.npz", "valid"), slice(None))
        print(label, rows, "valid:", {name: round(value, 5) for name, value in figures.items()}, flush=True)
    if options.report:
        report(folder, options.judge)


if __name__ == "__main__":
    main()
