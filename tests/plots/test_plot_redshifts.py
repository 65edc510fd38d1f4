"""The figures of the whole sample: frames, figures written within them, and histograms that integrate to one."""

import numpy as np
import pytest
from drawn import list_legend, list_steps, list_texts
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from scipy.stats import norm

from photoz.plots.redshifts import (
    choose_redshift_limits,
    choose_residual_limits,
    plot_redshifts,
    plot_residual_histogram,
    plot_residuals,
)
from photoz.plots.style import Sample, draw_beyond


def make_sample(count: int, *, scatter: float = 0.02, bias: float = 0.0, label: str = "mlp", seed: int = 1) -> Sample:
    rng = np.random.default_rng(seed)
    z_spec = rng.uniform(0.1, 0.5, count)
    return Sample(label, z_spec + (1 + z_spec) * (bias + scatter * rng.normal(size=count)), z_spec)


def read_note(figure) -> list[str]:
    return next(text for text in list_texts(figure) if text.startswith("$N")).splitlines()


def test_the_note_gives_the_figures_of_the_galaxies_with_an_estimate() -> None:
    # dz is 0.1 for one galaxy and 0 for three; the fourth has no estimate.
    sample = Sample("mlp", np.array([0.0, 0.0, 0.0, 0.1, np.nan]), np.zeros(5))
    assert read_note(plot_redshifts([sample])) == [
        "$N = 4$",
        r"$\langle\Delta z\rangle = +0.0250$",
        r"$\sigma = 0.0433$",  # sqrt(3) / 4 of 0.1
        r"$\mathrm{SMAD} = 0.0000$",
        r"$|\Delta z| > 0.05$: 25.0 %",
    ]


def test_columns_share_frame_and_labels() -> None:
    figure = plot_redshifts([make_sample(100, label="one"), make_sample(100, scatter=0.1, label="two")])
    top, bottom = figure.axes[:2], figure.axes[2:4]
    assert len({axes.get_xlim() for axes in (*top, *bottom)}) == 1
    assert len({axes.get_ylim() for axes in bottom}) == 1
    assert [axes.get_title() for axes in top] == ["one", "two"]
    assert [bool(axes.get_ylabel()) for axes in (*top, *bottom)] == [True, False, True, False]
    assert list_legend(top[0]) != []
    assert list_legend(top[1]) == []


def test_a_scale_of_counts_comes_only_where_every_sample_is_drawn_in_cells() -> None:
    many, few = make_sample(2500, label="many"), make_sample(100, label="few")
    assert any(axes.get_ylabel() == "galaxies per cell" for axes in plot_redshifts([many]).axes)
    for samples in ([few], [many, few], [few, many]):
        assert not any(axes.get_ylabel() == "galaxies per cell" for axes in plot_redshifts(samples).axes)


def test_no_scale_takes_its_strip_off_and_keeps_the_panels() -> None:
    with_scale, without = plot_residuals([make_sample(2500)]), plot_residuals([make_sample(100)])
    widths = [figure.axes[0].get_position().width * figure.get_figwidth() for figure in (with_scale, without)]
    assert widths[0] == pytest.approx(widths[1])
    assert with_scale.get_figwidth() - without.get_figwidth() == pytest.approx(0.42)


def test_panels_of_redshift_against_redshift_are_square() -> None:
    for count in (1, 2, 3, 5):
        figure = plot_redshifts([make_sample(50, label=str(number)) for number in range(count)])
        box = figure.axes[0].get_position()
        assert box.width * figure.get_figwidth() == pytest.approx(box.height * figure.get_figheight())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.floats(1e-4, 0.5), st.integers(0, 1000))
def test_residuals_have_a_frame_that_is_symmetric_and_holds_99_percent(count: int, scatter: float, seed: int) -> None:
    sample = make_sample(count, scatter=scatter, seed=seed)
    low, high = choose_residual_limits([sample])
    dz = (sample.z_phot - sample.z_spec) / (1 + sample.z_spec)
    assert low == -high
    assert high >= 1.12 * 0.02
    assert (np.abs(dz) <= high).mean() >= 0.98


def test_frames_of_nothing() -> None:
    nobody = Sample("none", np.empty(0), np.empty(0))
    assert choose_residual_limits([]) == (-0.1, 0.1)
    assert choose_residual_limits([nobody]) == (-0.1, 0.1)
    assert choose_redshift_limits([]) == (0.0, 1.0)
    assert choose_redshift_limits([nobody]) == (0.0, 1.0)


def test_equal_redshifts_have_a_frame_of_some_width() -> None:
    low, high = choose_redshift_limits([Sample("s", np.full(5, 0.3), np.full(5, 0.3))])
    assert low < 0.3 < high


def test_a_histogram_integrates_to_the_share_within_its_frame() -> None:
    sample = make_sample(5000, scatter=0.02)
    dz = (sample.z_phot - sample.z_spec) / (1 + sample.z_spec)
    core, wings = plot_residual_histogram([sample]).axes
    for axes in (core, wings):
        (density, edges), *_ = list_steps(axes)
        reach = edges[-1]
        assert edges[0] == -reach
        assert 0.0 in edges
        assert np.sum(density * np.diff(edges)) == pytest.approx((np.abs(dz) <= reach).mean())


def test_the_gaussian_beside_it_has_the_samples_median_and_smad() -> None:
    rng = np.random.default_rng(0)
    dz = rng.permutation(norm.ppf((np.arange(4001) + 0.5) / 4001, loc=0.01, scale=0.03))
    core = plot_residual_histogram([Sample("s", dz, np.zeros(4001))]).axes[0]
    (line,) = core.lines
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert y == pytest.approx(norm.pdf(x, 0.01, 0.03), rel=2e-3, abs=1e-3)


def test_equal_redshifts_have_a_histogram_and_no_gaussian() -> None:
    core = plot_residual_histogram([Sample("s", np.full(50, 0.3), np.full(50, 0.3))]).axes[0]
    assert core.lines == [] or len(core.lines) == 0
    (density, edges), *_ = list_steps(core)
    assert np.sum(density * np.diff(edges)) == pytest.approx(1.0)


def test_histograms_of_nobody_are_empty_frames() -> None:
    figure = plot_residual_histogram([Sample("none", np.full(3, np.nan), np.zeros(3))])
    assert [list_steps(axes) for axes in figure.axes] == [[], []]
    assert list_legend(figure.axes[0]) == []
    assert figure.axes[1].get_yscale() == "log"


def test_residuals_of_several_estimators_are_titled_and_against_z_phot() -> None:
    samples = [make_sample(60, label=label) for label in ("one", "two", "three")]
    figure = plot_residuals(samples)
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "three"]
    assert all("phot" in axes.get_xlabel() for axes in figure.axes)
    nothing = plot_residuals([Sample("none", np.empty(0), np.empty(0))])
    assert list_texts(nothing) == ["no galaxies"]


def test_every_galaxy_beyond_the_frame_is_counted_once() -> None:
    z_spec = np.linspace(0.1, 0.5, 1000)
    z_phot = z_spec.copy()
    z_phot[:3], z_phot[3:5] = 9.0, -5.0
    axes = plot_residuals([Sample("s", z_phot, z_spec)]).axes[0]
    marks = {line.get_marker(): np.size(line.get_xdata()) for line in axes.lines if line.get_marker() in "^v<>"}
    assert (marks["^"], marks["v"]) == (3, 2)
    assert [text.get_text() for text in axes.texts] == ["3 above", "2 below"]


@pytest.mark.parametrize("plot", [plot_redshifts, plot_residuals])
def test_of_no_sample_there_is_a_panel_that_says_so(plot) -> None:
    figure = plot([])
    assert set(list_texts(figure)) == {"no galaxies"}
    nobody = plot([Sample("none", np.array([np.nan]), np.array([0.1]))])
    assert len(figure.axes) == len(nobody.axes)
    assert set(list_texts(nobody)) == {"no galaxies"}


def test_those_beyond_the_sides_are_counted_too() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    draw_beyond(axes, np.array([-1.0, 2.0, 3.0, 2.0]), np.array([0.5, 0.5, 0.5, 7.0]))
    assert [text.get_text() for text in axes.texts] == ["1 above", "1 left", "2 right"]
