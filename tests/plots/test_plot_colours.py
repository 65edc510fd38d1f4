"""Colours against redshift: each sample's running median, panel by panel."""

import numpy as np
from drawn import find_line, list_texts

from photoz.plots import plot_colours, render_png


def test_medians_are_those_of_the_samples() -> None:
    rng = np.random.default_rng(0)
    z = {"real": rng.uniform(0, 0.3, 3000), "simulated": rng.uniform(0, 0.3, 2000)}
    colours = {
        "g - r": {"real": 0.5 + 2 * z["real"], "simulated": 0.7 + 2 * z["simulated"]},
        "r - i": {label: 0.3 + 0.1 * rng.standard_normal(len(values)) for label, values in z.items()},
        "i - z": {label: np.full(len(values), np.nan) for label, values in z.items()},
    }
    figure = plot_colours(z, colours)
    x, y = find_line(figure.axes[0], "simulated")
    assert np.abs(y - (0.7 + 2 * x)).max() < 0.01
    _, flat = find_line(figure.axes[1], "real")
    assert np.abs(flat - 0.3).max() < 0.05
    assert list_texts(figure) == ["no galaxies"]
    assert [axes.get_ylabel() for axes in figure.axes[:3]] == ["$g - r$ [mag]", "$r - i$ [mag]", "$i - z$ [mag]"]
    assert render_png(figure) == render_png(plot_colours(z, colours))


def test_nothing_to_draw_is_an_empty_figure() -> None:
    assert len(plot_colours({}, {}).axes) == 2
