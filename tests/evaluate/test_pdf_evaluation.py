"""The calibration of a catalogue's p(z), before and after, in the figures, the table and the page."""

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.stats import norm
from tiny_catalogues import make_config, make_sky, write_photoz, write_training_set

from photoz.errors import CatalogueError
from photoz.estimators import Pdfs
from photoz.evaluate.calibration import measure_calibration
from photoz.evaluate.evaluation import evaluate_catalogues
from photoz.pdf import Recalibration, make_coordinates
from photoz.plots import plot_calibration
from photoz.report import write_report
from photoz.report.figures import _draw_calibration
from photoz.training.set import read_split

BANDS = ("g", "r")
SHARE_OF_CLAIM = 1.6  # of the true scatter to that which the raw p(z) claims


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory):
    """A catalogue of an estimator whose raw p(z) was too narrow, recalibrated on a third of the galaxies."""
    folder = tmp_path_factory.mktemp("pdf-evaluation")
    sky = make_sky(4500)
    sky = replace(sky, z_spec=sky.z_spec + 0.15)  # no p(z) that is cut at 0: the closed forms hold
    rng = np.random.default_rng(5)
    width = 0.02 * (1 + sky.z_spec)
    z_phot = sky.z_spec + SHARE_OF_CLAIM * width * rng.standard_normal(len(width))
    coordinates = make_coordinates(np.stack([sky.mag + sky.colour, sky.mag], axis=1), BANDS)
    split = np.array(["calib", "test", "test"] * 1500)
    calib = split == "calib"
    pit = norm.cdf(sky.z_spec, z_phot, width)
    recalibration = Recalibration.fit(pit[calib], coordinates[calib])
    levels = recalibration.map_levels(coordinates)
    z_phot[3::500] = np.nan
    quantiles = np.maximum(norm.ppf(levels, z_phot[:, None], width[:, None]), 0).astype(np.float32)
    nothing = np.full(len(width), np.nan, np.float32)
    write_photoz(str(folder / "catalogue"), sky, z_phot, pdf=Pdfs(quantiles, nothing, nothing), algorithm="mlp")
    write_photoz(str(folder / "plain"), sky, z_phot)
    write_training_set(str(folder / "training"), sky, split)
    write_estimator(folder / "models" / "mlp", recalibration)
    (folder / "catalogue" / "run").mkdir()
    record = {"estimator": str(folder / "models" / "mlp")}
    (folder / "catalogue" / "run" / "run.json").write_text(json.dumps(record))
    catalogues = {"mlp": str(folder / "catalogue"), "points": str(folder / "plain")}
    config = make_config(folder, evaluation={"catalogues": catalogues, "resamples": 5})
    return folder, config


def write_estimator(folder: Path, recalibration: Recalibration) -> None:
    """Write as much of an estimator's folder as says how it recalibrates."""
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"estimator": "mlp", "bands": BANDS}))
    save_file(recalibration.to_arrays(), folder / "arrays.safetensors")


@pytest.fixture(scope="module")
def evaluation(survey):
    return evaluate_catalogues(survey[1])


def test_recalibration_is_seen_in_every_group(evaluation) -> None:
    calibration = evaluation.results[0].calibration
    assert calibration.algorithm == "mlp"
    after = {group.group: group for group in calibration.groups if group.recalibrated}
    before = {group.group: group for group in calibration.groups if not group.recalibrated}
    assert list(after) == list(before) == ["all", "faintest fifth", "reddest fifth"]
    assert after["all"].count == before["all"].count == 3000 - np.isnan(evaluation.results[0].scan.z_phot).sum()
    for name, found in after.items():
        noise = 1.5 / np.sqrt(found.count) + 0.02
        assert found.ks < noise
        assert found.coverage_68 == pytest.approx(0.68, abs=noise)
        assert found.coverage_95 == pytest.approx(0.95, abs=noise)
        # A third of the raw p(z)'s 68 % interval is missing: norm.cdf(1 / 1.6) - norm.cdf(-1 / 1.6) = 0.468.
        assert before[name].coverage_68 == pytest.approx(0.468, abs=noise)
        assert before[name].ks > 3 * found.ks or before[name].ks > 0.08
        assert before[name].crps > found.crps
        assert before[name].cde_loss > found.cde_loss


def test_a_catalogue_without_densities_has_no_calibration(evaluation) -> None:
    assert evaluation.results[1].calibration is None


def test_without_the_estimators_folder_there_is_no_before(survey, evaluation) -> None:
    folder, config = survey
    file = folder / "catalogue" / "run" / "run.json"
    kept = file.read_text()
    try:
        for text in ("{}", json.dumps({"estimator": str(folder / "nowhere")})):
            file.write_text(text)
            rows = partial(read_split, config.locations.training, "test")
            calibration = measure_calibration(str(folder / "catalogue"), evaluation.galaxies, rows)
            assert not calibration.compares
            assert all(group.recalibrated for group in calibration.groups)
    finally:
        file.write_text(kept)


def test_without_the_sources_there_is_no_before(survey, evaluation) -> None:
    def read_nothing(columns):
        raise CatalogueError("they are not there")

    calibration = measure_calibration(str(survey[0] / "catalogue"), evaluation.galaxies, read_nothing)
    assert not calibration.compares
    assert [group.recalibrated for group in calibration.groups] == [True] * 3


def test_report_shows_calibration_once_for_the_catalogue_that_has_it(
    survey, evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = survey
    # The other figures take a minute and are tested elsewhere.
    monkeypatch.setattr("photoz.report.writer.draw_plates", lambda shown, *_: _draw_calibration(shown))
    one = replace(evaluation, results=evaluation.results[:1], differences={})
    page = Path(write_report(config, one)).read_text(encoding="utf-8")
    assert page.count("Does p(z) come true?") == 1
    assert page.count('id="calibration"') == 1
    assert (folder / "report" / "figures" / "calibration.png").stat().st_size > 10_000
    rows = list(csv.DictReader((folder / "report" / "metrics.csv").read_text().splitlines()))
    found = {row["quantity"]: row for row in rows if row["quantity"].startswith("p(z)")}
    assert len(found) == 6
    group = next(group for group in evaluation.results[0].calibration.groups if group.recalibrated)
    assert float(found["p(z), all"]["pit_ks"]) == group.ks
    assert float(found["p(z), all"]["coverage_95"]) == group.coverage_95
    assert found["p(z), all"]["smad"] == ""


def test_plot_of_nothing_says_so() -> None:
    none = np.full(10, np.nan)
    texts = [text.get_text() for axes in plot_calibration(none, none).axes for text in axes.texts]
    assert texts == ["no galaxies", "no galaxies"]
