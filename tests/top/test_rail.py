"""photoz within RAIL: its informer and estimator, alone and in a pipeline, on RAIL's own example (`make test-rail`)."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photoz.errors import EstimatorError
from photoz.estimators import Estimator, Inputs
from photoz.pdf import compute_pdfs
from photoz.schema import LEVELS, Flag

if importlib.util.find_spec("rail") is None or importlib.util.find_spec("rail.core") is None:
    pytest.skip("pz-rail-base is not installed: `make test-rail` has an environment with it", allow_module_level=True)

import qp
import tables_io
import yaml
from rail.core.stage import RailPipeline
from rail.utils.path_utils import RAILDIR

from photoz.rail import PhotozEstimator, PhotozInformer, name_bands, read_photometry, unpack_estimator

pytestmark = pytest.mark.slow

EXAMPLES = Path(RAILDIR, "rail", "examples_data", "testdata")
FIT = {"members": 2, "most_steps": 60, "least_steps": 40}
GRID = np.linspace(0.0, 3.0, 301)
BANDS = [f"mag_{band}_lsst" for band in "ugrizy"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rail")


@pytest.fixture(scope="module")
def table() -> dict[str, np.ndarray]:
    """Some of RAIL's validation sample, a few of them not detected in u."""
    return read_some("test_dc2_validation_9816.hdf5", 600)


def read_some(name: str, count: int) -> dict[str, np.ndarray]:
    """Read every so many galaxies of an example: they are sorted by redshift."""
    rows = tables_io.read(str(EXAMPLES / name))["photometry"]
    return {name: values[:: len(values) // count][:count].copy() for name, values in rows.items()}


@pytest.fixture(scope="module")
def training(folder: Path) -> Path:
    tables_io.write({"photometry": read_some("test_dc2_training_9816.hdf5", 1500)}, str(folder / "training"), "hdf5")
    return folder / "training.hdf5"


@pytest.fixture(scope="module")
def model_file(folder: Path, training: Path) -> Path:
    informer = PhotozInformer.make_stage(name="inform", model=str(folder / "model.pkl"), fit=FIT)
    informer.inform(tables_io.read(str(training)))
    return folder / "model.pkl"


@pytest.fixture(scope="module")
def estimator(model_file: Path) -> Estimator:
    from rail.core.model import Model

    return unpack_estimator(Model.read(str(model_file)).data)


def estimate_alone(estimator: Estimator, table: dict[str, np.ndarray]) -> Any:
    """What photoz itself says of the rows."""
    stage = PhotozEstimator.make_stage(name="config")
    fluxes_NF, errors_NF, flags_N = read_photometry(table, stage.config)
    return estimator.estimate(Inputs(fluxes_NF, errors_NF, None, flags_N))


def run_stage(folder: Path, model_file: Path, table: dict[str, np.ndarray], **config: Any) -> qp.Ensemble:
    stage = PhotozEstimator.make_stage(name="run", model=str(model_file), **config)
    stage.config.output = str(folder / "out.hdf5")
    return stage.estimate({"photometry": table}).data


def normalise(pdf_NZ: np.ndarray) -> np.ndarray:
    return pdf_NZ / np.trapezoid(pdf_NZ, GRID, axis=1)[:, None]


def test_the_ensemble_is_ours(
    folder: Path, model_file: Path, estimator: Estimator, table: dict[str, np.ndarray], monkeypatch
) -> None:
    monkeypatch.chdir(folder)
    ensemble = run_stage(folder, model_file, table, calculated_point_estimates=["zmode", "zmedian"])
    ours = estimate_alone(estimator, table)
    assert (table["mag_u_lsst"] == 99).any()
    assert ensemble.npdf == len(table["id"])
    np.testing.assert_array_equal(ensemble.ancil["z_phot"], ours.z_phot_N)
    np.testing.assert_array_equal(ensemble.ancil["flags"], ours.flags_N)
    np.testing.assert_array_equal(ensemble.ancil["redshift"], table["redshift"])
    expected = normalise(compute_pdfs(ours.pdf.quantiles_NQ, GRID))
    np.testing.assert_allclose(ensemble.pdf(GRID), expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        np.squeeze(ensemble.ancil["zmedian"]), ours.pdf.quantiles_NQ[:, LEVELS.index(0.5)], atol=1e-6
    )
    # It has learnt, if not much in sixty steps.
    assert np.median(np.abs(ours.z_phot_N - table["redshift"])) < 0.1


def test_quantiles_are_ours(
    folder: Path, model_file: Path, estimator: Estimator, table: dict[str, np.ndarray], monkeypatch
) -> None:
    monkeypatch.chdir(folder)
    ensemble = run_stage(folder, model_file, table, pdf="quant")
    ours = estimate_alone(estimator, table).pdf.quantiles_NQ
    inside = ours[:, 0] > 0
    np.testing.assert_allclose(ensemble.ppf(np.asarray(LEVELS))[inside], ours[inside], atol=2e-4)


def test_a_galaxy_without_any_magnitude_has_an_even_density_and_a_flag(
    folder: Path, model_file: Path, table: dict[str, np.ndarray], monkeypatch
) -> None:
    monkeypatch.chdir(folder)
    rows = {name: values[:5].copy() for name, values in table.items()}
    for name in BANDS:
        rows[name][2] = np.nan if name == "mag_u_lsst" else -99.0
    ensemble = run_stage(folder, model_file, rows)
    assert np.isnan(ensemble.ancil["z_phot"]).tolist() == [False, False, True, False, False]
    assert ensemble.ancil["flags"][2] & Flag.ESTIMATE_FAILED
    np.testing.assert_allclose(
        ensemble.pdf(GRID)[2, 5:-5], 1 / 3.0, rtol=0.05
    )  # between the quantiles, as they interpolate
    np.testing.assert_allclose(np.trapezoid(ensemble.pdf(GRID), GRID, axis=1), 1.0, atol=0.02)


def test_the_stages_run_in_a_pipeline_from_file_to_file(
    folder: Path, training: Path, estimator: Estimator, table: dict[str, np.ndarray]
) -> None:
    """Written as YAML and run by ceci, each stage in a process of its own, in chunks."""
    place = folder / "pipeline"
    place.mkdir()
    rows = {name: values[:500] for name, values in table.items()}
    tables_io.write({"photometry": rows}, str(place / "galaxies"), "hdf5")
    pipe = RailPipeline()
    # In RAIL the input of either stage is called "input".
    pipe.inform = PhotozInformer.build(aliases={"input": "training"}, fit=FIT)
    trained = {"model": pipe.inform.io.model}
    pipe.estimate = PhotozEstimator.build(aliases={"input": "galaxies"}, connections=trained, chunk_size=200)
    inputs = {"training": str(training), "galaxies": str(place / "galaxies.hdf5")}
    pipe.initialize(inputs, {"output_dir": str(place), "log_dir": str(place), "resume": False}, None)
    pipe.save(str(place / "pipeline.yml"))
    written = yaml.safe_load((place / "pipeline.yml").read_text())
    assert {stage["classname"] for stage in written["stages"]} == {"PhotozInformer", "PhotozEstimator"}
    here = Path(sys.executable).parent
    path = {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}  # ceci starts its stages by "python3"
    done = subprocess.run(
        [here / "ceci", "pipeline.yml"], cwd=place, env=path, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    ensemble = qp.read(str(place / "output_estimate.hdf5"))
    ours = estimate_alone(estimator, rows)  # of the same fit: the same table, settings and seed
    expected = normalise(compute_pdfs(ours.pdf.quantiles_NQ, GRID))
    np.testing.assert_allclose(ensemble.pdf(GRID), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ensemble.ancil["redshift"], rows["redshift"])


def test_an_estimator_that_photoz_has_trained_is_taken_as_it_is(
    folder: Path, estimator: Estimator, monkeypatch
) -> None:
    monkeypatch.chdir(folder)
    estimator.save(str(folder / "trained"))
    informer = PhotozInformer.make_stage(name="take", model=str(folder / "taken.pkl"), trained=str(folder / "trained"))
    informer.run()
    assert unpack_estimator(informer.model).bands == ("u", "g", "r", "i", "z", "y")


@pytest.mark.parametrize(("name", "match"), [("knn", r"gives no p\(z\)"), ("hybrid", "is not fitted to a table alone")])
def test_an_estimator_that_a_stage_cannot_have_is_refused(folder: Path, name: str, match: str, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    informer = PhotozInformer.make_stage(name=f"wrong_{name}", model=str(folder / "wrong.pkl"), estimator=name)
    with pytest.raises(EstimatorError, match=match):
        informer.inform(tables_io.read(str(EXAMPLES / "training_100gal.hdf5")))


def test_a_model_of_other_bands_or_of_another_program_is_refused(
    folder: Path, model_file: Path, table, monkeypatch
) -> None:
    monkeypatch.chdir(folder)
    fewer = {"bands": BANDS[:3], "err_bands": [name.replace("mag_", "mag_err_") for name in BANDS[:3]]}
    with pytest.raises(EstimatorError, match="was fitted to the bands"):
        run_stage(folder, model_file, table, **fewer)
    with pytest.raises(EstimatorError, match="make it by the stage PhotozInformer"):
        unpack_estimator({"zgrid": [0.0]})
    with pytest.raises(KeyError, match="not found"):
        run_stage(folder, model_file, {name: values for name, values in table.items() if name != "mag_err_z_lsst"})


def test_magnitudes_become_fluxes_with_the_limits_that_the_table_or_the_stage_has() -> None:
    config = PhotozEstimator.make_stage(name="flux", bands=BANDS[:2], err_bands=["e_u", "e_g"]).config
    table = {BANDS[0]: [22.5, 99.0, 99.0, -99.0], "e_u": [0.1, 26.4, 0.0, -99.0]}
    table |= {BANDS[1]: [22.5, np.nan, 31.4, 22.5], "e_g": [0.1, np.nan, 0.1, 0.1]}
    fluxes_NF, errors_NF, flags_N = read_photometry(table, config)
    limit = 10 ** (-0.4 * (config.mag_limits[BANDS[0]] - 31.4))
    np.testing.assert_allclose(fluxes_NF[:, 0], [3631, 0, 0, np.nan], rtol=1e-3)
    np.testing.assert_allclose(errors_NF[:, 0], [334.4, 100, limit, np.nan], rtol=1e-2)
    nothing = int(Flag.BAND_NOT_DETECTED | Flag.BAND_NOT_OBSERVED | Flag.NO_PHOTOMETRY)
    assert flags_N.tolist() == [0, nothing, int(Flag.BAND_NOT_DETECTED), int(Flag.BAND_NOT_OBSERVED)]
    config.nondetect_val = float("nan")
    assert read_photometry(table, config)[0][1, 1] == 0


def test_bands_are_named_by_what_differs() -> None:
    assert name_bands(BANDS) == ("u", "g", "r", "i", "z", "y")
    assert name_bands(["mag_i1_gaap", "mag_i2_gaap"]) == ("i1", "i2")
    assert name_bands(["g_cModelMag", "r_cModelMag"]) == ("g", "r")
    assert name_bands(["mag_u"]) == ("mag_u",)
