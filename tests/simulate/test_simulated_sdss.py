"""The simulated main sample of SDSS against the real galaxies from which nothing of it was taken."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial import cKDTree

from photoz.metrics import compute_smad
from photoz.simulate.sdss import Observed, observe_real, select_main_sample, simulate_main_sample, split_galaxies
from photoz.simulate.seds import read_sdss_galaxies
from photoz.simulate.variety import load_variety

EDGES = (0.03, 0.07, 0.11, 0.15, 0.2)


@pytest.fixture(scope="module")
def samples() -> dict[str, Observed]:
    galaxies = read_sdss_galaxies()
    main_N, ours_N = select_main_sample(galaxies), split_galaxies(np.arange(len(galaxies.redshift_N)))
    simulated = simulate_main_sample(galaxies, np.random.default_rng(5), 9600, load_variety())
    first_N = np.arange(len(simulated)) < 4800
    return {
        "ours": observe_real(galaxies, main_N & ours_N),
        "theirs": observe_real(galaxies, main_N & ~ours_N),
        "train": simulated.select(first_N),
        "test": simulated.select(~first_N),
    }


def test_halves_hold_the_main_sample(samples: dict[str, Observed]) -> None:
    assert 4500 < len(samples["ours"]) < 5000
    assert 4500 < len(samples["theirs"]) < 5000


def test_colours_go_with_redshift_as_those_of_real_galaxies(samples: dict[str, Observed]) -> None:
    real, simulated = samples["theirs"], samples["test"]
    assert simulated.redshift_N.mean() == pytest.approx(real.redshift_N.mean(), abs=0.006)
    for colour, value_N in real.compute_colours().items():
        allowed = 0.06 if colour == "u - g" else 0.03
        for low, high in pairwise(EDGES):
            ours_N = value_N[(real.redshift_N >= low) & (real.redshift_N < high)]
            redshift_N = simulated.redshift_N
            theirs_N = simulated.compute_colours()[colour][(redshift_N >= low) & (redshift_N < high)]
            assert np.median(theirs_N) == pytest.approx(np.median(ours_N), abs=allowed), (colour, low)
            assert compute_smad(theirs_N) == pytest.approx(compute_smad(ours_N), rel=0.3), (colour, low)


def test_errors_are_those_of_real_galaxies(samples: dict[str, Observed]) -> None:
    real, simulated = samples["theirs"].error_NB, samples["test"].error_NB
    assert np.median(simulated, axis=0) == pytest.approx(np.median(real, axis=0), rel=0.1)
    assert np.quantile(simulated, 0.9, axis=0) == pytest.approx(np.quantile(real, 0.9, axis=0), rel=0.15)


def measure_neighbours(train: Observed, test: Observed) -> float:
    """Return the SMAD of the mean redshift of 20 nearest neighbours in r and colours."""

    def gather(sample: Observed) -> np.ndarray:
        colours = np.stack(list(sample.compute_colours().values()), axis=1)
        return np.column_stack([0.1 * sample.magnitude_NB[:, 2], 0.3 * colours[:, :1], colours[:, 1:]])

    _, nearest = cKDTree(gather(train)).query(gather(test), k=20)
    return float(compute_smad((train.redshift_N[nearest].mean(1) - test.redshift_N) / (1 + test.redshift_N)))


def test_redshifts_are_as_hard_as_those_of_real_galaxies(samples: dict[str, Observed]) -> None:
    real = measure_neighbours(samples["ours"], samples["theirs"])
    assert measure_neighbours(samples["train"], samples["test"]) == pytest.approx(real, rel=0.1)
    assert measure_neighbours(samples["train"], samples["theirs"]) < 1.2 * real
