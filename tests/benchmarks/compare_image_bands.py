#!/usr/bin/env python
r"""Compare images in four bands with images in nine, each beside the same nine magnitudes, on a simulated survey.

    python tests/benchmarks/compare_image_bands.py FOLDER [--set section.key=value ...]

Runs the jobs of jobs/nine_bands.toml in ``FOLDER``, each in a process of its own: one survey with nine bands of images,
then ingest, training and inference with u g r i, and with all nine. Prints a table of the test galaxies, paired, and
of what either costs; what is done stays, so that a run that was cut short goes on.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from photoz.catalogue.hats import list_partitions, read_partition
from photoz.metrics import compute_metrics, compute_paired_difference
from photoz.storage import read_json, write_json
from photoz.training.set import read_split

ROOT = Path(__file__).resolve().parents[2]
BANDS = {"ugri": "u,g,r,i", "nine": "u,g,r,i,Z,Y,J,H,Ks"}
STEPS = ("ingest_dr4", "train_dr4", "infer_dr4", "audit_catalogue")
FIGURES = ("bias_median", "smad", "std", "outlier_fraction_005")


@dataclass(frozen=True)
class Variant:
    """A survey with images of some bands in a folder of its own; the survey's files are shared."""

    name: str
    folder: Path

    def place(self, what: str) -> str:
        return str(self.folder / self.name / what)

    def list_settings(self) -> list[str]:
        places = ("tiles", "sources", "training", "models", "catalogue", "report")
        own = [f"locations.{what}={self.place(what)}" for what in places]
        # Of files that are not ingested nothing needs to be said.
        bands = BANDS[self.name]
        without = [] if self.name == "nine" else ["survey.pixel_scales={}", "survey.optional_bands=[]"]
        return [f"survey.image_bands={bands}", *without, *own]


def run(job: str, folder: Path, settings: list[str]) -> float:
    """Run a job; returns its seconds."""
    words = [word for each in (f"locations.survey={folder / 'survey'}", *settings) for word in ("--set", each)]
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, str(ROOT / "jobs" / f"{job}.py"), "--config", str(ROOT / "jobs" / "nine_bands.toml"), *words],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return time.perf_counter() - start


def run_variant(variant: Variant, settings: list[str]) -> dict[str, float]:
    """Run what is not done yet; returns seconds by job, as they were when it was done."""
    record = variant.folder / variant.name / "seconds.json"
    seconds: dict[str, float] = read_json(str(record)) if record.exists() else {}
    for job in STEPS:
        if job not in seconds:
            seconds[job] = run(job, variant.folder, [*variant.list_settings(), *settings])
            write_json(str(record), seconds)
    return seconds


def read_test(variant: Variant) -> dict[str, tuple[float, float]]:
    """Read redshift and estimate of the test galaxies by their identifiers."""
    parts = [read_partition(variant.place("catalogue"), part) for part in list_partitions(variant.place("catalogue"))]
    catalogue = pa.concat_tables([part.select(["object_id", "z_phot"]) for part in parts])
    found = dict(zip(catalogue["object_id"].to_pylist(), catalogue["z_phot"].to_pylist(), strict=True))
    test = pa.concat_tables(list(read_split(variant.place("training"), "test", ["object_id", "z_spec"])))
    pairs = zip(test["object_id"].to_pylist(), test["z_spec"].to_pylist(), strict=True)
    return {name: (z_spec, found[name]) for name, z_spec in pairs}


def measure_bytes(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def print_table(variants: list[Variant], seconds: dict[str, dict[str, float]]) -> None:
    """Print accuracy, the paired difference, and the cost of each."""
    tests = {each.name: read_test(each) for each in variants}
    shared = sorted(set.intersection(*(set(test) for test in tests.values())))
    z_spec = np.array([tests["nine"][name][0] for name in shared])
    estimates = {name: np.array([test[galaxy][1] for galaxy in shared]) for name, test in tests.items()}
    print(f"\n{len(shared)} test galaxies\n\n| images | {', '.join(FIGURES)} | ingest, train, infer [s] | tiles [MB] |")
    print("|---|---|---|---|")
    for each in variants:
        metrics = compute_metrics(estimates[each.name], z_spec).values
        figures = ", ".join(f"{metrics[name].value:.5f} ± {metrics[name].error:.5f}" for name in FIGURES)
        took = ", ".join(f"{seconds[each.name][job]:.0f}" for job in STEPS[:3])
        print(f"| {each.name} | {figures} | {took} | {measure_bytes(each.place('tiles')) / 1e6:.0f} |")
    print("\nnine minus ugri, on the same galaxies:")
    paired = compute_paired_difference(estimates["nine"], estimates["ugri"], z_spec)
    for name in FIGURES:
        print(f"{name}: {paired[name].value:+.5f} ± {paired[name].error:.5f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options = parser.parse_args()
    if not (options.folder / "survey").exists():
        run("simulate_survey", options.folder, options.set)
    variants = [Variant(name, options.folder) for name in BANDS]
    print_table(variants, {each.name: run_variant(each, options.set) for each in variants})


if __name__ == "__main__":
    main()
