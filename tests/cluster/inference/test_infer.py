"""Inference from the source catalogue to the finished photo-z catalogue."""

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from conftest import ReadySurvey, save_untrained
from runs import assert_same_rows, change, read_all

from cluster.inference.run import infer_catalogue
from cluster.ledger import compute_run_key
from photoz.catalogue.hats import (
    PRIMARY,
    Partition,
    finish_catalogue,
    list_partitions,
    locate_partition,
    locate_primary,
    write_partition,
)
from photoz.errors import CatalogueError, EstimatorError
from photoz.schema import NO_IMAGE, Flag, make_catalogue_schema
from photoz.settings.inference import Inference
from photoz.sources import check_source_columns


@pytest.fixture(scope="module")
def serial_catalogue(ready_survey: ReadySurvey, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    location = str(tmp_path_factory.mktemp("serial") / "catalogue")
    infer_catalogue(change(ready_survey.config, locations__catalogue=location))
    return read_all(location)


def test_every_source_comes_out_once(ready_survey: ReadySurvey, serial_catalogue: pa.Table) -> None:
    ids = serial_catalogue["object_id"].to_pylist()
    assert len(ids) == len(set(ids))
    assert set(ids) == ready_survey.object_ids
    assert serial_catalogue.schema.equals(make_catalogue_schema("hybrid"), check_metadata=True)


def test_rows_without_redshift_say_why(serial_catalogue: pa.Table) -> None:
    z_phot = serial_catalogue["z_phot"].to_numpy()
    failed = (serial_catalogue["flags"].to_numpy() & Flag.ESTIMATE_FAILED) != 0
    np.testing.assert_array_equal(~np.isfinite(z_phot), failed)
    flags = serial_catalogue["flags"].to_numpy()
    no_photometry, no_image = (flags & Flag.NO_PHOTOMETRY) != 0, (flags & NO_IMAGE) != 0
    assert no_photometry.sum() == 3  # one a tile has no magnitude at all
    np.testing.assert_array_equal(failed, no_photometry & no_image)
    np.testing.assert_array_equal((flags & Flag.PHOTOMETRY_ONLY) != 0, no_image & ~failed)
    np.testing.assert_array_equal(np.isfinite(serial_catalogue["hybrid_z_median"].to_numpy()), np.isfinite(z_phot))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_engines_agree_row_for_row(
    ready_survey: ReadySurvey, serial_catalogue: pa.Table, ray_cluster: None, tmp_path, engine: str
) -> None:
    config = change(ready_survey.config, engine__name=engine, locations__catalogue=str(tmp_path / "catalogue"))
    record = infer_catalogue(config)
    assert record.rows == len(ready_survey.object_ids)
    assert record.this_run.rerun_after_lost_worker == 0
    assert_same_rows(read_all(config.locations.catalogue), serial_catalogue)


@pytest.mark.slow
def test_partitions_may_share_a_task_of_ray(
    ready_survey: ReadySurvey, serial_catalogue: pa.Table, ray_cluster: None, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.engines.ray.MOST_BLOCKS", 1)
    config = change(ready_survey.config, engine__name="ray", locations__catalogue=str(tmp_path / "catalogue"))
    assert infer_catalogue(config).this_run.partitions > 2
    assert_same_rows(read_all(config.locations.catalogue), serial_catalogue)


@pytest.mark.slow
def test_the_fields_readers_open_it(ready_survey: ReadySurvey, serial_catalogue: pa.Table, tmp_path) -> None:
    lsdb = pytest.importorskip("lsdb")
    location = str(tmp_path / "catalogue")
    infer_catalogue(change(ready_survey.config, locations__catalogue=location))
    catalogue = lsdb.open_catalog(location)
    assert len(catalogue.compute()) == len(ready_survey.object_ids)
    first = serial_catalogue.slice(0, 1).to_pylist()[0]
    cone = catalogue.cone_search(ra=first["ra"], dec=first["dec"], radius_arcsec=1.0).compute()
    assert first["object_id"] in set(cone["object_id"])
    plain = ds.dataset(f"{location}/catalogue/dataset", format="parquet").to_table()
    assert plain.num_rows == len(ready_survey.object_ids)


def test_finished_partitions_are_skipped(ready_survey: ReadySurvey, tmp_path) -> None:
    config = change(ready_survey.config, locations__catalogue=str(tmp_path / "catalogue"))
    first = infer_catalogue(config)
    assert first.this_run.partitions == first.partitions > 2
    assert infer_catalogue(config).this_run.partitions == 0


def test_a_damaged_partition_is_redone(ready_survey: ReadySurvey, tmp_path) -> None:
    config = change(ready_survey.config, locations__catalogue=str(tmp_path / "catalogue"))
    infer_catalogue(config)
    before = read_all(config.locations.catalogue)
    part = list_partitions(config.locations.catalogue)[0]
    file = tmp_path / locate_partition(locate_primary(config.locations.catalogue), part)
    file.write_bytes(file.read_bytes()[:-40])
    assert infer_catalogue(config).this_run.partitions == 1
    assert_same_rows(read_all(config.locations.catalogue), before)


def test_changed_weights_redo_everything(ready_survey: ReadySurvey, tmp_path) -> None:
    config = change(
        ready_survey.config,
        locations__catalogue=str(tmp_path / "catalogue"),
        locations__models=str(tmp_path / "models"),
    )
    save_untrained(config, "hybrid")
    infer_catalogue(config)
    save_untrained(config, "hybrid", seed=1)
    again = infer_catalogue(config)
    assert again.this_run.partitions == again.partitions


def test_another_run_is_not_overwritten(ready_survey: ReadySurvey, tmp_path) -> None:
    config = change(ready_survey.config, locations__catalogue=str(tmp_path / "catalogue"))
    infer_catalogue(config)
    before = read_all(config.locations.catalogue)
    with pytest.raises(CatalogueError, match=r"holds another run .* set locations.catalogue"):
        infer_catalogue(change(config, run__name="other"))
    assert_same_rows(read_all(config.locations.catalogue), before)


def test_strangers_files_are_not_touched(ready_survey: ReadySurvey, tmp_path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CatalogueError, match="holds files that are no photoz run"):
        infer_catalogue(change(ready_survey.config, locations__catalogue=str(tmp_path)))
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_estimator_for_other_bands_is_refused(ready_survey: ReadySurvey, tmp_path) -> None:
    config = change(
        ready_survey.config, survey__bands=["g", "r", "i"], survey__image_bands=["g", "r"],
        locations__catalogue=str(tmp_path / "catalogue"),
    )  # fmt: skip
    with pytest.raises(EstimatorError, match="bands"):
        infer_catalogue(config)
    assert not (tmp_path / "catalogue").exists()


def test_a_source_catalogue_of_magnitudes_is_refused_with_a_remedy(ready_survey: ReadySurvey, tmp_path) -> None:
    bands = ready_survey.config.survey.bands
    table = read_all(ready_survey.config.locations.sources)
    names = [name.replace("fluxerr_", "magerr_").replace("flux_", "mag_") for name in table.column_names]
    sources, photoz = str(tmp_path / "sources"), str(tmp_path / "catalogue")
    partition = Partition(0, int(table["_healpix_29"][0].as_py()) >> 58)
    rows, _ = write_partition(f"{sources}/{PRIMARY}", partition, table.rename_columns(names))
    finish_catalogue(sources, [(partition, rows)], info={})
    config = change(ready_survey.config, locations__sources=sources, locations__catalogue=photoz)
    with pytest.raises(CatalogueError, match=r"lacks the columns \['flux_u', .*run jobs/ingest_dr4\.py"):
        infer_catalogue(config)
    assert not (tmp_path / "catalogue").exists()
    check_source_columns(ready_survey.config.locations.sources, bands)


def test_a_missing_tile_costs_only_its_images(ready_survey: ReadySurvey, tmp_path) -> None:
    config = change(
        ready_survey.config, locations__tiles=str(tmp_path / "none"), locations__catalogue=str(tmp_path / "catalogue")
    )
    record = infer_catalogue(config)
    assert record.rows == len(ready_survey.object_ids)
    assert record.flags["NO_TILE"] == record.rows
    assert record.estimated == record.flags["PHOTOMETRY_ONLY"] == record.rows - 3  # which have no magnitude


def test_another_precision_is_another_content(ready_survey: ReadySurvey) -> None:
    config = ready_survey.config
    keys = {
        compute_run_key(config.survey, Inference(precision=precision), {"weights.safetensors": "5e"})
        for precision in ("float32", "bfloat16")
    }
    assert len(keys) == 2
