"""The simulated stars."""

import numpy as np
import pytest
from simulated import BANDS

from photoz.simulate.stars import BRIGHTEST, FAINTEST, draw_stars


def test_stars_lie_on_the_locus() -> None:
    magnitude = draw_stars(np.random.default_rng(0), 5000, BANDS)
    r = magnitude[:, 2]
    assert ((r >= BRIGHTEST) & (r <= FAINTEST)).all()
    assert np.sum(r > 20) > np.sum((r > 18) & (r < 20))
    g_r, r_i = magnitude[:, 1] - r, r - magnitude[:, 3]
    blue = g_r < 1.0
    assert np.std(r_i[blue] - np.polyval(np.polyfit(g_r[blue], r_i[blue], 2), g_r[blue])) < 0.08
    # Stars are told from galaxies by J - Ks (AB): below -0.1 but for the reddest.
    assert np.median(magnitude[:, 6] - magnitude[:, 8]) < 0.0


def test_counts_of_stars_rise_as_published() -> None:
    # log N rises by 0.15 a magnitude.
    r = draw_stars(np.random.default_rng(0), 50_000, BANDS)[:, BANDS.index("r")]
    counts, _ = np.histogram(r, bins=np.arange(15.0, 22.5))
    assert np.polyfit(np.arange(len(counts)), np.log10(counts), 1)[0] == pytest.approx(0.15, abs=0.01)


def test_bands_may_be_few_and_in_any_order() -> None:
    whole = draw_stars(np.random.default_rng(4), 1, BANDS)
    few = draw_stars(np.random.default_rng(4), 1, ("i", "r"))
    assert few.shape == (1, 2)
    assert few[0, 1] == whole[0, BANDS.index("r")]  # r has no scatter: the counts are drawn in it
