"""The combined estimator: architecture, preparation, estimates and p(z), what is missing, its folder on disk."""

import json
from dataclasses import replace
from typing import Any

import from_magnitudes
import numpy as np
import pytest
import torch
from from_magnitudes import lose
from scipy.stats import norm
from torch import nn

from photoz.errors import EstimatorError
from photoz.estimators import Inputs, load_estimator, load_recalibration
from photoz.estimators.base import check_bands
from photoz.estimators.density import mix_gaussians
from photoz.estimators.distance import TrainingDistance
from photoz.estimators.mlp.ensemble import EnsembleRecipe, MixtureEnsemble
from photoz.estimators.networks.base import NetworkEstimator
from photoz.estimators.networks.hybrid import HybridEstimator, PhotometryEstimator
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.network import Head, HybridNetwork, MaskedNetwork, average_pool_same, max_pool_same
from photoz.estimators.networks.paper import PaperEstimator
from photoz.estimators.networks.scaling import find_limits, scale_cutouts
from photoz.estimators.photometric.features import select_distinct
from photoz.pdf.recalibration import Recalibration
from photoz.schema import LEVELS, Flag
from photoz.settings.config import convert_config

BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
UGRI = ("u", "g", "r", "i")


def make_inputs(count: int, *, images: bool = True, seed: int = 0) -> Inputs:
    rng = np.random.default_rng(seed)
    magnitudes_NF = rng.normal(19.0, 1.0, (count, len(BANDS))).astype(np.float32)
    cutouts_NBYX = rng.normal(1e-9, 1e-10, (count, 4, 36, 36)).astype(np.float32) if images else None
    return from_magnitudes.make_inputs(magnitudes_NF, 0.1, cutouts_NBYX)


def make_estimator(*, images: bool = True, head: str = "mixture") -> HybridEstimator:
    torch.manual_seed(3)
    parts = {"mixture": 5, "binned": 60, "point": 0}[head]
    layout = InputLayout(BANDS, UGRI if images else (), 36 if images else 0, 0.2, Head(head, 4, parts))
    kind = HybridEstimator if images else PhotometryEstimator
    network = kind.make_network(layout, (0.2, 0.1))
    return kind(layout, make_preparation(kind), network, {"seed": 3}, torch.device("cpu"))


def make_preparation(kind: type[NetworkEstimator]) -> Any:
    """Fit to magnitudes of 19 with a spread of 1."""
    return from_magnitudes.make_preparation(kind, BANDS, make_inputs(100, images=False).magnitudes.magnitudes_NF)


def make_distance(count: int) -> TrainingDistance:
    """Measure from so many galaxies."""
    inputs = make_inputs(count, images=False, seed=1)
    features_NC = make_preparation(HybridEstimator).features.apply(inputs.fluxes_NF, inputs.errors_NF)
    return TrainingDistance.fit(select_distinct(features_NC), seed=1)


def make_paper() -> PaperEstimator:
    torch.manual_seed(3)
    layout = InputLayout(BANDS, UGRI, 36, 0.2, None)
    network = PaperEstimator.make_network(layout)
    # Fresh weights give numbers about 0, and estimates are held to 0 from below.
    torch.nn.init.constant_(network.join[-1].bias, 2.0)
    return PaperEstimator(layout, make_preparation(PaperEstimator), network, {"seed": 3}, torch.device("cpu"))


@pytest.mark.parametrize("kind", ["hybrid", "photometry", "paper"])
def test_estimates_are_never_below_0(kind: str) -> None:
    estimator = make_paper() if kind == "paper" else make_estimator(images=kind == "hybrid")
    with torch.no_grad():
        if kind == "paper":
            estimator.network.join[-1].bias.fill_(-9.0)
        else:
            estimator.network.target_scale.copy_(torch.tensor([-0.5, 0.01]))
    estimates = estimator.estimate(make_inputs(5, images=kind != "photometry"))
    np.testing.assert_array_equal(estimates.z_phot_N, 0.0)
    assert not (estimates.flags_N & Flag.ESTIMATE_FAILED).any()


def assert_same(found, expected, rows=slice(None)) -> None:
    np.testing.assert_array_equal(found.z_phot_N[rows], expected.z_phot_N[rows])
    for name in ("quantiles_NQ", "z_std_model_N", "distance_N"):
        np.testing.assert_array_equal(getattr(found.pdf, name)[rows], getattr(expected.pdf, name)[rows])


def make_config(**survey: object):
    places = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
    return convert_config({"run": {"name": "t"}, "locations": {p: p for p in places}, "survey": survey})


def count_multiply_adds(network: nn.Module, *inputs: torch.Tensor) -> int:
    counts: list[int] = []

    def count(module: nn.Module, _given: object, output: torch.Tensor) -> None:
        counts.append(
            output[0].numel() * module.weight[0].numel() if isinstance(module, nn.Conv2d) else module.weight.numel()
        )

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    network.eval()(*inputs)
    return sum(counts)


def test_combined_network_has_the_papers_cost():
    network = HybridNetwork(9, image_bands=4, cutout_size=36)
    total = count_multiply_adds(network, torch.zeros(1, 9), torch.zeros(1, 4, 36, 36))
    stem = 36 * 36 * 49 * 4 * 64 + 144 * 64 * 64 + 144 * 9 * 64 * 192
    modules = [36 * (c * (64 + 96 + 16 + 32) + 9 * 96 * 128 + 25 * 16 * 32) for c in (192, 256, 256, 256)]
    dense = 9 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + (6 * 6 * 256 + 64) * 1024 + 1024
    assert total == stem + sum(modules) + dense
    assert round(total / 1e6) in (67, 68)


def test_parameter_counts():
    def size(network: nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    photometry = (10 * 512) + (513 * 256) + 2 * 256 + (257 * 128) + (129 * 64)
    assert size(HybridNetwork(9)) == photometry + 65 * 1024 + 1025
    stem = 64 * (4 * 49 + 1) + 65 * 64 + 192 * (9 * 64 + 1)
    modules = [(c + 1) * 208 + 128 * (9 * 96 + 1) + 32 * (25 * 16 + 1) for c in (192, 256, 256, 256)]
    join = (9216 + 64 + 1) * 1024 + 1025
    assert size(HybridNetwork(9, image_bands=4, cutout_size=36)) == photometry + stem + sum(modules) + join


def test_weights_follow_he():
    torch.manual_seed(0)
    layer = HybridNetwork(9).join[0]
    assert layer.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.02)
    assert not layer.bias.any()


def test_average_pool_leaves_padding_out():
    ramp = torch.arange(12.0).repeat(12, 1)[None, None]
    pooled = average_pool_same(ramp, 3, 2)
    # 12 pixels at stride 2 need one pixel of padding, after the image: the last window has two columns.
    assert pooled[0, 0, 0].tolist() == [1.0, 3.0, 5.0, 7.0, 9.0, 10.5]
    assert average_pool_same(ramp, 3, 3)[0, 0, 0].tolist() == [1.0, 4.0, 7.0, 10.0]


@pytest.mark.parametrize(("size", "stride", "expected"), [(11, 2, [0.5, 2.0, 4.0, 6.0, 8.0, 9.5]), (5, 3, [0.5, 3.0])])
def test_average_pool_puts_the_smaller_half_of_the_padding_first(size, stride, expected):
    ramp = torch.arange(float(size)).repeat(size, 1)[None, None]
    pooled = average_pool_same(ramp, 3, stride)
    assert pooled.shape[-2:] == (len(expected), len(expected))
    if (size, stride) == (11, 2):
        assert pooled[0, 0, 0].tolist() == expected


def test_max_pool_pads_after_with_less_than_anything():
    values = -torch.arange(1.0, 5.0).reshape(1, 1, 1, 4).repeat(1, 1, 4, 1)
    assert max_pool_same(values)[0, 0, 0].tolist() == [-1.0, -2.0, -3.0, -4.0]
    assert max_pool_same(-values)[0, 0, 3].tolist() == [2.0, 3.0, 4.0, 4.0]


def test_quantiles_are_numpys():
    rng = np.random.default_rng(5)
    values = rng.normal(size=(50, 1296)).astype(np.float32)
    values[rng.random(values.shape) < rng.random((50, 1))] = np.nan
    values[0] = np.nan
    values[1, 1:] = np.nan
    infinite = values.copy()
    infinite[2:][np.isnan(values[2:])] = -np.inf
    low, high, count = (found.numpy() for found in find_limits(torch.from_numpy(values)))
    expected = np.nanpercentile(values[1:].astype(np.float64), [2, 98], axis=1).astype(np.float32)
    assert np.isnan(low[0])
    assert count.tolist() == np.isfinite(values).sum(axis=1).tolist()
    np.testing.assert_allclose(np.stack([low, high])[:, 1:], expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(find_limits(torch.from_numpy(infinite))[0], low)


def test_scaled_cutouts_lie_in_0_to_1_and_missing_pixels_are_0():
    cutouts = np.tile(np.arange(1296.0, dtype=np.float32).reshape(36, 36), (2, 4, 1, 1))
    cutouts[0, 1, :5] = np.nan
    cutouts[0, 2] = np.inf
    cutouts[1, 3] = 7.0
    given = cutouts.copy()
    scaled, seen = (found.numpy() for found in scale_cutouts(torch.from_numpy(cutouts)))
    np.testing.assert_array_equal(cutouts, given)
    assert seen.tolist() == [[True, True, False, True], [True, True, True, True]]
    assert scaled.min() == 0.0
    assert scaled.max() == 1.0
    assert not scaled[0, 1, :5].any()
    assert not scaled[0, 2].any()
    assert not scaled[1, 3].any()
    np.testing.assert_allclose(scaled[0, 0], np.clip((cutouts[0, 0] - 25.9) / (1269.1 - 25.9), 0, 1), atol=1e-6)


def test_the_lean_network_takes_a_fifth_of_the_papers_work():
    paper, lean = HybridNetwork(9, image_bands=4, cutout_size=36), MaskedNetwork(9, image_bands=4)
    before = count_multiply_adds(paper, torch.zeros(1, 9), torch.zeros(1, 4, 36, 36))
    after = count_multiply_adds(lean, torch.zeros(1, 40), torch.zeros(1, 8, 36, 36))
    after += sum(weight.numel() for weight in lean.members.weights)
    assert after < min(15e6, before / 5)


def test_the_network_without_images_is_mlps() -> None:
    """The same weights give the same mixtures: the image-less twin differs from mlp by its training alone."""
    recipe = EnsembleRecipe(members=3)
    ensemble = MixtureEnsemble(35, recipe)
    network = MaskedNetwork(9, head=Head("mixture", 3, recipe.components))
    assert [w.shape for w in network.members.weights][:-1] == [w.shape for w in ensemble.weights][:-1]
    with torch.no_grad():
        for ours, theirs in ((network.members.weights, ensemble.weights), (network.members.biases, ensemble.biases)):
            for mine, other in zip(ours[:-1], theirs[:-1], strict=True):
                mine.copy_(other)
            ours[-1][..., 1:] = theirs[-1]
    features_NC = torch.randn(6, 35)
    with torch.inference_mode():
        mixture, expected = mix_gaussians(network(features_NC)[..., 1:]), ensemble.mix(features_NC)
    for found, due in zip(mixture, expected, strict=True):
        torch.testing.assert_close(found, due)


@pytest.mark.parametrize(("images", "head"), [(True, "mixture"), (False, "mixture"), (False, "binned")])
def test_estimates_do_not_depend_on_order_or_batch_size(images, head):
    estimator, inputs = make_estimator(images=images, head=head), make_inputs(20, images=images)
    first = estimator.estimate(inputs)
    assert_same(estimator.estimate(inputs), first)
    assert np.isfinite(first.z_phot_N).all()
    assert not first.flags_N.any()
    assert first.z_phot_N.dtype == first.pdf.quantiles_NQ.dtype == np.float32
    assert first.pdf.quantiles_NQ.shape == (20, len(LEVELS))
    assert (np.diff(first.pdf.quantiles_NQ, axis=1) >= 0).all()
    assert (first.pdf.z_std_model_N > 0).all()
    turned = inputs.take(slice(None, None, -1))
    for other, step in ((estimator.estimate(inputs, batch_size=3), 1), (estimator.estimate(turned), -1)):
        np.testing.assert_allclose(other.z_phot_N[::step], first.z_phot_N, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(other.pdf.quantiles_NQ[::step], first.pdf.quantiles_NQ, rtol=1e-3, atol=1e-4)


def test_the_network_gives_what_its_weights_say():
    """With nothing but biases left, every galaxy gets the mixture that they describe."""
    estimator = make_estimator(images=False)
    members = estimator.network.members
    with torch.no_grad():
        members.weights[-1].zero_()
        members.biases[-1].copy_(torch.tensor([0.5, *[0.0] * 5, *[0.3] * 5, *[-1.0] * 5]).expand(4, 1, -1))
        members.biases[-1][0, 0, 0] = 0.9
    estimates = estimator.estimate(make_inputs(3, images=False))
    np.testing.assert_allclose(estimates.z_phot_N, np.expm1(0.2 + 0.1 * 0.3), rtol=1e-4)  # symmetric: its median
    z_K = np.expm1(0.2 + 0.1 * np.array([0.9, 0.5, 0.5, 0.5]))
    np.testing.assert_allclose(estimates.pdf.z_std_model_N, z_K.std(ddof=1), rtol=1e-4)
    expected = np.expm1(0.2 + 0.1 * norm.ppf(LEVELS, 0.3, np.exp(-1.0)))
    np.testing.assert_allclose(estimates.pdf.quantiles_NQ, np.tile(expected, (3, 1)), atol=1e-5)


def test_quantiles_are_taken_at_the_recalibrated_levels():
    estimator, inputs = make_estimator(images=False), make_inputs(10, images=False)
    pit_N = np.random.default_rng(0).beta(3, 3, 3000)  # densities far too wide
    narrower = replace(estimator, recalibration=Recalibration.fit(pit_N, np.zeros((3000, 2))))
    before, after = estimator.estimate(inputs), narrower.estimate(inputs)
    np.testing.assert_array_equal(after.z_phot_N, before.z_phot_N)
    low, high = LEVELS.index(0.16), LEVELS.index(0.84)
    width_before, width_after = (np.diff(e.pdf.quantiles_NQ[:, [low, high]])[:, 0] for e in (before, after))
    assert (width_after < 0.75 * width_before).all()


def test_a_head_without_density_gives_points_alone():
    estimator = make_estimator(images=False, head="point")
    assert not estimator.gives_pdf
    estimates = estimator.estimate(make_inputs(3, images=False))
    assert estimates.pdf is None
    assert np.isfinite(estimates.z_phot_N).all()


def test_what_is_missing_is_done_without_and_flagged_and_changes_no_other_row():
    estimator, inputs = make_estimator(), make_inputs(12)
    clean = estimator.estimate(inputs)
    inputs = lose(inputs, 1)  # the image alone
    inputs.cutouts_NBYX[2, 3] = np.nan  # three image bands
    inputs.cutouts_NBYX[3] = np.inf  # no image, though no flag says so
    inputs.flags_N[4] = int(Flag.TILE_UNREADABLE)
    inputs = lose(inputs, 5, slice(3), flux=np.inf)  # six bands
    inputs = lose(inputs, [6, 7], flux=-1.0)
    inputs.cutouts_NBYX[6] = np.nan  # nothing
    inputs.flags_N[7] = int(Flag.NO_TILE | Flag.NO_PHOTOMETRY)  # nothing
    found = estimator.estimate(inputs)
    lost = [6, 7]
    assert np.isnan(found.z_phot_N[lost]).all()
    assert np.isnan(found.pdf.quantiles_NQ[lost]).all()
    assert (found.flags_N[lost] & int(Flag.ESTIMATE_FAILED)).all()
    assert found.flags_N[7] & int(Flag.NO_TILE)
    assert np.isfinite(np.delete(found.z_phot_N, lost)).all()
    assert np.isfinite(np.delete(found.pdf.quantiles_NQ, lost, axis=0)).all()
    assert not (np.delete(found.flags_N, lost) & int(Flag.ESTIMATE_FAILED)).any()
    photometry_only = (found.flags_N & int(Flag.PHOTOMETRY_ONLY)) != 0
    assert np.flatnonzero(photometry_only).tolist() == [3, 4]
    assert (found.z_phot_N[1:6] != clean.z_phot_N[1:6]).all()
    assert_same(found, clean, rows=[0, 8, 9, 10, 11])


def test_an_image_that_a_flag_denies_is_the_same_as_none():
    estimator, inputs = make_estimator(), make_inputs(6)
    inputs.flags_N[:] = int(Flag.OFF_IMAGE)
    denied = estimator.estimate(inputs)
    inputs.cutouts_NBYX[:] = np.nan
    assert_same(estimator.estimate(inputs), denied)
    inputs.flags_N[:] = 0
    assert_same(estimator.estimate(inputs), denied)


def test_not_detected_is_told_from_not_observed():
    estimator, inputs = make_estimator(images=False), make_inputs(4, images=False)
    unknown = estimator.estimate(lose(inputs, slice(None), 0))
    faint = estimator.estimate(lose(inputs, slice(None), 0, flux=0.0))
    assert (faint.z_phot_N != unknown.z_phot_N).all()


def test_paper_estimates_and_sets_aside_what_it_cannot_do_without():
    estimator, inputs = make_paper(), make_inputs(8)
    clean = estimator.estimate(inputs)
    assert not estimator.gives_pdf
    assert clean.pdf is None
    assert not clean.flags_N.any()
    np.testing.assert_allclose(estimator.estimate(inputs, batch_size=3).z_phot_N, clean.z_phot_N, rtol=1e-4, atol=1e-5)
    inputs = lose(lose(inputs, 1), 5, slice(3))
    inputs.cutouts_NBYX[2, 3] = np.nan
    inputs.cutouts_NBYX[3] = np.inf
    inputs.flags_N[4] = int(Flag.TILE_UNREADABLE)
    estimates = estimator.estimate(inputs)
    bad = [1, 2, 3, 4]
    assert np.isnan(estimates.z_phot_N[bad]).all()
    assert (estimates.flags_N[bad] & int(Flag.ESTIMATE_FAILED)).all()
    assert estimates.flags_N[4] & int(Flag.TILE_UNREADABLE)
    np.testing.assert_array_equal(estimates.z_phot_N[[0, 6, 7]], clean.z_phot_N[[0, 6, 7]])
    assert np.isfinite(estimates.z_phot_N[5])
    assert not estimates.flags_N[[0, 5, 6, 7]].any()


def test_photometry_needs_no_image():
    estimator, inputs = make_estimator(images=False), make_inputs(3, images=False)
    inputs.flags_N[:] = int(Flag.NO_TILE)
    estimates = estimator.estimate(inputs)
    assert np.isfinite(estimates.z_phot_N).all()
    assert (estimates.flags_N == int(Flag.NO_TILE)).all()


def test_points_alone_are_the_same_points():
    estimator, inputs = make_estimator(), make_inputs(5)
    estimates = estimator.without_pdf().estimate(inputs)
    assert estimates.pdf is None
    np.testing.assert_array_equal(estimates.z_phot_N, estimator.estimate(inputs).z_phot_N)


def test_no_galaxies_give_no_estimates():
    for estimator in (make_estimator(), make_estimator().without_pdf(), make_paper()):
        estimates = estimator.estimate(make_inputs(0))
        assert len(estimates.z_phot_N) == 0
        assert (estimates.pdf is not None) == estimator.gives_pdf


@pytest.mark.parametrize(("images", "head"), [(True, "mixture"), (False, "binned")])
def test_saved_estimator_gives_the_same_numbers(tmp_path, images, head):
    rng = np.random.default_rng(1)
    inputs = make_inputs(5, images=images)
    estimator = replace(
        make_estimator(images=images, head=head),
        recalibration=Recalibration.fit(rng.beta(2, 3, 1000), rng.normal(size=(1000, 2))),
        distance=make_distance(400),
    )
    estimator.save(str(tmp_path / "it"))
    loaded = load_estimator(str(tmp_path / "it"))
    assert (loaded.name, loaded.bands, loaded.image_bands) == (estimator.name, BANDS, estimator.image_bands)
    assert loaded.layout == estimator.layout
    assert np.isfinite(loaded.estimate(inputs).pdf.distance_N).all()
    assert_same(loaded.estimate(inputs), estimator.estimate(inputs))
    assert loaded.record == {"seed": 3}
    recalibration = load_recalibration(str(tmp_path / "it"))
    np.testing.assert_array_equal(
        recalibration.map_levels(np.zeros((1, 2))), estimator.recalibration.map_levels(np.zeros((1, 2)))
    )


def test_paper_is_kept_under_its_own_name(tmp_path):
    estimator, inputs = make_paper(), make_inputs(5)
    estimator.save(str(tmp_path))
    loaded = load_estimator(str(tmp_path))
    assert (type(loaded), loaded.name) == (PaperEstimator, "hybrid-paper")
    np.testing.assert_array_equal(loaded.estimate(inputs).z_phot_N, estimator.estimate(inputs).z_phot_N)
    assert load_recalibration(str(tmp_path)) is None


def test_galaxies_unlike_the_training_set_are_flagged():
    estimator = replace(make_estimator(images=False), distance=make_distance(3000))
    magnitudes_NF = np.full((4, 9), 19.0)
    magnitudes_NF[1, 0] = 10.0
    magnitudes_NF[2] = np.nan
    estimates = estimator.estimate(from_magnitudes.make_inputs(magnitudes_NF))
    assert np.flatnonzero(estimates.flags_N & int(Flag.OUTSIDE_TRAINING)).tolist() == [1]
    assert estimates.pdf.distance_N[1] > 1 > estimates.pdf.distance_N[0]
    assert np.isnan(estimates.pdf.distance_N[2])


def test_estimator_is_kept_in_any_store():
    estimator = make_estimator(images=False)
    estimator.save("memory://models/photometry")
    assert load_estimator("memory://models/photometry").name == "photometry"


def test_refuses_another_format_and_damaged_weights(tmp_path):
    make_estimator(images=False).save(str(tmp_path))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for other in (1, 2, 3, 99):
        (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "format_version": other}))
        match = f"format version {other}, this photoz reads 4 of 'photometry': train the estimator again"
        with pytest.raises(EstimatorError, match=match):
            load_estimator(str(tmp_path))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(EstimatorError, match="damaged"):
        load_estimator(str(tmp_path))
    with pytest.raises(EstimatorError, match="no trained estimator"):
        load_estimator(str(tmp_path / "nowhere"))


def test_refuses_another_surveys_bands():
    check_bands(make_estimator(), make_config().survey)
    with pytest.raises(EstimatorError, match=r"'Ks'.*\('g', 'r'\)"):
        check_bands(make_estimator(), make_config(bands=["g", "r"], image_bands=["g"]).survey)
    with pytest.raises(EstimatorError, match=r"0\.2.*0\.3"):
        check_bands(make_estimator(), make_config(pixel_scale=0.3).survey)


def test_refuses_cutouts_of_another_shape():
    inputs = make_inputs(2)
    small = replace(inputs, cutouts_NBYX=inputs.cutouts_NBYX[..., :30, :30])
    with pytest.raises(EstimatorError, match="36"):
        make_estimator().estimate(small)
