"""The pages in a real browser, on a telephone and on a wide screen, on light ground and on dark."""

from pathlib import Path

import numpy as np
import pytest
from browser import find_browser, probe_page
from made_overview import make_overview
from tiny_catalogues import make_config, make_pdfs, make_sky, write_photoz, write_training_set

from photoz.catalogue.hats import Partition
from photoz.evaluate.evaluation import evaluate_catalogues
from photoz.report import write_report
from photoz.report.live import Live, render_live
from photoz.report.overview import write_overview

WIDTHS = (390, 1400)
NOTHING_WRONG = {"overflow": [], "missing": [], "unlabelled": [], "faint": []}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report of two catalogues with p(z), the overview of one, and the page of a run under way."""
    find_browser()
    folder = tmp_path_factory.mktemp("browser")
    sky = make_sky(1500)
    for name, width in (("combined", 0.02), ("photometry", 0.03)):
        z_phot, pdf = make_pdfs(sky, width=width, claimed=width)
        write_photoz(str(folder / name), sky, z_phot, pdf=pdf, algorithm="mlp")
    write_training_set(str(folder / "training"), sky, np.array(["train", "test"] * 750))
    catalogues = {name: str(folder / name) for name in ("combined", "photometry")}
    config = make_config(folder, evaluation={"catalogues": catalogues, "resamples": 10})
    (folder / "live.html").write_text(render_live(make_live()), encoding="utf-8")
    return {
        "live": folder / "live.html",
        "report": Path(write_report(config, evaluate_catalogues(config))),
        "overview": Path(write_overview(config, make_overview())),
    }


def make_live() -> Live:
    """A run with long names, and every kind of thing set aside."""
    partitions = [Partition(4, pixel) for pixel in range(2000)]
    error = "no file s3://bucket/a_long_folder/with_names/KiDS_DR4.0_180.0_-0.5_r_sci.fits.fz was found"
    problems = [{"subject": f"KIDS_180.{n}_-0.5", "stage": "read", "rows": n, "error": error} for n in range(30)]
    facts = [("Estimator", "hybrid"), ("Speed", "12,345 galaxies/s since the start, 3 h 20 min")]
    return Live(
        "the_whole_of_kids_dr4_with_nine_bands_and_a_name_that_never_ends",
        "stopped by an error, which its log tells",
        partitions,
        partitions[:700],
        facts=facts,
        problems=problems,
    )


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report", "overview", "live"])
def test_a_page_fits_shows_its_pictures_and_names_its_tables(
    pages: dict[str, Path], tmp_path: Path, name: str, width: int, dark: bool
) -> None:
    assert pages[name].stat().st_size < 5e6
    found = probe_page(pages[name], tmp_path, width=width, dark=dark)
    assert found["width"] == width
    assert found["ground"] == ("rgb(20, 24, 28)" if dark else "rgb(255, 255, 255)")
    assert {key: found[key] for key in NOTHING_WRONG} == NOTHING_WRONG


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<!DOCTYPE html><html><body><p style='width: 900px'>wide</p><p style='color: #ddd'>faint</p>"
        "<img src='nowhere.png' alt='lost'><table><tr><th scope='col'></th></tr></table></body></html>"
    )
    found = probe_page(page, tmp_path, width=390)
    assert [bool(found[key]) for key in NOTHING_WRONG] == [True] * 4
