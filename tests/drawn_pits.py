"""PITs whose distribution is known, for recalibration to undo."""

import numpy as np
from scipy.special import ndtr
from scipy.stats import kstest

# Deviate of the true redshift in a p(z) that is taken for a normal distribution of width 1, at magnitude and colour.
CASES = {
    "too wide": lambda noise, mag, colour: 0.7 * noise,
    "too narrow": lambda noise, mag, colour: 1.5 * noise,
    "biased": lambda noise, mag, colour: noise + 0.3,
    "by magnitude": lambda noise, mag, colour: np.exp(0.3 * mag) * noise + 0.2 * colour,
    "outliers": lambda noise, mag, colour: noise * np.where(np.abs(np.sin(1e4 * noise)) < 0.03, 30.0, 1.1),
}


def draw_pits(case: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mag = rng.normal(size=count)
    colour = 0.5 * mag + rng.normal(size=count)
    return ndtr(CASES[case](rng.normal(size=count), mag, colour)), np.stack([mag, colour], axis=1)


def measure_ks(pit: np.ndarray) -> float:
    return float(kstest(pit, "uniform").statistic)
