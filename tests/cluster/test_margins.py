"""The margin of a catalogue against that which hats-import makes of the same rows."""

import warnings
from pathlib import Path

import lsdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from bright_sample import make_sources, write_sources
from conftest import save_untrained
from distributed import Client
from hats.io.validation import is_valid_catalog
from hats_import.margin_cache.margin_cache_arguments import MarginCacheArguments
from hats_import.pipeline import pipeline_with_client
from runs import assert_same_rows, change
from tiny_survey import BANDS, make_config

from cluster.audit import audit_catalogue
from cluster.inference.run import infer_catalogue
from photoz.catalogue.hats import MARGIN, PRIMARY, Partition, list_partitions, locate_partition, read_partition
from photoz.catalogue.margins import plan_margins
from photoz.settings.config import Config

ARCSEC = 900.0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """3,000 galaxies over 1,500 square degrees, in pixels of two orders, with a margin a quarter of a degree wide."""
    folder = tmp_path_factory.mktemp("margins")
    settings = {"estimator": "photometry", "pdf": False}
    config = make_config(folder, engine={"name": "serial"}, inference=settings, sources={"margin_arcsec": ARCSEC})
    sources = make_sources(BANDS, 3000)
    write_sources(config, sources, order=np.where(np.asarray(sources["dec"]) > -10, 3, 4))
    save_untrained(config, "photometry")
    infer_catalogue(config)
    return config


def test_margin_is_the_one_that_hats_import_makes(finished: Config, tmp_path: Path) -> None:
    location = finished.locations.catalogue
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        arguments = MarginCacheArguments(
            output_path=tmp_path,
            output_artifact_name="reference",
            input_catalog_path=f"{location}/{PRIMARY}",
            margin_threshold=ARCSEC,
            tmp_dir=tmp_path / "temporary",
            progress_bar=False,
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Computing partitions from catalog parquet files")
            pipeline_with_client(arguments, client)
    reference = str(tmp_path / "reference")
    expected = list_partitions(reference)
    assert not set(expected) <= set(list_partitions(location))  # pixels beside the survey's edge have margins, too
    assert list_partitions(f"{location}/{MARGIN}") == expected
    for partition in expected:
        tables = [read_partition(table, partition) for table in (f"{location}/{MARGIN}", reference)]
        assert_same_rows(*(table.sort_by("object_id") for table in tables))


def test_catalogue_with_its_margin_is_clean_and_opens(finished: Config) -> None:
    assert audit_catalogue(finished).clean
    assert is_valid_catalog(f"{finished.locations.catalogue}/{MARGIN}", strict=True)
    catalogue = lsdb.open_catalog(finished.locations.catalogue)
    assert len(catalogue) == 3000
    assert catalogue.margin is not None


def test_margin_without_rows_is_an_empty_catalogue(finished: Config, tmp_path: Path) -> None:
    config = change(
        finished,
        locations__sources=str(tmp_path / "sources"),
        locations__catalogue=str(tmp_path / "catalogue"),
        sources__margin_arcsec=5.0,
    )
    write_sources(config, make_sources(BANDS, 30), order=2)
    infer_catalogue(config)
    assert pq.read_schema(f"{config.locations.catalogue}/{MARGIN}/dataset/_common_metadata").names[:2] == [
        "_healpix_29",
        "object_id",
    ]
    assert audit_catalogue(config).clean
    assert len(lsdb.open_catalog(config.locations.catalogue)) == 30


def test_partitions_of_a_square_share_a_task() -> None:
    square = [Partition(5, 16 * 300 + number) for number in range(16)]
    tasks = plan_margins("catalogue", square)
    (own,) = [task for task in tasks if task.pixels[0][0] in square]
    assert [pixel for pixel, _ in own.pixels] == square
    assert {len(beside) for _, beside in own.pixels} == {3, 5, 8}
    assert locate_partition("m", square[0]).endswith("Norder=5/Dir=0/Npix=4800.parquet")
