"""The comparison job on plain catalogues, good and bad."""

import csv
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from photoz.comparison import Comparison, compare_estimators, read_plain_catalogue, write_comparison
from photoz.comparison.page import format_csv
from photoz.comparison.run import choose_estimators
from photoz.errors import CatalogueError, ConfigError, TrainingError
from photoz.estimators import load_estimator
from photoz.schema import Flag
from photoz.settings import convert_settings

BANDS = ("g", "r", "i")
JOB = Path(__file__).resolve().parents[2] / "jobs" / "compare_estimators.py"
COLUMNS = (
    "estimator,n_train,n_test,mean_dz,median_dz,std_dz,smad,out_005,out_015,r2,mse,mae,crps,cde_loss,train_s,"
    "estimate_s_per_million"
)


def make_table(count: int = 300, *, split: bool = True) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    z = rng.uniform(0.02, 0.4, count)
    r = rng.uniform(16.0, 20.0, count)
    table: dict[str, np.ndarray] = {"object_id": np.arange(count), "z_spec": z}
    for band, slope in zip(BANDS, (2.5, 0.0, -1.0), strict=True):
        table[f"mag_{band}"] = r + slope * z + rng.normal(0, 0.02, count)
        table[f"magerr_{band}"] = np.full(count, 0.02)
    if split:
        table["split"] = np.where(np.arange(count) % 3 == 0, "test", "train")
    return table


def write(folder: Path, table: dict[str, np.ndarray], kind: str = "parquet") -> str:
    location = f"{folder}/galaxies.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table(table), location)
    elif kind == "csv":
        pacsv.write_csv(pa.table(table), location)
    else:
        Table(table).write(location)
    return location


def make_settings(location: str, output: str, **settings: object) -> Comparison:
    data = {"catalogue": location, "bands": list(BANDS)}
    fit = {"mlp": {"members": 2, "hidden": [24], "least_steps": 100, "epochs": 2}}
    return convert_settings(Comparison, {"data": data, "output": output, "resamples": 10, "fit": fit, **settings})


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    table = make_table()
    for band in BANDS:
        table[f"mag_{band}"][3] = np.nan  # a test galaxy that nothing can estimate
    config = make_settings(write(folder, table), f"{folder}/out", estimators=["knn", "mlp"], without_bands=True)
    write_comparison(config, compare_estimators(config))
    return folder / "out"


def test_metrics_have_the_promised_columns(output):
    text = (output / "metrics.csv").read_text()
    assert text.splitlines()[0] == COLUMNS
    knn, mlp = csv.DictReader(text.splitlines())
    assert (knn["estimator"], knn["n_train"], knn["n_test"]) == ("knn", "200", "100")
    assert (knn["crps"], knn["cde_loss"]) == ("", "")
    assert float(knn["smad"]) < 0.05
    assert float(mlp["crps"]) > 0 > float(mlp["cde_loss"])


def test_estimates_hold_every_test_galaxy_and_densities(output):
    table = pq.read_table(output / "estimates" / "mlp.parquet")
    assert table.column_names == ["object_id", "z_spec", "z_phot", "flags", "pdf"]
    assert table["object_id"].to_pylist() == list(range(0, 300, 3))
    lost = np.flatnonzero(table["flags"].to_numpy() & Flag.ESTIMATE_FAILED)
    assert lost.tolist() == [1]
    assert np.isnan(table["z_phot"].to_numpy()[1])
    assert len(table["pdf"][0]) == 301
    assert b"z_grid" in table.schema.metadata
    assert "pdf" not in pq.read_schema(output / "estimates" / "knn.parquet").names


def test_page_bins_and_models_are_written(output):
    page = (output / "index.html").read_text()
    assert "knn" in page
    assert "With each band removed" in page
    assert page.count("data:image/png") >= 2
    rows = list(csv.DictReader((output / "bins.csv").read_text().splitlines()))
    assert {row["quantity"] for row in rows} == {"r", "z_spec", "g - r"}
    removed = list(csv.DictReader((output / "without_band.csv").read_text().splitlines()))
    assert [row["removed"] for row in removed] == ["", *BANDS] * 2
    assert load_estimator(f"{output}/models/mlp").bands == BANDS


def test_command_line_as_the_readme_has_it(tmp_path):
    location = write(tmp_path, make_table())
    sets = [f"data.catalogue={location}", "data.bands=g,r,i", "estimators=knn", f"output={tmp_path}/out"]
    command = [sys.executable, str(JOB), *(part for value in sets for part in ("--set", value))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=JOB.parents[1])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "metrics.csv").read_text().startswith(COLUMNS)
    failed = subprocess.run([*command[:-1], "output="], capture_output=True, text=True, check=False, cwd=JOB.parents[1])
    assert failed.returncode == 2
    assert "output is not set" in failed.stderr


@pytest.mark.parametrize("kind", ["parquet", "csv", "fits"])
def test_file_formats_give_the_same_galaxies(kind, tmp_path):
    table = make_table()
    table["mag_g"][5] = np.nan
    found = read_plain_catalogue(write(tmp_path, table, kind), BANDS)
    np.testing.assert_allclose(found.sample.magnitudes.magnitudes_NF[:, 1], table["mag_r"])
    assert np.isnan(found.sample.fluxes_NF[5, 0])
    assert found.train_N.sum() == 200
    assert found.object_id.to_pylist() == list(range(300))


def test_catalogue_without_split_is_split_by_the_seed(tmp_path):
    location = write(tmp_path, make_table(split=False))
    first, again, other = (read_plain_catalogue(location, BANDS, seed=seed).train_N for seed in (1, 1, 2))
    assert first.sum() == 210
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_rows_without_redshift_are_left_out_and_sentinels_are_missing(tmp_path):
    table = make_table()
    table["z_spec"][:10] = np.nan
    table["mag_i"][20:23], table["magerr_i"][20:23] = [99.0, -99.0, 99.0], [99.0, -99.0, 26.4]
    found = read_plain_catalogue(write(tmp_path, table), BANDS)
    assert len(found.sample) == 290
    np.testing.assert_array_equal(found.sample.fluxes_NF[10:13, 2], [0, np.nan, 0])
    np.testing.assert_allclose(found.sample.errors_NF[10:13, 2], [np.nan, np.nan, 100.0], rtol=1e-3)
    assert found.sample.magnitudes.not_detected_NF.sum() == 2


def test_what_is_no_measurement_is_missing_and_counted(tmp_path, caplog):
    table = make_table()
    table["mag_i"][20:23], table["magerr_g"][30:32] = [4.0, -3.4e38, np.nan], [0.0, -5.0]
    found = read_plain_catalogue(write(tmp_path, table), BANDS)
    assert "no measurement, taken for missing, rows by band: g 2, i 2" in caplog.text
    assert np.isnan(found.sample.fluxes_NF[20:23, 2]).all()
    assert np.isnan(found.sample.errors_NF[30:32, 0]).all()
    assert np.isfinite(found.sample.fluxes_NF[30:32, 0]).all()


def test_fluxes_are_read_where_there_are_some_and_negative_ones_are_data(tmp_path, caplog):
    table = make_table()
    expected = read_plain_catalogue(write(tmp_path, table), BANDS).sample
    table["flux_g"], table["fluxerr_g"] = expected.fluxes_NF[:, 0].copy(), expected.errors_NF[:, 0].copy()
    table["mag_g"][:] = np.nan
    table["flux_g"][20:22], table["fluxerr_g"][20:23] = [-3.5, 1e30], [2.0, 1.0, 0.0]
    found = read_plain_catalogue(write(tmp_path, table), BANDS).sample
    assert "rows by band: g 2" in caplog.text
    np.testing.assert_array_equal(found.fluxes_NF[20:22, 0], [-3.5, np.nan])
    np.testing.assert_array_equal(found.errors_NF[20:23, 0], [2.0, np.nan, np.nan])
    others = np.delete(np.arange(300), [20, 21])
    np.testing.assert_array_equal(found.fluxes_NF[others], expected.fluxes_NF[others])
    assert found.magnitudes.not_detected_NF[20].tolist() == [True, False, False]
    del table["fluxerr_g"]
    with pytest.raises(CatalogueError, match=r"lacks the columns \['fluxerr_g'\]"):
        read_plain_catalogue(write(tmp_path, table), BANDS)


def spoil(table: dict[str, np.ndarray], how: str) -> None:
    if how == "band":
        del table["mag_i"]
    elif how == "nan":
        table["mag_i"][:] = np.nan
    elif how == "twice":
        table["object_id"][1] = 0
    elif how == "redshift":
        table["z_spec"][0] = -1.0
    elif how == "split":
        table["split"][:] = "train"
    elif how == "text":
        table["mag_i"] = np.full(len(table["mag_i"]), "faint")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("band", r"lacks the columns \['mag_i'\]"),
        ("nan", "no galaxy was detected in i"),
        ("twice", "1 identifiers occur more than once"),
        ("redshift", "z_spec is -1.0"),
        ("split", "must hold both"),
        ("text", "not numbers"),
    ],
)
def test_bad_catalogues_are_refused(how, message, tmp_path):
    table = make_table()
    spoil(table, how)
    with pytest.raises(CatalogueError, match=message):
        read_plain_catalogue(write(tmp_path, table), BANDS)


@pytest.mark.parametrize(
    ("name", "message"), [("none.parquet", "no catalogue at"), ("notes.txt", "no line with the names")]
)
def test_missing_and_strange_files_are_refused(name, message, tmp_path):
    (tmp_path / "notes.txt").write_text("z = 0.1")
    with pytest.raises(CatalogueError, match=message):
        read_plain_catalogue(f"{tmp_path}/{name}", BANDS)


def test_damaged_file_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(CatalogueError, match="cannot be read"):
        read_plain_catalogue(f"{tmp_path}/x.parquet", BANDS)


def test_single_training_row_is_refused(tmp_path):
    table = make_table()
    table["split"] = np.where(np.arange(300) == 7, "train", "test")
    config = make_settings(write(tmp_path, table), f"{tmp_path}/out", estimators="knn")
    with pytest.raises(TrainingError, match="at least 20"):
        compare_estimators(config)


def test_estimators_are_chosen_by_name():
    def choose(estimators: object, **settings: object) -> list[str]:
        return choose_estimators(convert_settings(Comparison, {"estimators": estimators, **settings}))

    assert {"mlp", "knn", "gat", "template"} < set(choose("all"))
    assert "hybrid" not in choose("all")
    assert choose("knn,mlp") == ["knn", "mlp"]
    for name in ("hybrid", "magic"):
        with pytest.raises(ConfigError, match=name):
            choose([name])
    with pytest.raises(ConfigError, match="knnn"):
        choose("knn", fit={"knnn": {}})


@pytest.mark.parametrize("bands", ["", [], "g,g"])
def test_bands_must_be_named_once(bands, tmp_path):
    settings = {"data": {"catalogue": "x.parquet", "bands": bands}, "output": "x"}
    with pytest.raises(ConfigError, match=r"data\.bands"):
        compare_estimators(convert_settings(Comparison, settings))


def test_usage_sees_time_and_memory():
    # In a process of its own: one that has been told to keep memory takes what it had before, and does not grow.
    measure = """
import numpy as np
from photoz.comparison.run import measure_usage
held, usage = measure_usage(lambda: np.ones(30_000_000) + 1)
print(usage.seconds, usage.mib)
"""
    result = subprocess.run([sys.executable, "-c", measure], capture_output=True, text=True, check=True)
    seconds, mib = map(float, result.stdout.split())
    assert seconds > 0
    assert mib > 150 or np.isnan(mib)


def test_csv_leaves_what_does_not_apply_empty():
    assert format_csv([{"a": "x", "b": float("nan"), "c": 0.123456789}]) == "a,b,c\nx,,0.1234568\n"


def test_example_galaxies_are_a_plain_catalogue(tmp_path):
    pytest.importorskip("galsim", reason="photoz[demo] is not installed")
    from photoz.comparison.example import BANDS as SDSS
    from photoz.comparison.example import write_sdss_example

    location = f"{tmp_path}/sdss.parquet"
    assert write_sdss_example(location) > 9000
    found = read_plain_catalogue(location, SDSS)
    assert 0.05 < np.median(found.sample.z_N) < 0.2
    assert np.isfinite(found.sample.magnitudes.magnitudes_NF[:, :5]).mean() > 0.98


def test_any_table_is_compared_on_by_its_surveys_file(tmp_path):
    """Without naming bands, which are the survey's, and within z_max."""
    config = make_settings(write(tmp_path, make_table(split=False)), f"{tmp_path}/out", estimators=["knn"])
    data = msgspec.structs.replace(config.data, survey="plain", bands=(), z_max=0.2)
    outcome = compare_estimators(msgspec.structs.replace(config, data=data))
    assert outcome.test.bands == BANDS
    assert outcome.test.z_N.max() <= 0.2
    assert outcome.train_rows + len(outcome.test) == int((make_table()["z_spec"].astype(np.float32) <= 0.2).sum())
