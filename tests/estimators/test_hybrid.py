"""The combined estimator: architecture, preparation, estimates, its folder on disk."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from photoz.config import convert_config
from photoz.errors import EstimatorError
from photoz.estimators import Inputs, load_estimator
from photoz.estimators.base import check_bands
from photoz.estimators.hybrid import HybridEstimator, InputLayout
from photoz.estimators.network import HybridNetwork, average_pool_same, max_pool_same
from photoz.estimators.scaling import nan_quantile_pair, scale_cutouts
from photoz.photometry import MagnitudeScaling, MagnitudeSums
from photoz.schema import Flag

BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
UGRI = ("u", "g", "r", "i")


def make_inputs(count: int, *, images: bool = True, seed: int = 0) -> Inputs:
    rng = np.random.default_rng(seed)
    magnitudes_NF = rng.normal(19.0, 1.0, (count, len(BANDS))).astype(np.float32)
    cutouts_NBYX = rng.normal(1e-9, 1e-10, (count, 4, 36, 36)).astype(np.float32) if images else None
    return Inputs(magnitudes_NF, np.full_like(magnitudes_NF, 0.1), cutouts_NBYX, np.zeros(count, dtype=np.int32))


def make_estimator(*, images: bool = True) -> HybridEstimator:
    torch.manual_seed(3)
    layout = InputLayout(BANDS, UGRI if images else (), 36 if images else 0, 0.2)
    scaling = MagnitudeScaling.fit(MagnitudeSums.empty(9).add(make_inputs(100).magnitudes_NF), BANDS)
    return HybridEstimator(layout, scaling, layout.make_network(), {"seed": 3}, torch.device("cpu"))


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
    low, high = (q.numpy() for q in nan_quantile_pair(torch.from_numpy(values)))
    expected = np.nanpercentile(values[1:].astype(np.float64), [2, 98], axis=1).astype(np.float32)
    assert np.isnan(low[0])
    np.testing.assert_allclose(np.stack([low, high])[:, 1:], expected, rtol=1e-6, atol=1e-9)


def test_scaled_cutouts_lie_in_0_to_1_and_missing_pixels_are_0():
    cutouts = np.tile(np.arange(1296.0, dtype=np.float32).reshape(36, 36), (2, 4, 1, 1))
    cutouts[0, 1, :5] = np.nan
    cutouts[0, 2] = np.inf
    cutouts[1, 3] = 7.0
    scaled = scale_cutouts(torch.from_numpy(cutouts)).numpy()
    assert scaled.min() == 0.0
    assert scaled.max() == 1.0
    assert not scaled[0, 1, :5].any()
    assert not scaled[0, 2].any()
    assert not scaled[1, 3].any()
    np.testing.assert_allclose(scaled[0, 0], np.clip((cutouts[0, 0] - 25.9) / (1269.1 - 25.9), 0, 1), atol=1e-6)


@pytest.mark.parametrize("images", [True, False])
def test_estimates_do_not_depend_on_order_or_batch_size(images):
    estimator, inputs = make_estimator(images=images), make_inputs(20, images=images)
    first = estimator.estimate(inputs)
    np.testing.assert_array_equal(estimator.estimate(inputs).z_phot_N, first.z_phot_N)
    assert np.isfinite(first.z_phot_N).all()
    assert not first.flags_N.any()
    assert first.z_phot_N.dtype == np.float32
    np.testing.assert_allclose(estimator.estimate(inputs, batch_size=3).z_phot_N, first.z_phot_N, rtol=1e-4, atol=1e-5)
    turned = Inputs(
        inputs.magnitudes_NF[::-1],
        inputs.errors_NF[::-1],
        inputs.cutouts_NBYX[::-1] if images else None,
        inputs.flags_N[::-1],
    )
    np.testing.assert_allclose(estimator.estimate(turned).z_phot_N[::-1], first.z_phot_N, rtol=1e-4, atol=1e-5)


def test_bad_rows_are_flagged_and_change_no_other_row():
    estimator, inputs = make_estimator(), make_inputs(8)
    clean = estimator.estimate(inputs)
    inputs.magnitudes_NF[1] = np.nan
    inputs.cutouts_NBYX[2, 3] = np.nan
    inputs.cutouts_NBYX[3] = np.inf
    inputs.flags_N[4] = int(Flag.TILE_UNREADABLE)
    inputs.magnitudes_NF[5, :3] = np.inf
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
    assert np.isfinite(estimator.estimate(inputs).z_phot_N).all()


def test_no_galaxies_give_no_estimates():
    assert len(make_estimator().estimate(make_inputs(0)).z_phot_N) == 0


@pytest.mark.parametrize("images", [True, False])
def test_saved_estimator_gives_the_same_numbers(tmp_path, images):
    estimator, inputs = make_estimator(images=images), make_inputs(5, images=images)
    estimator.save(str(tmp_path / "it"))
    loaded = load_estimator(str(tmp_path / "it"))
    assert (loaded.name, loaded.bands, loaded.image_bands) == (estimator.name, BANDS, estimator.image_bands)
    np.testing.assert_array_equal(loaded.estimate(inputs).z_phot_N, estimator.estimate(inputs).z_phot_N)
    assert loaded.record == {"seed": 3}


def test_estimator_is_kept_in_any_store():
    estimator = make_estimator(images=False)
    estimator.save("memory://models/photometry")
    assert HybridEstimator.load("memory://models/photometry").name == "photometry"


def test_refuses_another_format_and_damaged_weights(tmp_path):
    make_estimator(images=False).save(str(tmp_path))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "format_version": 99}))
    with pytest.raises(EstimatorError, match="format version 99"):
        load_estimator(str(tmp_path))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(EstimatorError, match="damaged"):
        load_estimator(str(tmp_path))
    with pytest.raises(EstimatorError, match="no trained estimator"):
        load_estimator(str(tmp_path / "nowhere"))


def test_refuses_another_surveys_bands():
    check_bands(make_estimator(), make_config())
    with pytest.raises(EstimatorError, match=r"'Ks'.*\('g', 'r'\)"):
        check_bands(make_estimator(), make_config(bands=["g", "r"], image_bands=["g"]))
    with pytest.raises(EstimatorError, match=r"0\.2.*0\.3"):
        check_bands(make_estimator(), make_config(pixel_scale=0.3))


def test_refuses_cutouts_of_another_shape():
    inputs = make_inputs(2)
    small = Inputs(inputs.magnitudes_NF, inputs.errors_NF, inputs.cutouts_NBYX[..., :30, :30], inputs.flags_N)
    with pytest.raises(EstimatorError, match="36"):
        make_estimator().estimate(small)
