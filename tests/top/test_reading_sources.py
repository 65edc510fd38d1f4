"""The source catalogue as everything reads it, where it is one of ours: what it tells, and how a bad one is refused."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_catalogues import make_sky, write_photoz

from photoz.catalogue.hats import PRIMARY, Partition, list_partitions, locate_partition, read_partition
from photoz.errors import CatalogueError
from photoz.schema import make_catalogue_schema
from photoz.sources import (
    check_source_columns,
    compute_sources_checksum,
    count_sources,
    is_view,
    list_source_partitions,
    read_source_schema,
    read_sources,
)


@pytest.fixture
def catalogue(tmp_path: Path) -> str:
    """Any finished HATS catalogue will do: of 90 rows in several pixels, and not of the columns of sources."""
    location = str(tmp_path / "catalogue")
    write_photoz(location, make_sky(90), np.full(90, 0.2))
    return location


def test_it_is_read_as_the_catalogue_that_it_is(catalogue: str) -> None:
    assert not is_view(catalogue)
    partitions = list_source_partitions(catalogue)
    assert partitions == list_partitions(catalogue)
    assert count_sources(catalogue) == 90
    assert read_source_schema(catalogue).names == make_catalogue_schema().names
    for part in partitions:
        assert read_sources(catalogue, part).equals(read_partition(catalogue, part))
        assert read_sources(catalogue, part, columns=["dec", "ra"]).column_names == ["dec", "ra"]


def test_columns_that_are_lacking_are_told_with_the_job_that_makes_them(catalogue: str) -> None:
    with pytest.raises(CatalogueError, match=r"lacks the columns \['magerr_auto', 'flux_r', 'fluxerr_r'\].*run jobs/"):
        check_source_columns(catalogue, ("r",))


def test_a_catalogue_that_does_not_say_its_columns_is_left_to_its_partitions(catalogue: str) -> None:
    """Others' catalogues may come without that file."""
    Path(catalogue, PRIMARY, "dataset", "_common_metadata").unlink()
    assert read_source_schema(catalogue).names == []
    check_source_columns(catalogue, ("r",))
    Path(catalogue, PRIMARY, "dataset", "_common_metadata").write_bytes(b"no Parquet")
    assert read_source_schema(catalogue).names == []


def test_a_catalogue_without_its_properties_is_unfinished(catalogue: str) -> None:
    Path(catalogue, PRIMARY, "hats.properties").unlink()
    with pytest.raises(CatalogueError, match="no finished catalogue at"):
        list_source_partitions(catalogue)


def test_a_digest_is_of_the_files_content_and_of_no_name_or_time(catalogue: str, tmp_path: Path) -> None:
    first, second = list_source_partitions(catalogue)[:2]
    digest = compute_sources_checksum(catalogue, first)
    assert digest != compute_sources_checksum(catalogue, second)
    copy = str(tmp_path / "copy")
    shutil.copytree(catalogue, copy)
    assert compute_sources_checksum(copy, first) == digest
    file = locate_partition(f"{copy}/{PRIMARY}", first)
    rows = pq.read_table(file, partitioning=None)
    pq.write_table(rows.slice(0, len(rows) - 1), file)
    assert compute_sources_checksum(copy, first) != digest


def test_a_partition_that_is_not_there_is_refused_by_its_name(catalogue: str) -> None:
    with pytest.raises(CatalogueError, match="Norder=1_Npix=3"):
        read_sources(catalogue, Partition(1, 3))


def test_nothing_at_all_is_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="no finished catalogue at"):
        list_source_partitions(str(tmp_path / "nowhere"))
    assert count_sources(str(tmp_path / "nowhere")) is None
    assert read_source_schema(str(tmp_path / "nowhere")).names == []
