"""The page of a report, from what was measured."""

from pathlib import Path

import pytest
from made_accuracy import make_accuracy
from tiny_catalogues import make_config

from photoz.evaluate.settings import Evaluation
from photoz.metrics import Measurement
from photoz.report.page import describe_sample, render_page
from photoz.report.plates import Picture
from photoz.report.selection import SelectionRows
from photoz.report.template import encode_png, format_cell, format_maths
from photoz.training.settings import Crossmatch

PICTURE = Picture("redshifts", "Redshifts", "z_phot against z_spec", encode_png(b"png"), width=300, height=200)
ROWS = SelectionRows("mlp", 8, [("seeing in r [arcsec]", ["+0.1"] * 4)], "7.0 for 7 degrees", "depth", "", [])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = make_config(tmp_path_factory.mktemp("page"), storage={"file": {"auto_mkdir": True}})
    return render_page(config, make_accuracy("mlp", "<b>", with_pdf=True), [PICTURE], [ROWS])


def test_labels_are_escaped_and_symbols_have_subscripts(page: str) -> None:
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "z<sub>phot</sub> against z<sub>spec</sub>" in page


def test_page_shows_what_it_was_given(page: str) -> None:
    assert 'src="data:image/png;base64,cG5n" width="300" height="200"' in page
    assert "seeing in r [arcsec]" in page
    assert "χ² of the tiles’ mean Δz about their common mean: 7.0 for 7 degrees." in page
    assert "The same in all tiles: depth." in page
    assert "4 (0.40%)" in page  # rows with MASKED_PIXELS
    assert page.count(">before<") == page.count(">after<") == 2


def test_settings_are_shown_without_the_storage_options(page: str) -> None:
    assert "&#34;pixel_scale&#34;" in page
    assert "auto_mkdir" not in page


def test_run_records_are_shown_where_there_are_any(tmp_path: Path) -> None:
    from dataclasses import replace

    accuracy = make_accuracy("mlp")
    location = tmp_path / "catalogue"
    (location / "run").mkdir(parents=True)
    record = '{"started": "2026-01-02T03:04:05Z", "this_run": {"seconds": 12.3}, "estimator": "models/mlp"}'
    (location / "run" / "run.json").write_text(record)
    found = replace(accuracy, results=[replace(accuracy.results[0], location=str(location))])
    text = render_page(make_config(tmp_path), found, [], [])
    assert "2026-01-02T03:04:05Z, 12 s" in text
    assert "models/mlp" in text
    assert "Estimated" not in render_page(make_config(tmp_path), accuracy, [], [])


def test_the_sample_is_described_by_the_user_or_from_the_settings() -> None:
    crossmatch = Crossmatch(file="spectra.fits", radius_arcsec=2.0)
    assert describe_sample(Evaluation(sample="Ours."), "KiDS", crossmatch) == "Ours."
    text = describe_sample(Evaluation(), "KiDS", crossmatch)
    assert text.startswith("Galaxies of KiDS matched within 2 arcsec to redshifts in spectra.fits.")


def test_cells_break_before_the_error_alone() -> None:
    assert format_cell("smad", Measurement(0.0156, 0.0002)) == "0.01560 ±\u00a00.00020"
    assert str(format_maths("a & z_phot")) == "a &amp; z<sub>phot</sub>"


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (Measurement(-0.0100, 0.0010), "smaller"),
        (Measurement(0.0100, 0.0010), "larger"),
        (Measurement(0.0019, 0.0010), "no different within two sigma"),
        (Measurement(0.0100, float("nan")), "without an error, which alone would tell whether they differ"),
    ],
)
def test_a_difference_is_judged_by_its_error_and_without_one_not_at_all(
    tmp_path: Path, difference: Measurement, verdict: str
) -> None:
    """Of fewer than two bootstrap samples, or two galaxies, there is no error."""
    accuracy = make_accuracy("one", "two")
    accuracy.differences["two"]["smad"] = difference
    text = render_page(make_config(tmp_path), accuracy, [], [])
    assert f"({verdict})" in text
