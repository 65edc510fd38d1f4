"""The simulated catalogue tells nothing that only the simulation knows: above all, not the noise."""

from dataclasses import dataclass, replace

import lightgbm
import numpy as np
import pytest
import torch
from simulated import BANDS, CENTRE, make_small_recipe

from photoz.simulate.catalogue import measure_sources
from photoz.simulate.photometry import gather_light, measure_sizes
from photoz.simulate.sky import Recipe, Sources, make_sources

GALAXIES = 5000
MAGNITUDES = tuple(f"MAG_GAAP_{band}" for band in BANDS)


@dataclass(frozen=True, eq=False)
class Tile:
    """Galaxies with a magnitude in every band: the truth, and what the catalogue says of them.

    ``true`` holds the magnitudes without noise, within the catalogue's apertures.
    """

    sources: Sources
    columns: dict[str, np.ndarray]
    true: np.ndarray

    def stack(self, kind: str) -> np.ndarray:
        return np.stack([self.columns[f"{kind}_{band}"] for band in BANDS], axis=1).astype(np.float64)


def make_recipe() -> Recipe:
    return make_small_recipe(
        pixels=3700,
        galaxies_per_tile=GALAXIES,
        faint_per_tile=0,
        stars_per_tile=0,
        failed_fraction=0.0,
        # One error of a whole tile is no noise of its sources.
        zero_points=0.0,
    )


def measure(sources: Sources) -> Tile:
    columns = measure_sources(make_recipe(), CENTRE, sources, sources)
    whole = np.all([np.abs(columns[name]) < 90 for name in MAGNITUDES], axis=0)
    seen = measure_sizes(make_recipe(), CENTRE, sources)
    exact = replace(sources, calibration=np.ones_like(sources.calibration))
    light = gather_light(make_recipe(), CENTRE, exact, exact, seen)
    # Neighbours' light is no noise: where they are, the catalogue tells, and rightly so.
    true = -2.5 * np.log10(light.aperture_NB + light.neighbours_NB)
    true -= np.stack([columns[f"EXTINCTION_{band}"] for band in BANDS], axis=1)
    return Tile(sources.select(whole), {name: values[whole] for name, values in columns.items()}, true[whole])


@pytest.fixture(scope="module")
def sources() -> Sources:
    return make_sources(make_recipe(), CENTRE)


def split_in_two(number: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(0).permutation(number)
    return order[: 7 * number // 10], order[7 * number // 10 :]


def measure_smad(features: np.ndarray, z: np.ndarray) -> float:
    """Train a small network on 70 % of the galaxies; return its SMAD on the others."""
    train, test = split_in_two(len(z))
    inputs = torch.tensor((features - features[train].mean(0)) / features[train].std(0), dtype=torch.float32)
    target = np.log1p(z)
    level, spread = target[train].mean(), target[train].std()
    wanted = torch.tensor((target - level) / spread, dtype=torch.float32)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(features.shape[1], 64), torch.nn.SiLU(), torch.nn.Linear(64, 64), torch.nn.SiLU(),
        torch.nn.Linear(64, 1),
    )  # fmt: skip
    batches = [part for _ in range(30) for part in torch.randperm(len(train)).split(175)]
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=len(batches))
    for batch in batches:
        rows = train[batch.numpy()]
        optimiser.zero_grad()
        torch.nn.functional.smooth_l1_loss(network(inputs[rows])[:, 0], wanted[rows], beta=0.1).backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        z_phot = np.expm1(network(inputs[test])[:, 0].double().numpy() * spread + level)
    dz = (z_phot - z[test]) / (1 + z[test])
    return float(1.4826 * np.median(np.abs(dz - np.median(dz))))


def test_a_network_gains_next_to_nothing_from_errors(sources: Sources) -> None:
    # With errors of the true flux its SMAD fell from 0.0125 to 0.0031.
    tile = measure(sources)
    magnitudes = tile.stack("MAG_GAAP")
    bare = np.column_stack([magnitudes[:, 2], -np.diff(magnitudes, axis=1)])
    told = np.column_stack([bare, np.log(tile.stack("MAGERR_GAAP"))])
    without, with_errors = (measure_smad(features, tile.sources.redshift) for features in (bare, told))
    assert with_errors == pytest.approx(without, rel=0.1)
    assert without < 0.025


def test_nothing_in_the_catalogue_tells_the_noise(sources: Sources) -> None:
    """Held-out R2 of (true minus measured magnitude) / error was 0.2 to 0.9 with errors of the true flux.

    Each band has magnitudes of its own here, independent of the others: real spectra tell what a noisy band should be,
    and rightly so.
    """
    rng = np.random.default_rng(5)
    limits = ((20, 22.5), (19, 22), (17, 20), (17, 20), (16, 19), (16, 19), (16, 18.5), (15, 18), (15, 18))
    magnitude = np.stack([rng.uniform(*limit, len(sources)) for limit in limits], axis=1)
    tile = measure(replace(sources, magnitude=magnitude))
    deviation = (tile.true - tile.stack("MAG_GAAP")) / tile.stack("MAGERR_GAAP")
    assert deviation.std(axis=0) == pytest.approx(0.97, abs=0.07)
    everything = gather_columns(tile)
    found = {band: measure_r2(everything, deviation[:, number]) for number, band in enumerate(BANDS)}
    assert max(found.values()) < 0.03, found


def gather_columns(tile: Tile) -> np.ndarray:
    """Stack every number of the catalogue, the identifier's digits, the row, and the errors of the fluxes."""
    numbers = [values.astype(np.float64) for values in tile.columns.values() if values.dtype.kind in "fi"]
    parts = (slice(9, 15), slice(16, 19), slice(20, 26), slice(27, 29))  # KiDSDR4 J120000.000-003000.00
    digits = [[int(name[part]) for name in tile.columns["ID"]] for part in parts]
    flux_errors = np.log(tile.stack("MAGERR_GAAP")) - 0.4 * np.log(10) * tile.stack("MAG_GAAP")
    return np.column_stack([*numbers, *digits, np.arange(len(tile.sources)), flux_errors])


def measure_r2(features: np.ndarray, target: np.ndarray) -> float:
    """Fit boosted trees on 70 % of the galaxies; return the share of the variance that they explain in the others."""
    train, test = split_in_two(len(target))
    settings = {"num_leaves": 15, "learning_rate": 0.08, "min_data_in_leaf": 50, "verbosity": -1, "num_threads": 1}
    settings |= {"seed": 1, "deterministic": True, "force_row_wise": True}
    trees = lightgbm.train(settings, lightgbm.Dataset(features[train], label=target[train]), num_boost_round=40)
    residual = target[test] - trees.predict(features[test], num_threads=1)
    return float(1 - np.var(residual) / np.var(target[test]))
