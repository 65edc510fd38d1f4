"""Partitions on disk: what is written comes back, sorted and checked, and a half-finished catalogue does not open."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_catalogues import make_sky, write_photoz

from photoz.catalogue.hats import (
    PRIMARY,
    Partition,
    finish_catalogue,
    list_partitions,
    locate_partition,
    locate_primary,
    read_partition,
    write_partition,
)
from photoz.errors import CatalogueError
from photoz.schema import HEALPIX_COLUMN
from photoz.storage import compute_checksum


@pytest.fixture
def catalogue(tmp_path: Path) -> str:
    location = str(tmp_path / "catalogue")
    write_photoz(location, make_sky(200), np.full(200, 0.2))
    return location


def test_rows_come_back_sorted_and_equal_rows_give_equal_files(catalogue: str, tmp_path: Path) -> None:
    partition = list_partitions(catalogue)[0]
    rows = read_partition(catalogue, partition)
    assert (np.diff(rows[HEALPIX_COLUMN].to_numpy()) >= 0).all()
    turned = rows.take(pa.array(np.arange(len(rows))[::-1].copy()))
    count, checksum = write_partition(str(tmp_path / "again"), partition, turned)
    assert count == len(rows)
    assert checksum == compute_checksum(locate_partition(f"{catalogue}/{PRIMARY}", partition))
    assert read_partition(catalogue, partition, columns=["z_phot"]).column_names == ["z_phot"]


def test_partitions_are_listed_along_the_sky_and_found_with_or_without_a_collection(catalogue: str) -> None:
    partitions = list_partitions(catalogue)
    assert len(partitions) > 1
    assert partitions == sorted(partitions, key=lambda part: part.pixel)
    assert locate_primary(catalogue) == f"{catalogue}/{PRIMARY}"
    assert list_partitions(f"{catalogue}/{PRIMARY}") == partitions


def test_a_row_of_another_pixel_is_refused_by_name(catalogue: str, tmp_path: Path) -> None:
    first, second = list_partitions(catalogue)[:2]
    rows = read_partition(catalogue, first)
    with pytest.raises(CatalogueError, match=rf"{len(rows)} rows, '{rows['object_id'][0].as_py()}' first"):
        write_partition(str(tmp_path / "other"), second, rows)


def test_missing_and_damaged_files_are_errors_that_name_them(catalogue: str) -> None:
    first, second = list_partitions(catalogue)[:2]
    files = [Path(locate_partition(f"{catalogue}/{PRIMARY}", part)) for part in (first, second)]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    for part, file in zip((first, second), files, strict=True):
        with pytest.raises(CatalogueError, match=file.name):
            read_partition(catalogue, part)


def test_metadata_that_counts_other_rows_than_the_files_hold_is_not_written(catalogue: str) -> None:
    rows = [(part, len(read_partition(catalogue, part)) + 1) for part in list_partitions(catalogue)]
    with pytest.raises(CatalogueError, match="200 rows in its files"):
        finish_catalogue(catalogue, rows, info={})


def test_what_is_unfinished_is_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="no finished catalogue"):
        list_partitions(str(tmp_path))


def test_files_of_many_pixels_are_grouped_by_the_ten_thousand() -> None:
    for pixel, folder in ((0, 0), (9999, 0), (10_000, 10_000), (123_456, 120_000)):
        file = locate_partition("c", Partition(order=9, pixel=pixel))
        assert file == f"c/dataset/Norder=9/Dir={folder}/Npix={pixel}.parquet"


def test_statistics_of_the_ids_are_kept(catalogue: str) -> None:
    # photoz.pdf.read_pdfs passes over files by them.
    part = list_partitions(catalogue)[0]
    metadata = pq.read_metadata(locate_partition(f"{catalogue}/{PRIMARY}", part))
    place = metadata.schema.names.index("object_id")
    assert metadata.row_group(0).column(place).statistics.has_min_max
