"""From inputs to densities: what a network is shown, and how its numbers are read."""

import from_magnitudes
import numpy as np
import pytest
import torch
from from_magnitudes import lose
from scipy.stats import norm

from photoz.estimators.base import Inputs
from photoz.estimators.networks.hybrid import HybridEstimator
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.model import MaskedModel
from photoz.estimators.networks.network import Head, MaskedNetwork
from photoz.schema import Flag

CPU = torch.device("cpu")
BANDS = ("g", "r", "H")
PREPARATION = from_magnitudes.make_preparation(HybridEstimator, BANDS)
SIZE = 6


def make_model(kind: str = "mixture", *, images: bool = True, parts: int = 1, members: int = 2) -> MaskedModel:
    torch.manual_seed(0)
    head = Head(kind, members, parts)
    image_bands = ("g", "r") if images else ()
    layout = InputLayout(BANDS, image_bands, SIZE if images else 0, 0.2, head, ("H",))
    network = MaskedNetwork(3, image_bands=len(image_bands), head=head).eval()
    network.target_scale.copy_(torch.tensor([0.2, 0.1]))
    return MaskedModel(layout, PREPARATION, network, CPU)


def make_inputs(flags: list[int], *, images: bool = True, seed: int = 0) -> Inputs:
    rng = np.random.default_rng(seed)
    count = len(flags)
    cutouts = rng.random((count, 2, SIZE, SIZE)).astype(np.float32) if images else None
    magnitudes_NF = rng.normal(20, 1, (count, 3)).astype(np.float32)
    return from_magnitudes.make_inputs(magnitudes_NF, 0.02, cutouts, np.array(flags, np.int32))


@pytest.mark.parametrize("flag", [Flag.NO_TILE, Flag.TILE_UNREADABLE, Flag.OFF_IMAGE])
def test_an_image_that_a_flag_denies_is_emptied_whatever_its_pixels(flag: Flag) -> None:
    view = make_model().show(make_inputs([0, int(flag), int(Flag.MASKED_PIXELS), int(Flag.PARTIAL_CUTOUT)]))
    assert view.images_NBYX is not None
    assert view.seen_NB is not None
    assert view.seen_NB.any(dim=1).tolist() == [True, False, True, True]
    assert (view.images_NBYX[1] == 0).all()
    assert (view.images_NBYX[0] != 0).any()


def test_an_empty_band_is_told_by_its_pixels_and_leaves_the_other() -> None:
    inputs = make_inputs([int(Flag.EMPTY_CUTOUT)])
    assert inputs.cutouts_NBYX is not None
    inputs.cutouts_NBYX[0, 0] = np.nan
    view = make_model().show(inputs)
    assert view.seen_NB is not None
    assert view.seen_NB.tolist() == [[False, True]]


def test_without_images_the_network_is_shown_magnitudes_alone() -> None:
    for model, inputs in ((make_model(images=False), make_inputs([0])), (make_model(), make_inputs([0], images=False))):
        view = model.show(inputs)
        assert view.images_NBYX is None
        assert view.seen_NB is None
        assert view.photometry.fluxes_NF.shape == (1, 3)


def test_the_callers_cutouts_are_not_changed() -> None:
    inputs = make_inputs([int(Flag.NO_TILE)])
    before = np.array(inputs.cutouts_NBYX)
    make_model().show(inputs)
    np.testing.assert_array_equal(inputs.cutouts_NBYX, before)


def test_a_row_without_an_image_has_the_same_numbers_whatever_lies_in_its_cutout() -> None:
    model = make_model()
    one, other = make_inputs([int(Flag.NO_TILE), 0]), make_inputs([int(Flag.NO_TILE), 0])
    assert other.cutouts_NBYX is not None
    other.cutouts_NBYX[0] = 7.0
    with torch.inference_mode():
        raw, raw_other = model.run(model.show(one)), model.run(model.show(other))
    torch.testing.assert_close(raw, raw_other)


def test_views_of_the_same_galaxies_come_one_after_another() -> None:
    model, inputs = make_model(), make_inputs([0, 0, 0])
    poorer = lose(inputs, slice(None), 1)
    with torch.inference_mode():
        views = model.show(inputs), model.show(poorer)
        together = model.run(*views)
        alone = [model.run(view) for view in views]
    assert together.shape == (6, 2, model.network.head.outputs)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "parts"), [("mixture", 1), ("binned", 40), ("point", 0)])
def test_points_are_brought_to_the_targets_scale_and_densities_stay_in_units_of_it(kind: str, parts: int) -> None:
    model = make_model(kind, parts=parts)
    raw_NKP = torch.zeros(3, 2, model.network.head.outputs)
    raw_NKP[:, 0, 0], raw_NKP[:, 1, 0] = 1.0, -2.0
    points_NK, density = model.read(raw_NKP)
    torch.testing.assert_close(points_NK, torch.tensor([[0.3, 0.0]] * 3))
    assert (density is None) == (kind == "point")
    if density is not None:
        # All other numbers are 0: symmetric about the targets' mean.
        assert density.compute_cdf(torch.zeros(3, 1)).flatten().tolist() == pytest.approx([0.5] * 3, abs=1e-5)


def test_the_probability_below_a_redshift_is_that_of_the_gaussian() -> None:
    model = make_model()
    raw_NKP = torch.zeros(4, 2, 4)
    raw_NKP[..., 2], raw_NKP[..., 3] = 0.5, np.log(0.8)  # centre and logarithm of the width
    density = model.read(raw_NKP)[1]
    assert density is not None
    z_spec_N = np.array([0.1, 0.22, 0.4, 0.0])
    expected = norm.cdf((np.log1p(z_spec_N) - 0.2) / 0.1, 0.5, 0.8)
    np.testing.assert_allclose(model.compute_raw_pit(density, z_spec_N), expected, atol=1e-5)


def test_views_are_numbered_by_what_they_lack_and_not_by_the_inputs() -> None:
    model, inputs = make_model(), make_inputs([0, int(Flag.NO_TILE), 0])
    view = model.show(lose(inputs, 2, 2))
    bands = len(BANDS)
    assert model.number_view(view).tolist() == [0, 2 * (bands + 4), 3]
    without_r = view._replace(photometry=view.photometry.drop(np.array([[False, True, False]] * 3)))
    assert model.number_view(without_r).tolist() == [2, 2 + 2 * (bands + 4), bands + 2]
