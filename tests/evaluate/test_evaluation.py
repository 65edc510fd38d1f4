"""Evaluation: catalogues on disk joined with the test split, measured, and reported on one page."""

import csv
import json
import logging
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_catalogues import Sky, make_config, make_estimates, make_pdfs, make_sky, write_photoz, write_training_set

from photoz.errors import CatalogueError, ConfigError, EvaluationError, TrainingError
from photoz.evaluate.evaluation import evaluate_catalogues, find_estimator
from photoz.evaluate.galaxies import Galaxies, read_test_galaxies
from photoz.evaluate.scan import scan_catalogue
from photoz.metrics import STATISTICS, Measurement
from photoz.report import format_metrics, format_table, write_report
from photoz.report.numbers import format_measurement
from photoz.report.published import PUBLISHED
from photoz.report.tables import list_rows
from photoz.settings.config import Config

ROOT = Path(__file__).parents[2]


def take(sky: Sky, rows) -> Sky:
    return Sky(*(getattr(sky, name)[rows] for name in ("object_id", "ra", "dec", "z_spec", "mag", "colour")))


def read_galaxies(config: Config) -> Galaxies:
    return read_test_galaxies(
        config.locations.training, bands=config.survey.bands, colour=("g", "r"), crossmatch=config.crossmatch
    )


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    sky = make_sky(800)
    combined, photometry = make_estimates(sky, scatter=0.015), make_estimates(sky, scatter=0.022, seed=7)
    write_photoz(str(folder / "catalogue"), sky, combined)
    write_photoz(str(folder / "photometry"), sky, photometry)
    split = np.array(["train", "test", "valid", "test"] * 200)
    write_training_set(str(folder / "training"), sky, split)
    record = {"epochs": [{"epoch": i, "train_loss": 1 / i, "valid_loss": 1 / i, "smad": 0.1} for i in (1, 2, 3)]}
    (folder / "training" / "history-hybrid.json").write_text(json.dumps(record))
    (folder / "training" / "history-broken.json").write_text("{")
    catalogues = {"combined": str(folder / "catalogue"), "photometry <only>": str(folder / "photometry")}
    config = make_config(folder, evaluation={"catalogues": catalogues, "resamples": 20, "sample": "A drawn sample."})
    return folder, config, sky, combined, split == "test"


@pytest.fixture(scope="module")
def evaluation(survey):
    return evaluate_catalogues(survey[1])


@pytest.fixture(scope="module")
def page(survey, evaluation):
    return Path(write_report(survey[1], evaluation)).read_text(encoding="utf-8")


def test_catalogue_is_joined_with_the_test_split_alone(survey, evaluation):
    _, _, sky, z_phot, test = survey
    result = evaluation.results[0]
    assert evaluation.galaxies.object_id.to_pylist() == sky.object_id[test].tolist()
    np.testing.assert_allclose(result.scan.z_phot, z_phot[test], rtol=1e-6)
    assert result.metrics.rows == test.sum()
    assert result.metrics.count == np.isfinite(z_phot[test]).sum()


def test_whole_catalogue_is_counted(survey, evaluation):
    _, _, sky, z_phot, _ = survey
    scan = evaluation.results[0].scan
    assert scan.rows == scan.sky.counts.sum() == len(sky.ra)
    assert scan.estimated == np.isfinite(z_phot).sum() == scan.z_counts.sum()
    assert scan.flags["ESTIMATE_FAILED"] == np.isnan(z_phot).sum()
    assert scan.flags["MASKED_PIXELS"] == 16
    assert len(scan.partitions) > 1


def test_better_catalogue_is_found_better(evaluation):
    first, second = evaluation.results
    assert first.metrics["smad"].value < second.metrics["smad"].value
    difference = evaluation.differences["photometry <only>"]["smad"]
    assert difference.value < -2 * difference.error


@pytest.mark.slow
def test_halves_in_colour_are_halves_and_stand_on_the_page(evaluation, page):
    for result in evaluation.results:
        blue, red = result.bins["colour_half"]
        assert blue.metrics.rows == red.metrics.rows == len(evaluation.galaxies) / 2
        assert blue.high == red.low == np.median(evaluation.galaxies.colour)
    assert page.count("Blue half, g − r &lt; ") == page.count("Red half, g − r ≥ ") == 1


def test_missing_galaxies_count_against_completeness(survey, tmp_path, caplog):
    folder, _, sky, z_phot, test = survey
    kept = np.arange(len(sky.ra)) % 3 > 0
    write_photoz(str(tmp_path / "catalogue"), take(sky, kept), z_phot[kept])
    galaxies = read_galaxies(make_config(folder))
    scan = scan_catalogue(str(tmp_path / "catalogue"), galaxies)
    assert scan.found.sum() == (kept & test).sum()
    assert np.isnan(scan.z_phot[~scan.found]).all()


def test_repeated_ids_are_counted_and_the_first_row_is_used(survey, tmp_path, caplog):
    _, _, sky, z_phot, _ = survey
    rows = np.concatenate([np.arange(len(sky.ra)), [1, 1, 3]])
    write_photoz(str(tmp_path / "catalogue"), take(sky, rows), z_phot[rows])
    doubled = np.concatenate([np.arange(len(sky.ra)), [1]])
    write_training_set(str(tmp_path / "training"), take(sky, doubled), np.full(len(doubled), "test"))
    with caplog.at_level(logging.WARNING):
        galaxies = read_galaxies(make_config(tmp_path))
        scan = scan_catalogue(str(tmp_path / "catalogue"), galaxies)
    assert (galaxies.repeated, len(galaxies)) == (1, len(sky.ra))
    assert scan.repeated == 3
    assert "more than once" in caplog.text
    np.testing.assert_allclose(scan.z_phot, z_phot, rtol=1e-6)


def test_the_runs_own_catalogue_is_the_default(survey, tmp_path):
    folder, *_ = survey
    config = make_config(folder, evaluation={"resamples": 0})
    assert [(r.label, r.location) for r in evaluate_catalogues(config).results] == [
        ("catalogue", config.locations.catalogue)
    ]


def test_a_catalogue_of_an_unknown_run_is_called_by_its_p_z_and_never_by_the_settings(survey, tmp_path):
    _, _, sky, *_ = survey
    z_phot, pdf = make_pdfs(sky, width=0.02, claimed=0.02)
    write_photoz(str(tmp_path / "mine"), sky, z_phot, pdf=pdf, algorithm="bpz")
    assert find_estimator(str(tmp_path / "mine")) == "bpz"


def test_a_catalogue_is_called_by_the_estimator_that_made_it(survey, tmp_path):
    """Whatever the settings at hand say: those of a run may have been given on its command line."""
    folder, _, sky, z_phot, _ = survey
    write_photoz(str(tmp_path / "catalogue"), sky, z_phot)
    (tmp_path / "catalogue" / "run").mkdir()
    (tmp_path / "catalogue" / "run" / "run.json").write_text(json.dumps({"estimator": f"{folder}/models/knn"}))
    config = make_config(folder, evaluation={"resamples": 0})
    own = msgspec.structs.replace(config.locations, catalogue=str(tmp_path / "catalogue"))
    assert [r.label for r in evaluate_catalogues(msgspec.structs.replace(config, locations=own)).results] == ["knn"]
    # A model that `photoz fit` wrote lies in a folder of any name.
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text(json.dumps({"estimator": "mlp"}))
    (tmp_path / "catalogue" / "run" / "run.json").write_text(json.dumps({"estimator": f"{tmp_path}/model"}))
    assert find_estimator(str(tmp_path / "catalogue")) == "mlp"


def test_errors_name_what_is_missing_and_what_to_do(survey, tmp_path):
    folder, _, _sky, _z_phot, _ = survey
    with pytest.raises(TrainingError, match=r"training.*run jobs/train_dr4\.py"):
        evaluate_catalogues(make_config(tmp_path))
    missing = make_config(folder, evaluation={"catalogues": {"mine": str(tmp_path / "nowhere")}})
    with pytest.raises(CatalogueError, match="nowhere"):
        evaluate_catalogues(missing)
    with pytest.raises(ConfigError, match=r"evaluation\.colour has \['w'\]"):
        evaluate_catalogues(make_config(folder, evaluation={"colour": ["w", "r"]}))
    write_photoz(str(tmp_path / "other"), make_sky(40, seed=9), np.full(40, 0.2))
    other = make_config(folder, evaluation={"catalogues": {"mine": str(tmp_path / "other")}})
    with pytest.raises(EvaluationError, match=r"'mine'.*40 rows holds none of the 400 test galaxies.*estimate"):
        evaluate_catalogues(other)


def test_training_set_without_test_galaxies_is_an_error(survey, tmp_path):
    sky = survey[2]
    write_training_set(str(tmp_path / "training"), sky, np.full(len(sky.ra), "train"))
    with pytest.raises(TrainingError, match=r"no galaxy with a redshift in its test split.*crossmatch\.fractions"):
        evaluate_catalogues(make_config(tmp_path))


def test_damaged_training_set_is_an_error(survey, tmp_path):
    (tmp_path / "training" / "set").mkdir(parents=True)
    (tmp_path / "training" / "set" / "part-4-0.parquet").write_bytes(b"no parquet")
    with pytest.raises(TrainingError, match=r"cannot be read.*make it again"):
        evaluate_catalogues(make_config(tmp_path))


def test_catalogue_without_redshifts_is_an_error(survey, tmp_path):
    folder, _, sky, z_phot, _ = survey
    write_photoz(str(tmp_path / "sources"), sky, z_phot)
    for name in (tmp_path / "sources").rglob("Npix=*.parquet"):
        pq.write_table(pq.read_table(name, partitioning=None).drop_columns(["z_phot"]), name)
    config = make_config(folder, evaluation={"catalogues": {"mine": str(tmp_path / "sources")}})
    with pytest.raises(CatalogueError, match=r"no photo-z catalogue.*\['z_phot'\]"):
        evaluate_catalogues(config)


def test_all_redshifts_missing_is_reported_and_no_failure(survey, tmp_path):
    folder, _, sky, _, _ = survey
    write_photoz(str(tmp_path / "catalogue"), sky, np.full(len(sky.ra), np.nan))
    config = make_config(folder, evaluation={"catalogues": {"none": str(tmp_path / "catalogue")}, "resamples": 5})
    result = evaluate_catalogues(config)
    assert result.results[0].metrics.completeness == 0
    assert "–" in format_table(result)


def test_csv_and_json_hold_every_figure(survey, evaluation, page):
    folder, _config, *_ = survey
    rows = list(csv.DictReader((folder / "report" / "metrics.csv").read_text().splitlines()))
    assert len(rows) == len(list_rows(evaluation))
    assert {row["quantity"] for row in rows} == {"all", "mag_auto", "z_spec", "z_phot", "colour", "colour_half"}
    assert float(rows[0]["smad"]) == evaluation.results[0].metrics["smad"].value
    assert "nan" not in format_metrics(evaluation)
    summary = json.loads((folder / "report" / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert summary["test_galaxies"] == 400
    assert set(summary["catalogues"][0]["metrics"]) == set(STATISTICS)
    for quantity in ("mag_auto", "z_spec", "colour"):
        counts = [int(r["rows"]) for r in rows if (r["catalogue"], r["quantity"]) == ("combined", quantity)]
        assert sum(counts) == 400


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)
        self.sources += [values[key] for key in ("src", "srcset", "data") if key in values]
        if "href" in values:
            assert tag == "a"
            self.links.append(values["href"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_else(page):
    parser = _Links()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.sources) >= 10
    assert all(source.startswith("data:image/png;base64,") for source in parser.sources)
    assert set(parser.links) == {row.url for row in PUBLISHED}
    assert "@import" not in page
    assert "url(" not in page
    assert "<script" not in page


def test_page_says_what_was_measured(page, evaluation):
    assert "A drawn sample." in page
    assert "photometry &lt;only&gt;" in page
    assert "Published accuracy, of other samples" in page
    assert "MASKED_PIXELS" in page
    assert "Loss and SMAD after each epoch" in page
    smad = format_measurement("smad", evaluation.results[0].metrics["smad"])
    assert smad.replace("± ", "±\u00a0") in page


@pytest.mark.slow
def test_page_without_a_stated_sample_says_so(survey, tmp_path):
    folder, *_ = survey
    config = make_config(folder, evaluation={"resamples": 0, "published": False, "vector_figures": True})
    report = str(tmp_path / "report")
    config = msgspec.structs.replace(config, locations=msgspec.structs.replace(config.locations, report=report))
    text = Path(write_report(config, evaluate_catalogues(config))).read_text(encoding="utf-8")
    assert "real or simulated is not stated" in text
    assert "Published accuracy" not in text
    assert (Path(report) / "figures" / "redshifts.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("name", "measurement", "text"),
    [
        ("smad", (0.0156, 0.00021), "0.01560 ± 0.00021"),
        ("bias_mean", (-0.00012, 0.0002), "−0.00012 ± 0.00020"),
        ("outlier_fraction_005", (0.0, 0.0), "0.00 %"),
        ("r2", (0.9, float("nan")), "0.9000"),
        ("mse", (float("nan"), float("nan")), "–"),
    ],
)
def test_figures_are_written_with_two_digits_of_their_error(name, measurement, text):
    assert format_measurement(name, Measurement(*measurement)) == text


@pytest.mark.slow
def test_job_prints_table_and_locations(survey):
    folder, _config, *_ = survey
    settings = "".join(f'{key} = "{folder / key}"\n' for key in ("survey", "tiles", "sources", "training", "models"))
    settings += f'catalogue = "{folder / "catalogue"}"\nreport = "{folder / "job"}"\n'
    (folder / "run.toml").write_text(f'[run]\nname = "job"\n[locations]\n{settings}[evaluation]\nresamples = 5\n')
    command = [sys.executable, "jobs/evaluate_dr4.py", "--config", str(folder / "run.toml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "SMAD(dz)" in done.stdout
    assert f"catalogue: {folder / 'catalogue'}" in done.stdout
    assert done.stdout.rstrip().endswith(f"report: {folder / 'job' / 'index.html'}")
    broken = subprocess.run([*command, "--set", "evaluation.colour=x,r"], cwd=ROOT, capture_output=True, text=True)
    assert broken.returncode == 2
    assert "evaluation.colour" in broken.stderr
