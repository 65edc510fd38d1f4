"""What is particular to single estimators, against formulae written out or the packages they stand for."""

import numpy as np
import pytest
import torch
from from_magnitudes import make_sample

from photoz.estimators.mlp.lacking import drop_bands
from photoz.estimators.photometric.cnn1d import CLASSROOM, Cnn1d
from photoz.estimators.photometric.features import FluxFeatures, compute_asinh_magnitudes
from photoz.estimators.photometric.gat import Gat, GraphAttention
from photoz.estimators.photometric.knn import SCALINGS, KnnEstimator, fit_scaling
from photoz.estimators.photometric.template import compute_band_flux, compute_log_likelihood, compute_prior, fit_prior


def test_attention_is_the_written_out_formula():
    torch.manual_seed(0)
    layer, nodes = GraphAttention(3, 4, 2), torch.randn(1, 5, 3)
    values = (nodes[0] @ layer.linear.weight.T).reshape(5, 2, 4)
    due = torch.zeros(5, 2, 4)
    for head in range(2):
        for target in range(5):
            scores = torch.stack(
                [
                    torch.nn.functional.leaky_relu(
                        values[target, head] @ layer.target[head] + values[source, head] @ layer.source[head], 0.2
                    )
                    for source in range(5)
                ]
            )
            shares = torch.softmax(scores, 0)
            due[target, head] = sum(shares[source] * values[source, head] for source in range(5))
    torch.testing.assert_close(layer(nodes)[0], due.reshape(5, 8))


def test_attention_equals_torch_geometrics():
    geometric = pytest.importorskip("torch_geometric.nn", reason="torch-geometric is not installed")
    torch.manual_seed(0)
    ours, nodes = GraphAttention(3, 4, 2), torch.randn(5, 3)
    theirs = geometric.GATConv(3, 4, heads=2, add_self_loops=False)
    with torch.no_grad():
        theirs.lin.weight.copy_(ours.linear.weight)
        theirs.att_src.copy_(ours.source[None])
        theirs.att_dst.copy_(ours.target[None])
        theirs.bias.copy_(ours.bias)
    edges = torch.cartesian_prod(torch.arange(5), torch.arange(5)).T
    torch.testing.assert_close(ours(nodes[None])[0], theirs(nodes, edges))


def test_graphs_of_a_batch_do_not_see_each_other():
    network, features = Gat(5).eval(), torch.randn(6, 5)
    torch.testing.assert_close(network(features)[2:3], network(features[2:3]))


def test_cnn1d_has_the_second_sources_layers():
    network = Cnn1d(7)
    assert sum(p.numel() for p in network.parameters()) == 16 * 3 + 16 + 16 * 3 + 1
    assert (CLASSROOM.optimizer, CLASSROOM.learning_rate, CLASSROOM.batch_size) == ("rmsprop", 1e-6, 16)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_scalings(scaling):
    values = np.random.default_rng(0).normal(5.0, 3.0, (101, 2))
    shift, spread = fit_scaling(values, scaling)
    scaled = (values - shift) / spread
    low, high = {"minmax": (0, 100), "standard": (50, 50), "robust": (25, 75)}[scaling]
    if scaling == "standard":
        np.testing.assert_allclose([scaled.mean(0), scaled.std(0)], [[0, 0], [1, 1]], atol=1e-12)
    else:
        np.testing.assert_allclose(np.percentile(scaled, high, axis=0) - np.percentile(scaled, low, axis=0), 1.0)


def test_neighbours_are_averaged():
    magnitudes = np.repeat(np.arange(40.0), 3)[:, None] + 10
    z = np.tile([0.1, 0.2, 0.3], 40)
    settings = {"features": ("magnitudes",), "scalings": ("standard",), "neighbours": (3,)}
    estimator = KnnEstimator.fit(make_sample(("r",), magnitudes, 0.1, z), **settings)
    np.testing.assert_allclose(estimator._predict(magnitudes, magnitudes), 0.2, rtol=1e-6)


def test_asinh_magnitude_at_zero_flux_and_for_bright_sources():
    assert compute_asinh_magnitudes(np.array(3631e9), np.array(3631.0)) == pytest.approx(0.0, abs=1e-9)
    assert compute_asinh_magnitudes(np.array(0.0), np.array(363.1)) == pytest.approx(25.0)
    assert np.diff(compute_asinh_magnitudes(np.array([-2.0, -1.0, 0.0, 1.0]), np.array(0.5))).max() < 0


def test_features_are_standardised_and_say_what_is_missing():
    rng = np.random.default_rng(0)
    magnitudes = rng.normal(19.0, 1.0, (500, 3))
    magnitudes[::4, 1] = np.nan
    sample = make_sample(("g", "r", "i"), magnitudes, 0.05, np.zeros(500))
    features = FluxFeatures.fit(sample).apply(sample.fluxes_NF, sample.errors_NF)
    assert features.shape == (500, 4 * 3 - 1)
    np.testing.assert_allclose(features[:, :5].mean(0), 0.0, atol=1e-4)
    assert len(np.unique(features[:, 9])) == 2
    assert np.isfinite(features).all()


def test_dropping_bands_leaves_a_magnitude():
    magnitudes = np.full((400, 2), 20.0)
    magnitudes[:200, 1] = np.nan
    sample = make_sample(("g", "r"), magnitudes, 0.05, np.zeros(400))
    dropped = drop_bands(sample, 1.0, np.random.default_rng(0)).fluxes_NF
    assert np.isfinite(dropped).any(axis=1).all()
    assert np.isnan(dropped[200:]).any(axis=1).mean() > 0.8
    assert np.isfinite(magnitudes[200:]).all()


def test_flat_spectrum_has_no_colour():
    wavelength = np.linspace(1000.0, 20000.0, 4000)
    flat = (wavelength, 1.0 / wavelength**2)  # constant flux per frequency
    bands = [(np.linspace(a, b, 50), np.ones(50)) for a, b in ((4000, 5000), (6000, 9000))]
    blue, red = (compute_band_flux(flat, band, np.array([0.0, 0.5])) for band in bands)
    np.testing.assert_allclose(blue, red, rtol=1e-3)


def test_likelihood_is_that_of_bpz(capsys):
    bpz = pytest.importorskip("desc_bpz.bpz_tools_py3", reason="desc-bpz is not installed")
    rng = np.random.default_rng(0)
    templates = rng.uniform(0.5, 2.0, (30, 4, 5))
    fluxes, errors = rng.uniform(0.5, 2.0, (2, 5)), rng.uniform(0.05, 0.2, (2, 5))
    ours = compute_log_likelihood(fluxes, 1 / errors**2, templates)
    for row in range(2):
        theirs = bpz.p_c_z_t(fluxes[row], errors[row], templates).Bayes_likelihood
        np.testing.assert_allclose(np.exp(ours[row] - ours[row].max()), theirs, rtol=1e-6, atol=1e-12)


def test_prior_follows_the_magnitude():
    rng = np.random.default_rng(0)
    magnitudes = rng.uniform(16.0, 20.0, 4000)
    z = rng.gamma(4.0, (0.05 + 0.05 * (magnitudes - 16.0)) / 4.0)
    prior = fit_prior(magnitudes, z)
    grid = np.arange(0.005, 1.2, 0.005)
    table = compute_prior(grid, np.array([16.5, 19.5]), prior)
    means = (table * grid).sum(1) / table.sum(1)
    np.testing.assert_allclose(means, [0.075, 0.225], rtol=0.15)
