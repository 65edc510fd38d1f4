"""The page of an overview and its JSON, from what was summed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_overview import make_overview, make_rows
from tiny_catalogues import make_config

from photoz.catalogue.records import PastRun
from photoz.overview.overview import Model, Overview
from photoz.overview.partition import Plan
from photoz.overview.sums import CatalogueSums, sum_rows
from photoz.report.overview import format_overview, write_overview
from photoz.report.overview_figures import compute_sky_share
from photoz.report.overview_tables import (
    compute_mean,
    find_redshift_quantiles,
    make_flag_rows,
    make_magnitude_rows,
    make_range_rows,
)


def write(folder: Path, overview: Overview) -> tuple[str, dict]:
    page = Path(write_overview(make_config(folder), overview))
    assert page == folder / "report" / "overview" / "index.html"
    return page.read_text(), json.loads((page.parent / "overview.json").read_text())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
    return write(tmp_path_factory.mktemp("overview"), make_overview())


def test_the_page_has_every_part(written: tuple[str, dict]) -> None:
    page, _ = written
    for part in ("training", "photometry", "nz", "examples", "flags", "sky", "run"):
        assert f'<h2 id="{part}">' in page
    assert page.count("<img ") == 7
    assert "500 galaxies of the source catalogue against 2,000 training galaxies" in page
    assert '<th scope="row">Seconds</th><td class="left wrap">12</td>' in page
    assert "farther from the training sample than all but few" in page
    assert "models/mlp" in page


def test_the_page_asks_nothing_of_the_network(written: tuple[str, dict]) -> None:
    page, _ = written
    assert "http" not in page.replace("data:image/png;base64,", "")
    assert page.count('src="data:image/png;base64,') == page.count("src=")
    assert 'name="viewport"' in page


def test_the_json_says_what_the_page_does(written: tuple[str, dict]) -> None:
    _, summary = written
    sums = make_overview().sums
    assert (summary["rows"], summary["estimated"]) == (2000, sums.estimated)
    assert summary["training"]["share_outside"] == sums.outside / sums.measured
    assert summary["photometry"]["quantities"]["g"]["above"] > 450
    assert sum(summary["by_z_phot"]["rows"]) == sums.estimated
    assert len(summary["nz"]["stacked_shares"]) == len(summary["by_z_phot"]["edges"]) - 1
    assert summary["nz"]["mean_stacked"] == pytest.approx(0.4, abs=0.03)
    assert len(summary["examples"]) == 9


def test_a_model_without_a_summary_is_said_to_have_none(tmp_path: Path) -> None:
    overview = make_overview(model=Model("m", {}, None, "x"), counts=None, problem="the model keeps <none>")
    page, summary = write(tmp_path, overview)
    assert "Not shown: the model keeps &lt;none&gt;." in page
    assert 'alt="Colours' not in page
    assert summary["photometry"]["quantities"] == {}
    assert "magnitudes and colours: the model keeps <none>" in format_overview(overview)


def test_a_catalogue_without_pdf_and_distance_has_the_rest(tmp_path: Path) -> None:
    rows = replace(make_rows(300, with_pdf=False), distance_N=make_rows(300).distance_N * float("nan"))
    plain = replace(rows, flags_N=rows.flags_N * 0)
    overview = make_overview(sum_rows(plain), plan=Plan("somewhere"))
    page, summary = write(tmp_path, overview)
    assert "The catalogue has no p(z)." in page
    assert "Nothing is known of how galaxies lie against the training sample" in page
    assert "There is no p(z) to stack." in page
    assert "No row carries a flag." in page
    assert summary["training"]["share_outside"] is None
    assert summary["nz"]["mean_stacked"] is None


def test_an_empty_catalogue_has_a_page(tmp_path: Path) -> None:
    overview = make_overview(CatalogueSums(), plan=Plan("nowhere"), counts=None, problem="no rows", run=PastRun())
    page, summary = write(tmp_path, overview)
    assert summary["completeness"] is None
    assert "There is no record of a run beside the catalogue." in page
    assert "no galaxy has a total magnitude" in page


def test_tables_are_those_counted_by_hand() -> None:
    sums = CatalogueSums()
    # Four bins of 0.25 mag from 20 on, of L = rows, estimated, measured, outside.
    sums.by_magnitude_LM[:, 40:44] = [[10], [8], [4], [1]]
    (row,) = make_magnitude_rows(sums)
    assert (row.limits, row.galaxies) == ("20 to 21", 40)
    assert (row.estimated, row.outside) == ("80.00\u00a0%", "25.00\u00a0%")
    sums.counts_L[0] = 200
    sums.flags_F[-1] = 5
    (flag,) = make_flag_rows(sums)
    assert (flag.name, flag.count, flag.share) == ("OUTSIDE_TRAINING", 5, "2.50\u00a0%")
    assert flag.meaning
    # The only magnitude bins without any distance have no share outside.
    sums.by_magnitude_LM[2:] = 0
    assert make_magnitude_rows(sums)[0].outside == "–"


def test_quantiles_and_mean_of_redshift_are_those_of_the_cells() -> None:
    sums = CatalogueSums()
    sums.by_redshift_LZ[0, [10, 20, 30]] = (1, 2, 1)
    assert find_redshift_quantiles(sums, (0.1, 0.5, 0.9)).tolist() == pytest.approx([0.105, 0.205, 0.305])
    assert compute_mean(sums.by_redshift_LZ[0]) == pytest.approx(0.205)
    assert compute_mean(CatalogueSums().shares_Z) is None


def test_the_share_on_the_sky_is_of_those_measured() -> None:
    sums = sum_rows(make_rows(3000))
    measured, share_C = compute_sky_share(sums)
    assert (share_C * measured.counts).sum() == pytest.approx(sums.outside)
    assert measured.counts.mean() >= 50


def test_ranges_have_a_row_for_each_magnitude_and_colour() -> None:
    rows = make_range_rows(make_overview())
    assert [row.name for row in rows] == ["g", "r", "i", "g - r", "r - i"]
    assert rows[3].above > 0.6 * rows[3].measured
    assert rows[4].below + rows[4].above < 0.1 * rows[4].measured
