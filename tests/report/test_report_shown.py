"""The report's section of single galaxies."""

from dataclasses import replace

import numpy as np
from scipy.stats import norm

from photoz.evaluate.examples import Kind, ShownGalaxies
from photoz.plots.galaxies import plot_galaxies
from photoz.report.shown import draw_shown, make_shown_rows
from photoz.schema import LEVELS, Flag

Z_SPEC = np.array([0.1, 0.2, 0.3, 0.4])


def make_shown(*, images: bool = True, with_pdf: bool = True) -> ShownGalaxies:
    z_phot = np.array([0.1, 0.22, 0.9, np.nan])
    quantiles = norm.ppf(np.array(LEVELS)[None], z_phot[:, None], 0.02)
    pixels = np.random.default_rng(1).normal(size=(4, 3, 12, 12)).astype(np.float32)
    pixels[:, :, 4:8, 4:8] += 50
    pixels[3] = np.nan
    return ShownGalaxies(
        kinds=[Kind.BEST, Kind.TYPICAL, Kind.WORST, Kind.FLAGGED],
        object_id=["a1", "b2", "c3", "d4"],
        ra_K=np.array([180.0, 181.0, 182.0, 183.0]),
        dec_K=np.array([-1.0, 1.0, 0.5, 0.0]),
        z_spec_K=Z_SPEC,
        flags_K=np.array([0, 0, 0, int(Flag.ESTIMATE_FAILED | Flag.OFF_IMAGE)]),
        z_phot={"mlp": z_phot, "knn": z_phot + 0.01},
        quantiles={"mlp": quantiles} if with_pdf else {},
        bands=("i", "r", "g") if images else (),
        images_KBYX=pixels if images else None,
    )


def test_rows_say_what_the_figure_shows() -> None:
    first, *_, worst, flagged = make_shown_rows(make_shown())
    assert (first.panel, first.kind, first.object_id, first.position) == ("a", "best", "a1", "180.00000, −1.00000")
    assert (first.z_spec, first.z_phot, first.difference) == ("0.1000", ["0.1000", "0.1100"], "+0.0000")
    assert worst.difference == "+0.4615"  # 0.6 / 1.3
    assert (flagged.z_phot, flagged.difference) == (["–", "–"], "–")
    assert set(flagged.flags.split(", ")) == {"ESTIMATE_FAILED", "OFF_IMAGE"}


def test_a_galaxy_has_its_image_beside_its_p_z_and_both_redshifts() -> None:
    figure = plot_galaxies(make_shown(), ["one", "two", "three", "four"])
    image, panel = figure.axes[:2]
    (drawn,) = image.images
    assert np.asarray(drawn.get_array()).shape == (12, 12, 3)
    curve, *verticals = [line for line in panel.lines if line.get_label().startswith("_")]
    peak = np.asarray(curve.get_xdata())[np.argmax(curve.get_ydata())]
    assert abs(peak - 0.1) < 0.005
    assert [line.get_xdata()[0] for line in verticals] == [0.1, 0.11, 0.1]  # mlp, knn and the spectrum
    low, high = panel.get_xlim()
    assert low < 0.1 < high
    assert figure.axes[6].texts[0].get_text() == "no image"


def test_without_images_or_p_z_the_rest_is_shown() -> None:
    bare = make_shown(images=False, with_pdf=False)
    figure = plot_galaxies(bare, ["one", "two", "three", "four"])
    assert not any(axes.images for axes in figure.axes)
    assert len([axes for axes in figure.axes if axes.lines]) == 4
    [plate] = draw_shown(bare, width=7.2)
    assert not plate.photograph
    assert "There are no images." in plate.caption
    [plate] = draw_shown(make_shown(), width=7.2)
    assert plate.photograph
    assert "i, r, g as red, green, blue, 7.2 arcsec wide" in plate.caption


def test_of_no_galaxy_there_is_no_figure() -> None:
    empty, nothing = make_shown(images=False), np.empty(0)
    none = replace(empty, kinds=[], object_id=[], ra_K=nothing, dec_K=nothing, z_spec_K=nothing)
    none = replace(none, flags_K=np.empty(0, np.int64), z_phot={"mlp": nothing}, quantiles={})
    assert list(draw_shown(none, width=7.2)) == []
    assert make_shown_rows(none) == []
