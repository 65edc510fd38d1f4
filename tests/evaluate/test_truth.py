"""Catalogues measured on a table of redshifts, without a training set: found by identifier or by position."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from from_magnitudes import make_columns
from tiny_catalogues import Sky, make_config, make_estimates, make_pdfs, make_sky, write_photoz

from cluster.command import main
from photoz.catalogue.hats import PRIMARY, finish_catalogue, list_partitions, read_partition, write_partition
from photoz.errors import CatalogueError, ConfigError, EvaluationError, PhotozError, TableError
from photoz.evaluate.evaluation import Accuracy, evaluate_catalogues
from photoz.evaluate.galaxies import Galaxies
from photoz.report import write_report
from photoz.report.figures import label_quantities
from photoz.schema import make_source_schema
from photoz.settings.config import Config

ARCSEC = 1 / 3600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a catalogue of many partitions, across right ascension 0, with its sources in g and r."""
    folder = tmp_path_factory.mktemp("truth")
    sky = get_sky()
    write_photoz(str(folder / "catalogue"), sky, make_estimates(sky, scatter=0.02), order=6)
    write_sources(folder / "sources", folder / "catalogue", sky)
    return folder


def get_sky() -> Sky:
    sky = make_sky(500, box=(-1.0, 1.0, -1.0, 1.0))
    return replace(sky, ra=sky.ra % 360)


def write_sources(sources: Path, catalogue: Path, sky: Sky) -> None:
    """Write the sources of a catalogue, in its partitions, with fluxes in g and r."""
    number = {name: row for row, name in enumerate(sky.object_id.tolist())}
    schema, rows = make_source_schema(("g", "r")), []
    for part in list_partitions(str(catalogue)):
        table = read_partition(str(catalogue), part)
        place = [number[name] for name in table["object_id"].to_pylist()]
        magnitudes_NF = np.stack([sky.mag + sky.colour, sky.mag], axis=1)[place]
        columns = {name: table[name] for name in table.column_names} | make_columns(("g", "r"), magnitudes_NF)
        columns["magerr_auto"] = np.full(len(table), 0.1)
        made = pa.table([pa.array(columns[f.name]).cast(f.type) for f in schema], schema=schema)
        rows.append((part, write_partition(str(sources / PRIMARY), part, made)[0]))
    finish_catalogue(str(sources), rows, info={})


def make_truth(sky: Sky, **columns: Any) -> pa.Table:
    return pa.table({"object_id": sky.object_id.tolist(), "z_spec": sky.z_spec, **columns})


def configure(folder: Path, rows: pa.Table, tmp_path: Path, **truth: Any) -> Config:
    pq.write_table(rows, tmp_path / "truth.parquet")
    settings = {"truth": {"table": str(tmp_path / "truth.parquet"), **truth}, "resamples": 5}
    return make_config(folder, evaluation=settings, survey={"name": "Ours", "bands": ["g", "r"], "image_bands": ["r"]})


def measure(folder: Path, rows: pa.Table, tmp_path: Path, **truth: Any) -> Accuracy:
    return evaluate_catalogues(configure(folder, rows, tmp_path, **truth))


def test_galaxies_are_found_by_their_identifiers_alone(folder: Path, tmp_path: Path) -> None:
    sky = get_sky()
    accuracy = measure(folder, make_truth(sky).take(pa.array(np.arange(500)[::-1])), tmp_path)
    galaxies, result = accuracy.galaxies, accuracy.results[0]
    assert galaxies.object_id.to_pylist() == sky.object_id[::-1].tolist()
    np.testing.assert_allclose(galaxies.mag_auto, sky.mag[::-1], rtol=1e-6)
    np.testing.assert_allclose(galaxies.colour, sky.colour[::-1], atol=1e-5)
    np.testing.assert_allclose(result.scan.z_phot, make_estimates(sky, scatter=0.02)[::-1], rtol=1e-6)
    assert (len(galaxies), galaxies.notes) == (500, ())
    assert result.bins["colour"]


def test_what_the_table_lacks_repeats_or_has_alone_is_told(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sky = get_sky()
    z_spec = sky.z_spec.copy()
    z_spec[:7] = np.nan
    alone = pa.table({"object_id": ["0" + str(sky.object_id[20]), "gone"], "z_spec": [0.1, 0.2]})
    table = pa.concat_tables([make_truth(sky).set_column(1, "z_spec", pa.array(z_spec)), alone])
    table = pa.concat_tables([table, table.slice(10, 3)])
    with caplog.at_level(logging.WARNING):
        accuracy = measure(folder, table, tmp_path)
    assert len(accuracy.galaxies) == 495
    assert accuracy.galaxies.repeated == 3
    assert accuracy.results[0].scan.found.sum() == 493
    assert accuracy.galaxies.notes == (
        "7 of 505 rows have no redshift",
        "3 rows repeat an identifier: the first one counts",
        "The catalogue lacks 2 of the 495 galaxies with a redshift",
    )
    assert "lacks 2 of the 495" in caplog.text


def offset(sky: Sky, arcsec: float) -> dict[str, Any]:
    return {"ra": sky.ra, "dec": sky.dec + arcsec * ARCSEC}


def test_galaxies_are_found_by_position_whatever_they_are_called(folder: Path, tmp_path: Path) -> None:
    """With three columns, none of them an identifier, over the edges of partitions and of right ascension."""
    sky = get_sky()
    by_id = measure(folder, make_truth(sky), tmp_path)
    pacsv.write_csv(make_truth(sky, **offset(sky, 0.6)).drop_columns(["object_id"]), tmp_path / "truth.csv")
    config = configure(folder, make_truth(sky), tmp_path, join="position")
    truth = {"table": str(tmp_path / "truth.csv"), "join": "position"}
    config = make_config(folder, evaluation={"truth": truth, "resamples": 5, "colour": config.evaluation.colour})
    by_position = evaluate_catalogues(config)
    assert by_position.galaxies.object_id.equals(by_id.galaxies.object_id)
    for name in ("mag_auto", "colour"):
        np.testing.assert_array_equal(getattr(by_position.galaxies, name), getattr(by_id.galaxies, name))
    assert by_position.galaxies.notes == ()
    assert len(by_position.results[0].scan.partitions) > 4


def test_positions_match_one_to_one_and_nearest_first(folder: Path, tmp_path: Path) -> None:
    sky = get_sky()
    # The second galaxy of each pair is nearer to the source, and the first beyond the radius of all others.
    pairs = {name: np.repeat(value[:3], 2) for name, value in offset(sky, 0).items()}
    pairs["dec"] = pairs["dec"] + np.tile([0.8, 0.1], 3) * ARCSEC
    table = pa.table({"z_spec": np.linspace(0.1, 0.6, 6), **pairs})
    far = pa.table({"z_spec": [0.3], "ra": [180.0], "dec": [40.0]})
    accuracy = measure(folder, pa.concat_tables([table, far]), tmp_path, join="position")
    found = accuracy.galaxies.object_id.to_pylist()
    assert found == [None, sky.object_id[0], None, sky.object_id[1], None, sky.object_id[2], None]
    assert accuracy.results[0].scan.found.tolist() == [False, True] * 3 + [False]
    assert accuracy.galaxies.notes[:2] == (
        "1 of 7 galaxies with a redshift have no row of the catalogue within 1 arcsec",
        "3 of 7 galaxies have rows of the catalogue within 1 arcsec that are nearer to others: they have none",
    )


def test_several_rows_within_the_radius_are_told(folder: Path, tmp_path: Path) -> None:
    sky = make_sky(40, seed=3)
    beside = replace(sky, dec=sky.dec + 0.5 * ARCSEC, object_id=np.char.add(sky.object_id, "b"))
    names = ("object_id", "ra", "dec", "z_spec", "mag", "colour")
    both = Sky(*(np.concatenate([getattr(sky, name), getattr(beside, name)]) for name in names))
    write_photoz(str(tmp_path / "catalogue"), both, np.full(80, 0.2))
    accuracy = measure(tmp_path, make_truth(sky, **offset(sky, 0.1)), tmp_path, join="position")
    assert accuracy.galaxies.object_id.to_pylist() == sky.object_id.tolist()
    assert accuracy.galaxies.notes[0] == (
        "40 of 40 galaxies have several rows of the catalogue within 1 arcsec: they have the nearest that is no other's"
    )


def test_a_catalogue_without_sources_and_magnitudes_is_measured_and_reported(tmp_path: Path) -> None:
    sky = make_sky(300)
    z_phot, pdf = make_pdfs(sky, width=0.02, claimed=0.02)
    write_photoz(str(tmp_path / "catalogue"), replace(sky, mag=np.full(300, np.nan)), z_phot, pdf=pdf)
    config = configure(tmp_path, make_truth(sky), tmp_path)
    accuracy = evaluate_catalogues(config)
    without = "the sources of the catalogue are not there: set locations.sources to them"
    assert accuracy.galaxies.notes == (
        "The catalogue has no total magnitude of them: there are no bins of magnitude",
        f"There are no bins of colour g - r: {without}",
    )
    result = accuracy.results[0]
    assert result.bins["colour"] == result.bins["mag_auto"] == []
    assert result.bins["z_spec"]
    assert result.calibration is not None
    assert [group.group for group in result.calibration.groups] == ["all"]
    page = Path(write_report(config, accuracy)).read_text()
    assert f"There are no bins of colour g - r: {without}." in page
    assert "redshifts in bins of redshift" in page
    assert "found in the catalogue by their identifiers" in page
    assert "Only the test split" not in page
    assert "no estimator was trained on" not in page
    summary = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert summary["notes"] == list(accuracy.galaxies.notes)
    assert summary["truth"] == config.evaluation.truth.table
    assert set(label_quantities(("g", "r"))) > {"mag_auto", "colour"}


def test_the_run_record_tells_where_the_sources_are(folder: Path, tmp_path: Path) -> None:
    sky = get_sky()
    write_photoz(str(tmp_path / "catalogue"), sky, np.full(500, 0.2))
    (tmp_path / "catalogue" / "run").mkdir()
    record = {"config": {"locations": {"sources": str(folder / "sources")}}}
    (tmp_path / "catalogue" / "run" / "run.json").write_text(json.dumps(record))
    np.testing.assert_allclose(measure(tmp_path, make_truth(sky), tmp_path).galaxies.colour, sky.colour, atol=1e-5)


def test_sources_without_the_bands_cost_the_colour_alone(folder: Path, tmp_path: Path) -> None:
    config = configure(folder, make_truth(get_sky()), tmp_path)
    settings = {"truth": {"table": config.evaluation.truth.table}, "colour": ["u", "r"], "resamples": 0}
    notes = evaluate_catalogues(make_config(folder, evaluation=settings)).galaxies.notes
    assert len(notes) == 1
    assert "There are no bins of colour u - r" in notes[0]
    assert "have no flux_u, fluxerr_u" in notes[0]


def test_a_null_is_no_galaxy() -> None:
    galaxies = Galaxies(pa.array(["a", None, "b"]), *[np.zeros(3)] * 3, repeated=0)
    assert galaxies.find(pa.chunked_array([["b", None, "c", "a"]])).to_pylist() == [2, None, None, 0]
    index, rows = galaxies.match(pa.chunked_array([["b", None, "b", "a"]]))
    assert (index.tolist(), rows.tolist()) == ([0, 2], [3, 0])


@pytest.mark.parametrize(
    ("change", "truth", "kind", "message"),
    [
        ({}, {"table": "gone.parquet"}, TableError, "there is no table"),
        ({}, {"survey": "kids"}, ConfigError, "no survey 'kids'"),
        ({"z_spec": None}, {}, ConfigError, "no spectroscopic redshift is there"),
        ({"object_id": None}, {}, ConfigError, r"lacks 1 of the columns.*object_id \(identifier"),
        ({}, {"join": "position"}, ConfigError, "no position is there: set survey.ra"),
        ({}, {"radius_arcsec": 0.0}, ConfigError, "radius_arcsec = 0.0 arcsec must be above 0 and at most 60"),
        ({}, {"radius_arcsec": 3600.0}, ConfigError, "at most 60"),
        ({}, {"join": "name"}, ConfigError, "join"),
        ({"z_spec": np.full(500, -9.0)}, {}, EvaluationError, "no row has a redshift.*500 of 500 rows have a redshift"),
        ({"object_id": [f"x{i}" for i in range(500)]}, {}, EvaluationError, r"holds none of the 500.*'x0'.*position"),
        (
            {"ra": np.full(500, 90.0), "dec": np.zeros(500)},
            {"join": "position"},
            EvaluationError,
            "no row of the catalogue .* lies within 1 arcsec of any of the 500",
        ),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    folder: Path,
    tmp_path: Path,
    change: dict[str, Any],
    truth: dict[str, Any],
    kind: type[PhotozError],
    message: str,
) -> None:
    columns: dict[str, Any] = {"object_id": get_sky().object_id.tolist(), "z_spec": get_sky().z_spec, **change}
    table = pa.table({name: values for name, values in columns.items() if values is not None})
    with pytest.raises(kind, match=message) as caught:
        measure(folder, table, tmp_path, **truth)
    assert "\n" not in str(caught.value)


def test_an_empty_table_and_no_catalogue_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="has no rows"):
        measure(folder, make_truth(get_sky()).slice(0, 0), tmp_path)
    with pytest.raises(CatalogueError, match="no finished catalogue"):
        measure(tmp_path, make_truth(get_sky()), tmp_path)


def test_the_commands_options_stand_for_settings(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--catalogue", "a/out/", "--truth", "t.fits", "--survey", "./s.toml", "--join", "position"]
    assert main(["evaluate", *options, "--report", "r", "--dry-run"]) == 0
    settings = json.loads(capsys.readouterr().out)
    assert settings["evaluation"]["catalogues"] == {}
    assert settings["evaluation"]["sample"] == ""
    truth = settings["evaluation"]["truth"]
    assert truth["table"].endswith("/t.fits")
    assert (truth["survey"], truth["join"], truth["radius_arcsec"]) == ("./s.toml", "position", 1.0)
    locations = settings["locations"]
    assert (locations["catalogue"][-6:], locations["report"][-2:], locations["training"]) == ("/a/out", "/r", "")
    assert main(["evaluate", "--catalogue", "out", "--dry-run"]) == 0
    settings = json.loads(capsys.readouterr().out)
    assert settings["locations"]["report"].endswith("/out_report")
    # The test split of the training set is wanted still.
    assert settings["locations"]["training"] != ""
