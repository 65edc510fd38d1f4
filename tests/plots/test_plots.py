"""Figures: they draw whatever comes, the same bytes each time, and leave matplotlib's settings alone."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from photoz.binning import choose_round_edges
from photoz.metrics import compute_binned
from photoz.plots import (
    Quantity,
    Sample,
    SkyCounts,
    plot_binned,
    plot_history,
    plot_redshift_distribution,
    plot_redshifts,
    plot_redshifts_in_bins,
    plot_residual_histogram,
    plot_residuals,
    plot_residuals_in_bins,
    plot_sky,
    render_pdf,
    render_png,
)
from photoz.plots.style import compute_running, compute_running_redshift

PNG = b"\x89PNG\r\n\x1a\n"
HISTORY = [{"epoch": i, "train_loss": 1 / i, "valid_loss": 1.1 / i, "smad": 0.1 / i} for i in range(1, 6)]


def make_sample(count: int, label: str = "combined", seed: int = 0) -> Sample:
    generator = np.random.default_rng(seed)
    z_spec = generator.gamma(4.2, 0.056, count)
    z_phot = z_spec + 0.02 * (1 + z_spec) * generator.standard_t(4, count)
    z_phot[::40] = np.nan
    return Sample(label, z_phot, z_spec)


def draw_all(samples: list[Sample]) -> dict[str, Figure]:
    quantity = np.linspace(16, 20, samples[0].z_spec.size)
    edges = choose_round_edges(quantity, 5)
    bins = {
        s.label: compute_binned(s.z_phot, s.z_spec, quantity, edges, resamples=10) if edges.size else []
        for s in samples
    }
    quantities = [Quantity("$r$ [mag]", quantity), Quantity("$z$", samples[0].z_spec, zoom=True)]
    counts, fine = np.ones(100), np.linspace(0, 1, 101)
    return {
        "redshifts": plot_redshifts(samples),
        "residuals": plot_residuals(samples),
        "histogram": plot_residual_histogram(samples),
        "binned": plot_binned({"mag_auto": bins}, {"mag_auto": "$r$ [mag]"}),
        "redshifts in bins": plot_redshifts_in_bins(samples[0], quantities),
        "residuals in bins": plot_residuals_in_bins(samples[0], quantities),
        "n(z)": plot_redshift_distribution(samples, ("all", counts, fine)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 50, 2500])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_any_number_of_galaxies_can_be_drawn(count):
    for name, figure in draw_all([make_sample(count), make_sample(count, "photometry", seed=1)]).items():
        image = render_png(figure, dpi=40)
        assert image.startswith(PNG), name
        assert len(image) > 2000, name


def test_all_redshifts_missing_is_drawn_as_nothing():
    sample = Sample("none", np.full(20, np.nan), np.linspace(0.1, 0.5, 20))
    assert "no galaxies" in [text.get_text() for axes in plot_redshifts([sample]).axes for text in axes.texts]
    for figure in draw_all([sample]).values():
        assert render_png(figure, dpi=40).startswith(PNG)


def test_same_data_give_the_same_bytes():
    first, second = (plot_redshifts([make_sample(2500)]) for _ in range(2))
    assert render_png(first, dpi=60) == render_png(second, dpi=60)
    assert render_pdf(first) == render_pdf(second)
    assert b"CreationDate" not in render_pdf(first)


def test_the_callers_settings_are_neither_used_nor_changed():
    plain = render_png(plot_residuals([make_sample(60)]))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert render_png(plot_residuals([make_sample(60)])) == plain
        assert mpl.rcParams["font.size"] == 30
    assert mpl._pylab_helpers.Gcf.get_all_fig_managers() == []


def test_default_resolution_is_fit_for_print():
    width = int.from_bytes(render_png(plot_residual_histogram([make_sample(60)]))[16:20], "big")
    assert width == pytest.approx(7.1 * 200, abs=1)


def test_four_estimators_fit_side_by_side_in_bins():
    samples = [make_sample(300, f"estimator {i}", seed=i) for i in range(4)]
    assert len(plot_redshifts(samples[:3]).axes) >= 6
    assert render_png(draw_all(samples)["binned"], dpi=50).startswith(PNG)


@pytest.mark.parametrize(
    ("order", "cells", "partitions"),
    [
        (13, [5, 6, 7], [(3, 0)]),
        (3, [0, 300, 700], [(1, 0), (1, 18), (2, 175)]),  # all over the sky
        (0, [4], [(0, 4)]),  # a base pixel across right ascension 0
        (5, [], []),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_sky_maps_of_any_extent(order, cells, partitions):
    array = np.array(cells, dtype=np.int64)
    figure = plot_sky(SkyCounts(order, array, np.ones_like(array), partitions))
    assert render_png(figure, dpi=50).startswith(PNG)


def test_field_across_right_ascension_zero_stays_in_one_piece():
    from astropy import units
    from astropy_healpix import HEALPix

    grid = HEALPix(nside=2**8, order="nested")
    cells = np.unique(grid.lonlat_to_healpix(np.array([359.5, 0.0, 0.5]) * units.deg, np.zeros(3) * units.deg))
    axes = plot_sky(SkyCounts(8, cells, np.ones_like(cells), [])).axes[0]
    left, right = axes.get_xlim()
    assert 0 < left - right < 3


@pytest.mark.parametrize(("lowest", "scale"), [(-0.5, "linear"), (0.1, "log")])
def test_losses_below_zero_are_all_drawn(lowest, scale):
    history = [{"epoch": epoch, "train_loss": loss, "valid_loss": loss} for epoch, loss in enumerate((1.0, lowest))]
    axes = plot_history({"hybrid": history}).axes[0]
    assert axes.get_yscale() == scale
    assert axes.get_ylim()[0] < lowest


@pytest.mark.parametrize("history", [HISTORY, HISTORY[:1], [], [{"epoch": 1}], [{"loss": 3.0}]])
def test_training_curves_of_any_record(history):
    assert render_png(plot_history({"hybrid": history, "photometry": HISTORY}), dpi=50).startswith(PNG)


def test_running_median_of_a_line_is_the_line():
    x = np.linspace(0, 1, 1000)
    running = compute_running(x, 2 * x)
    assert running.median == pytest.approx(2 * running.centre)
    tilted = compute_running_redshift(Sample("s", x + 0.01, x), windows=3)
    assert tilted.median == pytest.approx(tilted.centre + 0.01)
    assert tilted.smad == pytest.approx(0.0, abs=1e-12)  # wide windows: the slope of the 1:1 line is no scatter


def test_galaxies_beyond_the_frame_are_marked_at_its_edge_and_counted():
    sample = make_sample(3000)
    z_phot = sample.z_phot.copy()
    z_phot[1:4] = (4.0, 5.0, 6.0)
    z_phot[5] = -3.0
    figure = plot_redshifts([Sample("outliers", z_phot, sample.z_spec)])
    for axes in figure.axes[:2]:
        texts = [text.get_text() for text in axes.texts]
        above, below = (next(text for text in texts if text.endswith(word)) for word in ("above", "below"))
        assert int(above.split()[0]) >= 3
        assert int(below.split()[0]) >= 1
        marks = [line for line in axes.lines if line.get_marker() == "^"]
        assert (marks[0].get_ydata() == axes.get_ylim()[1]).all()
        assert marks[0].get_xdata().size == int(above.split()[0])
    inner = plot_redshifts([Sample("none", np.full(30, 0.2), np.full(30, 0.2))])
    assert not any("above" in text.get_text() for axes in inner.axes for text in axes.texts)


def test_fewer_colours_take_fewer_bytes_and_look_the_same():
    figure = plot_redshifts([make_sample(3000)])
    whole, few = render_png(figure), render_png(figure, colours=256)
    assert len(few) < 0.6 * len(whole)
    before, after = (np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float) for png in (whole, few))
    assert np.abs(before - after).mean() < 1
    assert render_png(figure, colours=256) == few
