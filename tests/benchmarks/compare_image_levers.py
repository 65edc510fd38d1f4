#!/usr/bin/env python
r"""Train an estimator without Ray and say how good it is: what each lever of the networks is worth.

    python tests/benchmarks/compare_image_levers.py photometry --catalogue FILE --bands u,g,r,i,z \
        [--rows 10000] [--seed 1] [--set schedule.max_epochs=20] [--save FILE.npz]
    python tests/benchmarks/compare_image_levers.py hybrid --config SETTINGS.toml ...

Of a plain catalogue (no images), or of the training set that the settings name. All learn from the same galaxies; the
networks have others to end the training and to recalibrate p(z) with, as in the jobs. Prints a line of a table: scatter
and scores of the test galaxies, processor seconds of the training, galaxies it trained on a second of processor time.
With ``--judge held`` they are of those others instead: what is chosen by test galaxies is not tested by them.
"""

import argparse
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import partial

import msgspec
import numpy as np
import pyarrow as pa
import torch
from scipy.stats import poisson

from photoz.comparison.plain import read_plain_catalogue
from photoz.estimators import Inputs
from photoz.estimators.networks.batches import Batch, prepare_batch
from photoz.estimators.photometric.base import Sample
from photoz.estimators.registry import load_class
from photoz.inputs import make_inputs
from photoz.metrics import compute_dz, compute_smad
from photoz.pdf import score_quantiles
from photoz.schema import LEVELS
from photoz.settings.config import load_config
from photoz.survey.settings import Survey
from photoz.training.epoch import make_learner, train_epoch, validate
from photoz.training.history import EpochRecord
from photoz.training.set import list_columns, read_split
from photoz.training.settings import Training
from photoz.training.state import TrainingState
from photoz.training.weights import leave_out_parts

SPLITS = ("train", "valid", "calib", "test")


@dataclass(frozen=True, eq=False)
class Galaxies:
    """Galaxies of one split."""

    inputs: Inputs
    z_N: np.ndarray
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.z_N)

    def take(self, rows: np.ndarray) -> "Galaxies":
        return Galaxies(self.inputs.take(rows), self.z_N[rows], self.names[rows])

    def join(self, other: "Galaxies") -> "Galaxies":
        """Put others after these."""
        parts = [[getattr(each.inputs, field.name) for field in fields(Inputs)] for each in (self, other)]
        joined = (None if mine is None else np.concatenate([mine, theirs]) for mine, theirs in zip(*parts, strict=True))
        z_N, names = (np.concatenate([getattr(each, key) for each in (self, other)]) for key in ("z_N", "names"))
        return Galaxies(Inputs(*joined), z_N, names)

    def to_sample(self, bands: tuple[str, ...]) -> Sample:
        return Sample(bands, self.inputs.fluxes_NF, self.inputs.errors_NF, self.z_N)


def read_catalogue(location: str, bands: tuple[str, ...], seed: int) -> dict[str, Galaxies]:
    """Read a plain catalogue; a tenth each of the training rows ends the training and recalibrates p(z)."""
    catalogue = read_plain_catalogue(location, bands)
    sample = catalogue.sample
    draw_N = np.random.default_rng(seed).random(len(sample))
    rows = {
        "train": catalogue.train_N & (draw_N < 0.8),
        "valid": catalogue.train_N & (draw_N >= 0.8) & (draw_N < 0.9),
        "calib": catalogue.train_N & (draw_N >= 0.9),
        "test": ~catalogue.train_N,
    }
    whole = Galaxies(sample.make_inputs(), np.asarray(sample.z_N), np.arange(len(sample)).astype(str))
    return {split: whole.take(np.flatnonzero(chosen_N)) for split, chosen_N in rows.items()}


def read_set(location: str, bands: tuple[str, ...], *, images: bool) -> dict[str, Galaxies]:
    """Read a training set that is held in memory."""
    found = {}
    for split in SPLITS:
        table = pa.concat_tables(read_split(location, split, list_columns(bands, images=images))).combine_chunks()
        names = np.array(table["object_id"].to_pylist())
        found[split] = Galaxies(make_inputs(table, bands), table["z_spec"].to_numpy(), names)
    return found


def draw_batches(galaxies: Galaxies, plan: dict, rng: np.random.Generator | None) -> Iterator[Batch]:
    """Prepare batches, in another order each epoch; without random numbers all galaxies in their order."""
    order = np.arange(len(galaxies)) if rng is None else rng.permutation(len(galaxies))
    size = plan["batch"] if rng is not None else 256
    for start in range(0, len(order) - (size - 1 if rng is not None else 0), size):
        part = galaxies.take(order[start : start + size])
        weight = None if rng is None or plan["members"] == 1 else plan["weigh"](part.names)
        options = {"preparation": plan["preparation"], "device": torch.device("cpu"), "weight_NK": weight}
        yield prepare_batch(part.inputs, part.z_N, **options)


def weigh_alike(names: np.ndarray, *, seed: int, members: int) -> np.ndarray:
    """Show every galaxy to every member."""
    return np.ones((len(names), members), dtype=np.float32)


def draw_bootstrap(names: np.ndarray, *, seed: int, members: int) -> np.ndarray:
    """Draw how often each galaxy is in the sample of each member, as it was until 2026-11-28."""
    digests = b"".join(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=4 * members).digest() for name in names)
    numbers = np.frombuffer(digests, dtype="<u4").reshape(-1, members) / 2.0**32
    return poisson.ppf(numbers, 1.0).astype(np.float32)


WEIGHTS = {"bootstrap": draw_bootstrap, "parts": leave_out_parts, "alike": weigh_alike}


def train_network(kind, splits: dict[str, Galaxies], survey: Survey, settings: Training, seed: int, weights: str):
    """Train a network as the jobs do, but for Ray; returns the estimator and what the training took."""
    settings = kind.resolve_settings(settings)
    layout, train = kind.make_layout(survey, settings), splits["train"]
    y_N = np.log1p(train.z_N.astype(np.float64))
    preparation = kind.PREPARATION.fit(train.to_sample(survey.bands))
    torch.manual_seed(seed)
    network = kind.make_network(layout, (float(y_N.mean()), float(y_N.std())))
    schedule = settings.schedule
    learner = make_learner(network, schedule, steps=schedule.max_epochs * (len(train) // schedule.batch_size))
    objective, state, rng = kind.make_objective(layout, settings), TrainingState(), np.random.default_rng(seed)
    weigh = partial(WEIGHTS[weights], seed=seed, members=layout.members)
    plan = {"preparation": preparation, "batch": schedule.batch_size, "members": layout.members, "weigh": weigh}
    spent = 0.0
    while not state.is_finished(max_epochs=schedule.max_epochs, patience=schedule.patience):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + state.epoch)
        started = time.process_time()
        total = train_epoch(learner, draw_batches(train, plan, rng), objective=objective, generator=generator)
        spent += time.process_time() - started
        found = validate(learner.kept, draw_batches(splits["valid"], plan, None), objective=objective)
        rate = total.galaxies * (state.epoch + 1) / spent
        last = learner.schedule.get_last_lr()[0]
        record = EpochRecord(state.epoch + 1, total.mean, galaxies_per_second=rate, learning_rate=last, seconds=spent,
                             **found.compute_metrics())  # fmt: skip
        state = state.add(record, learner.kept)
    network.load_state_dict(dict(state.best))
    estimator = kind(layout, preparation, network)
    calib = splits["calib"]
    estimator = estimator.calibrate(
        [(calib.inputs, calib.z_N)], [(train.inputs.fluxes_NF, train.inputs.errors_NF)], seed=seed
    )
    return estimator, (state.best_record.epoch, spent, rate)


def fit_plain(kind, splits: dict[str, Galaxies], bands: tuple[str, ...], seed: int):
    started = time.process_time()
    estimator = kind.fit(splits["train"].to_sample(bands), seed=seed)
    spent = time.process_time() - started
    return estimator, (0, spent, float("nan"))


def describe(estimator, test: Galaxies) -> tuple[list[str], dict[str, np.ndarray]]:
    """Scores of the test galaxies, for the table, and galaxy by galaxy."""
    inputs = test.inputs if estimator.image_bands else replace(test.inputs, cutouts_NBYX=None)
    found = estimator.estimate(inputs)
    dz_N = compute_dz(found.z_phot_N, test.z_N)
    known_N = np.isfinite(dz_N)
    cells = [f"{compute_smad(dz_N[known_N]):.5f}", f"{100 * (np.abs(dz_N[known_N]) > 0.05).mean():.2f} %"]
    kept = {"dz": dz_N, "z": test.z_N, "z_phot": found.z_phot_N, "names": test.names}
    if found.pdf is None:
        return [*cells, "", "", ""], kept
    _, crps_N, cde_N = score_quantiles(found.pdf.quantiles_NQ[known_N], test.z_N[known_N])
    low, high = (found.pdf.quantiles_NQ[known_N, LEVELS.index(level)] for level in (0.16, 0.84))
    inside = ((test.z_N[known_N] > low) & (test.z_N[known_N] < high)).mean()
    kept["crps"] = np.full(len(test), np.nan)
    kept["crps"][known_N] = crps_N
    return [*cells, f"{crps_N.mean():.5f}", f"{cde_N.mean():.3f}", f"{100 * inside:.1f} %"], kept


def read_changes(changes: list[str]) -> Training:
    values: dict = {}
    for change in changes:
        path, _, value = change.partition("=")
        section, _, key = path.rpartition(".")
        place = values.setdefault(section, {}) if section else values
        try:
            place[key] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            place[key] = value
    return msgspec.convert(values, Training)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("estimator")
    parser.add_argument("--catalogue")
    parser.add_argument("--bands", default="u,g,r,i,z")
    parser.add_argument("--config")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--weights", choices=sorted(WEIGHTS), default="parts")
    parser.add_argument("--judge", choices=("test", "held"), default="test")
    parser.add_argument("--save")
    options = parser.parse_args()
    kind = load_class(options.estimator)
    if options.catalogue:
        bands = tuple(options.bands.split(","))
        survey = Survey(bands=bands, image_bands=())
        splits = read_catalogue(options.catalogue, bands, seed=0)
    else:
        config = load_config(options.config)
        survey = config.survey
        reads = getattr(kind, "reads_images", False)
        splits = read_set(config.locations.training, survey.bands, images=reads)
    if options.rows:
        splits["train"] = splits["train"].take(np.arange(options.rows))
    if kind.trained == "spread":
        settings = read_changes(options.set)
        estimator, took = train_network(kind, splits, survey, settings, options.seed, options.weights)
    else:
        estimator, took = fit_plain(kind, splits, survey.bands, options.seed)
    judged = splits["test"] if options.judge == "test" else splits["valid"].join(splits["calib"])
    cells, kept = describe(estimator, judged)
    if options.save:
        np.savez(options.save, **kept)
    changed = " ".join([options.judge, options.weights, *options.set])
    numbers = [f"{len(splits['train'])}", *cells, f"{took[0]}", f"{took[1]:.0f}", f"{took[2]:.0f}"]
    print(" | ".join([f"| {options.estimator}", changed, str(options.seed), *numbers]) + " |", flush=True)


if __name__ == "__main__":
    main()
