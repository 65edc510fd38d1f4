"""From a source catalogue, half of it unlike the training sample, to the overview of its redshifts."""

import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from made_overview import assert_same
from made_target import BANDS, make_target, write_sources
from runs import change, write_toml
from tiny_catalogues import make_config, make_estimates, make_pdfs, make_sky, write_photoz

from cluster.engines.base import Attempt
from cluster.engines.serial import SerialEngine
from cluster.inference.run import infer_catalogue
from cluster.overview import describe_catalogue
from photoz.catalogue.hats import (
    PRIMARY,
    finish_catalogue,
    finish_collection,
    list_partitions,
    read_partition,
    write_partition,
)
from photoz.errors import CatalogueError
from photoz.overview.overview import Overview
from photoz.report.overview import write_overview
from photoz.report.overview_tables import make_range_rows
from photoz.schema import Flag
from photoz.settings.config import Config
from photoz.storage import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
COUNT = 900


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A target, the model and the catalogue."""
    config = make_target(tmp_path_factory.mktemp("target"), COUNT, training=600)
    infer_catalogue(config)
    return config


@pytest.fixture(scope="module")
def overview(target: Config) -> Overview:
    return describe_catalogue(target)


class Weighing(SerialEngine):
    """Notes what goes to a worker with each task."""

    sent: ClassVar[list[bytes]] = []

    def run(self, attempt: Attempt[Any, Any], tasks: Sequence[Any]) -> Iterator[Any]:
        self.sent.append(pickle.dumps(attempt))
        return super().run(attempt, tasks)


def test_no_task_is_given_the_list_of_all_partitions(target: Config, overview: Overview) -> None:
    engine = Weighing(target.engine, target.storage_options)
    assert_same(describe_catalogue(target, engine).sums, overview.sums)
    assert len(engine.sent) == 2
    assert not any(b"Partition" in sent for sent in engine.sent)


def test_what_is_outside_the_training_sample_shows(overview: Overview) -> None:
    sums = overview.sums
    assert (sums.rows, sums.estimated) == (COUNT, COUNT - COUNT // 50)
    assert sums.measured == sums.estimated
    # Half of the target is 1.5 mag bluer in u - g, 30 times the errors.
    assert 0.45 < sums.outside / sums.measured < 0.6
    rows = {row.name: row for row in make_range_rows(overview)}
    assert 0.48 < rows["u - g"].below / rows["u - g"].measured < 0.54
    assert rows["g - r"].below + rows["g - r"].above < 0.08 * rows["g - r"].measured
    assert overview.problem == ""
    assert overview.counts is not None
    assert overview.counts.rows == COUNT


def test_counts_are_those_of_the_rows(target: Config, overview: Overview) -> None:
    location = target.locations.catalogue
    tables = [read_partition(location, partition) for partition in list_partitions(location)]
    flags_N = np.concatenate([table["flags"].to_numpy() for table in tables])
    z_N = np.concatenate([table["z_phot"].to_numpy() for table in tables])
    assert overview.sums.outside == np.count_nonzero(flags_N & Flag.OUTSIDE_TRAINING)
    assert overview.sums.with_pdf == overview.sums.estimated == np.isfinite(z_N).sum()
    assert overview.sums.by_redshift_LZ[0].sum() == ((z_N >= 0) & (z_N <= 6.5)).sum()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_every_engine_comes_to_the_same(
    target: Config, overview: Overview, engine: str, request: pytest.FixtureRequest
) -> None:
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    found = describe_catalogue(change(target, engine__name=engine))
    assert_same(found.sums, overview.sums)
    assert found.counts is not None
    assert overview.counts is not None
    np.testing.assert_array_equal(found.counts.below_K, overview.counts.below_K)


def test_any_partitioning_comes_to_the_same(target: Config, overview: Overview, tmp_path: Path) -> None:
    write_sources(str(tmp_path / "sources"), COUNT, order=3)
    places = {f"locations__{name}": str(tmp_path / name) for name in ("sources", "catalogue")}
    config = change(target, **places)
    infer_catalogue(config)
    assert len(list_partitions(config.locations.catalogue)) < len(list_partitions(target.locations.catalogue))
    assert_same(describe_catalogue(config).sums, overview.sums)


@pytest.mark.slow
def test_the_job_writes_one_page(target: Config, tmp_path: Path) -> None:
    write_toml(change(target, locations__report=str(tmp_path / "report")), tmp_path / "run.toml")
    command = [sys.executable, "jobs/describe_catalogue.py", "--config", str(tmp_path / "run.toml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = tmp_path / "report" / "overview" / "index.html"
    assert done.stdout.rstrip().endswith(f"overview: {page}")
    text = page.read_text()
    assert f'<td class="left wrap">{", ".join(BANDS)}</td>' in text
    assert 'alt="Colours of the target and of the training sample"' in text


def test_a_model_that_is_gone_or_of_an_earlier_version_costs_its_section(target: Config, tmp_path: Path) -> None:
    manifest = read_json(f"{target.locations.models}/mlp/manifest.json")
    del manifest["record"]["photometry"]
    write_json(str(tmp_path / "mlp" / "manifest.json"), manifest)
    write_json(f"{tmp_path}/catalogue/run/run.json", {"estimator": str(tmp_path / "gone")})
    write_photoz(f"{tmp_path}/catalogue", make_sky(200), make_estimates(make_sky(200), scatter=0.02))
    places = {"locations__catalogue": f"{tmp_path}/catalogue", "locations__models": str(tmp_path)}
    found = describe_catalogue(change(target, **places))
    assert "keeps no summary" in found.problem
    assert found.model.location == str(tmp_path / "mlp")
    none = describe_catalogue(change(target, locations__catalogue=f"{tmp_path}/catalogue", inference__estimator="knn"))
    assert "cannot be read" in none.problem
    assert none.counts is None


def test_sources_that_are_gone_or_lack_a_band_cost_their_section(target: Config, tmp_path: Path) -> None:
    found = describe_catalogue(change(target, locations__sources=str(tmp_path / "gone")))
    assert "the source catalogue cannot be read" in found.problem
    manifest = read_json(f"{target.locations.models}/mlp/manifest.json")
    manifest["bands"] = [*BANDS[:4], "Y"]
    old = manifest["record"]["photometry"]["quantities"]
    old["Y"], old["i - Y"] = old["Z"], old["i - Z"]
    write_json(str(tmp_path / "mlp" / "manifest.json"), manifest)
    write_json(f"{tmp_path}/catalogue/run/run.json", {"estimator": str(tmp_path / "mlp")})
    write_photoz(f"{tmp_path}/catalogue", make_sky(200), make_estimates(make_sky(200), scatter=0.02))
    lacking = describe_catalogue(change(target, locations__catalogue=f"{tmp_path}/catalogue"))
    assert "lacks some of the bands u, g, r, i, Y" in lacking.problem


@pytest.mark.parametrize("lost", ["mag_auto", "z_phot", "pdf"])
def test_catalogues_that_lack_something_have_a_page(tmp_path: Path, lost: str) -> None:
    config = make_config(tmp_path, engine={"name": "serial"})
    sky = make_sky(300)
    z_N, pdf = make_pdfs(sky, width=0.02, claimed=0.02)
    if lost == "mag_auto":
        sky.mag[:] = np.nan
    if lost == "z_phot":
        z_N[:] = np.nan
    write_photoz(config.locations.catalogue, sky, z_N, pdf=None if lost == "pdf" else pdf)
    found = describe_catalogue(config)
    page = Path(write_overview(config, found)).read_text()
    assert found.sums.rows == 300
    words = {"mag_auto": "no galaxy has a total magnitude", "z_phot": "No galaxy has a p(z).", "pdf": "has no p(z)"}
    assert words[lost] in page


def test_a_catalogue_without_rows_has_a_page(tmp_path: Path) -> None:
    config = make_config(tmp_path, engine={"name": "serial"})
    write_photoz(str(tmp_path / "full"), make_sky(20), make_estimates(make_sky(20), scatter=0.02))
    (part, *_) = list_partitions(str(tmp_path / "full"))
    empty = read_partition(str(tmp_path / "full"), part).slice(0, 0)
    write_partition(f"{config.locations.catalogue}/{PRIMARY}", part, empty)
    finish_catalogue(config.locations.catalogue, [(part, 0)], info={})
    finish_collection(config.locations.catalogue, name="photoz", margin=False)
    found = describe_catalogue(config)
    assert found.sums.rows == 0
    assert "no galaxy has a total magnitude" in Path(write_overview(config, found)).read_text()


def test_another_kind_of_catalogue_is_refused(target: Config, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="no photo-z catalogue: it lacks"):
        describe_catalogue(change(target, locations__catalogue=target.locations.sources))
    with pytest.raises(CatalogueError, match="no finished catalogue"):
        describe_catalogue(change(target, locations__catalogue=str(tmp_path)))
