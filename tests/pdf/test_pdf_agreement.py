"""Our figures are those of qp, on which RAIL's metrics rest, for the same input."""

import numpy as np
import pytest
from scipy.stats import norm

from photoz.metrics import compute_metrics
from photoz.pdf import (
    CatalogueDensities,
    compute_cde_losses,
    compute_crps,
    compute_ks,
    compute_pdfs,
    compute_pit,
    decode_quantiles,
    encode_quantiles,
    score_quantiles,
    summarize_quantiles,
    to_qp,
)
from photoz.schema import LEVELS

qp = pytest.importorskip("qp")
from qp.metrics import CDELossMetric, PointBias, PointOutlierRate, PointSigmaIQR, PointSigmaMAD  # noqa: E402
from qp.metrics.pit import PIT  # noqa: E402

GRID = np.linspace(0.0, 1.5, 3001)


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Stored quantiles of mixtures of two Gaussians, and true redshifts that they describe badly."""
    rng = np.random.default_rng(1)
    means, widths = rng.uniform(0.2, 0.8, (400, 2)), rng.uniform(0.02, 0.06, (400, 2))
    share = rng.uniform(0.5, 1.0, 400)
    cdf = np.stack([norm.cdf(GRID[None], means[:, [k]], widths[:, [k]]) for k in (0, 1)])
    mixed = share[:, None] * cdf[0] + (1 - share[:, None]) * cdf[1]
    quantiles = np.stack([np.interp(LEVELS, row, GRID) for row in mixed])
    return decode_quantiles(encode_quantiles(quantiles)), np.abs(rng.normal(means[:, 0] + 0.01, 1.3 * widths[:, 0]))


@pytest.fixture(scope="module")
def ensemble(drawn):
    quantiles = drawn[0]
    names = np.array([f"J{i}" for i in range(len(quantiles))])
    return to_qp(CatalogueDensities(names, quantiles, GRID, compute_pdfs(quantiles, GRID)))


def test_pit_and_its_ks_distance(drawn, ensemble) -> None:
    quantiles, z_spec = drawn
    theirs = PIT(ensemble, z_spec)
    np.testing.assert_allclose(compute_pit(quantiles, z_spec), theirs.pit_samps, atol=2e-3)
    assert compute_ks(theirs.pit_samps) == pytest.approx(theirs.evaluate_PIT_KS().statistic, abs=1e-12)


def test_cde_loss(drawn, ensemble) -> None:
    quantiles, z_spec = drawn
    theirs = CDELossMetric(GRID).evaluate(ensemble, z_spec)  # takes the density at the nearest point of the grid
    pdf = ensemble.pdf(GRID)
    assert compute_cde_losses(pdf, GRID, z_spec).mean() == pytest.approx(theirs, rel=2e-3)
    on_grid = GRID[np.abs(GRID[None] - z_spec[:, None]).argmin(axis=1)]
    assert compute_cde_losses(pdf, GRID, on_grid).mean() == pytest.approx(theirs, rel=1e-9)
    assert score_quantiles(quantiles, z_spec)[2].mean() == pytest.approx(theirs, rel=5e-3)


def test_crps(drawn, ensemble) -> None:
    # qp has no CRPS of its own: the integral of its cumulative distributions.
    quantiles, z_spec = drawn
    theirs = np.trapezoid((ensemble.cdf(GRID) - (GRID[None] >= z_spec[:, None])) ** 2, GRID, axis=1)
    np.testing.assert_allclose(compute_crps(ensemble.pdf(GRID), GRID, z_spec), theirs, atol=3e-4)
    np.testing.assert_allclose(score_quantiles(quantiles, z_spec)[1], theirs, atol=6e-4)
    assert score_quantiles(quantiles, z_spec)[1].mean() == pytest.approx(theirs.mean(), rel=3e-3)


def test_limits_are_the_quantiles_of_the_ensemble(drawn, ensemble) -> None:
    # RAIL 2.0.11 calls the quantile at 0.85 q84; qp's at 0.84 is what the name says.
    quantiles, z_spec = drawn
    summary = summarize_quantiles(quantiles, z_spec)
    for level, ours in ((0.16, summary["z_err68_low"]), (0.5, summary["z_median"]), (0.84, summary["z_err68_high"])):
        np.testing.assert_allclose(ours, ensemble.ppf(level).ravel(), atol=2e-3)
    # Where a density is flat to rounding, ours is the middle: at most a third of the 68 % interval away (two peaks
    # of one height excepted).
    width = summary["z_err68_high"] - summary["z_err68_low"]
    assert np.mean(np.abs(summary["z_mode"] - ensemble.mode(GRID).ravel()) < width / 3) > 0.95
    np.testing.assert_allclose(summary["z_mean"], ensemble.mean().ravel(), atol=5e-3)


def test_point_metrics(drawn) -> None:
    quantiles, z_spec = drawn
    z_phot = quantiles[:, LEVELS.index(0.5)]
    ours = compute_metrics(z_phot, z_spec, resamples=2, seed=1)
    pairs = {
        "bias_median": PointBias,
        "sigma_iqr": PointSigmaIQR,
        "outlier_fraction_rail": PointOutlierRate,
    }
    for name, metric in pairs.items():
        assert ours[name].value == pytest.approx(metric().evaluate(z_phot, z_spec), rel=1e-12), name
    assert ours["smad"].value == pytest.approx(PointSigmaMAD().evaluate(z_phot, z_spec), rel=1e-6)
