"""Drawing cutouts and sources: what is shown, and that missing pixels do no harm."""

import numpy as np

from photoz.plots import render_png
from photoz.plots.cutouts import plot_cutouts, plot_detections, stretch_image


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
