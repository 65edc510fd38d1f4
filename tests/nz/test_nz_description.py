"""What is said of an n(z): in the table's metadata, in text and in the figure."""

import json
import math
from dataclasses import asdict

import numpy as np

from photoz.nz.description import Stacked, describe_nz, format_nz
from photoz.nz.distribution import make_distribution, place_redshifts, stack
from photoz.nz.settings import Nz
from photoz.plots.nz import plot_nz

EDGES = np.linspace(0, 1, 11)
LIMITS = (0.0, 0.5, 1.0)


def describe(bin_N: list[int], algorithm: str = "mlp"):
    weights_NR = np.random.default_rng(1).poisson(1.0, (len(bin_N), 30)).astype(float)
    shares_NZ = place_redshifts(np.linspace(0.05, 0.95, len(bin_N)), EDGES)
    distribution = make_distribution(stack(np.array(bin_N), shares_NZ, weights_NR, bins=2), EDGES)
    nz = Nz(exclude_flags=("NO_TILE",), resamples=30, step=0.1)
    stacked = Stacked(len(bin_N), 3, algorithm)
    return distribution, describe_nz(distribution, stacked, edges=LIMITS, catalogue="c", nz=nz, seed=4)


def test_figures_are_those_of_the_distribution() -> None:
    distribution, description = describe([1] * 50 + [2] * 50)
    first, second = description.bins
    assert (first.tomographic_bin, first.z_phot_low, first.z_phot_high, first.galaxies) == (1, 0.0, 0.5, 50)
    assert (second.mean_z, second.mean_z_err) == (distribution.mean_B[1], distribution.mean_error_B[1])
    assert description.method == "stacked p(z) of mlp"
    assert (description.selected_rows, description.rows_without_pdf, description.seed) == (100, 3, 4)


def test_nothing_in_the_metadata_is_not_a_number() -> None:
    _, description = describe([1] * 20)
    told = json.loads(json.dumps(asdict(description), allow_nan=False))
    assert told["bins"][1]["mean_z"] is None
    assert told["bins"][1]["galaxies"] == 0
    assert list(told) == [
        "catalogue",
        "method",
        "selected_rows",
        "rows_without_pdf",
        "excluded_flags",
        "step",
        "resamples",
        "seed",
        "bins",
    ]


def test_text_says_which_bins_are_empty() -> None:
    _, description = describe([1] * 20, algorithm="")
    lines = format_nz(description).splitlines()
    assert lines[0] == "n(z): histogram of z_phot: the catalogue has no p(z); 20 galaxies selected"
    assert lines[1].startswith("bin 1: z_phot 0.0000 to 0.5000, 20 galaxies, mean z 0.")
    assert " ± " in lines[1]
    assert lines[2] == "bin 2: z_phot 0.5000 to 1.0000, 0 galaxies, no galaxies"


def test_figure_has_a_curve_for_each_bin_with_galaxies() -> None:
    figure = plot_nz(*describe([1] * 20))
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["0.000 to 0.500: 20 galaxies"]
    empty = plot_nz(*describe([]))
    assert [text.get_text() for text in empty.axes[0].texts] == ["no galaxies"]
    assert math.isclose(figure.get_figwidth(), 7.1)
