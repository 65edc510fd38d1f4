"""Drawing cutouts and sources: what is shown, and that missing pixels do no harm."""

import numpy as np
import pytest

from photoz.plots import render_png
from photoz.plots.cutouts import colour_image, plot_cutouts, plot_detections, stretch_image


def test_stretch_runs_from_sky_to_peak() -> None:
    image = np.random.default_rng(0).normal(10, 1, (50, 50)).astype(np.float32)
    image[20, 30], image[0, 0] = 1000, np.nan
    shown = stretch_image(image)
    assert shown[20, 30] == 1
    assert shown[0, 0] == 0
    assert 0 < np.median(shown) < 0.3
    assert not stretch_image(np.full((3, 3), np.nan, np.float32)).any()


def test_a_gallery_has_a_panel_for_each_band_of_each_cutout() -> None:
    cutouts = np.random.default_rng(0).normal(0, 1, (3, 4, 36, 36)).astype(np.float32)
    figure = plot_cutouts(cutouts, ("u", "g", "r", "i"), ("a", "b", "c"))
    assert sum(bool(axes.images) for axes in figure.axes) == 12
    assert render_png(figure, dpi=50).startswith(b"\x89PNG")


def test_each_source_is_drawn_in_its_group() -> None:
    image = np.random.default_rng(0).normal(0, 1, (60, 60)).astype(np.float32)
    place = np.array([10.0, 20.0, 30.0])
    figure = plot_detections(image, place, place, groups_N=np.array([0, 1, 1]), labels=("bright", "faint"))
    assert [len(drawn.get_offsets()) for drawn in figure.axes[0].collections] == [1, 2]


def test_a_colour_picture_keeps_the_ratio_of_the_bands_and_is_black_without_pixels() -> None:
    rng = np.random.default_rng(3)
    image = rng.normal(scale=0.5, size=(3, 41, 41)).astype(np.float32)
    image[:, 18:23, 18:23] += np.array([400.0, 200.0, 100.0], np.float32)[:, None, None]  # red
    image[:, :3] = np.nan
    picture = colour_image(image)
    assert picture.shape == (41, 41, 3)
    assert picture.min() >= 0
    assert picture.max() <= 1
    red, green, blue = picture[20, 20]
    assert green / blue == pytest.approx(2.0, rel=0.05)
    assert red > green > blue
    assert (picture[:3] == 0).all()
    grey = colour_image(image[:1])
    assert (grey[20, 20] == grey[20, 20, 0]).all()
