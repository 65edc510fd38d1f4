"""Rows in memory become the partitions that hats-import would make of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from bright_sample import make_sources
from hats.io.validation import is_valid_catalog
from hats.pixel_math.partition_stats import generate_alignment
from hypothesis import given
from hypothesis import strategies as st
from runs import assert_same_rows, read_all

from photoz.catalogue.hats import MARGIN, PRIMARY, Partition, list_partitions
from photoz.catalogue.split import choose_orders, split_rows, write_split
from photoz.errors import CatalogueError
from photoz.ingest.settings import Sources

HIGHEST = 3
STEP = 1 << 2 * (29 - HIGHEST)


@given(st.lists(st.integers(0, 12 * 4**HIGHEST - 1), min_size=1, max_size=60), st.integers(1, 40))
def test_orders_are_those_that_hats_chooses(pixels: list[int], most: int) -> None:
    counts = np.bincount(pixels, minlength=12 * 4**HIGHEST)
    most = max(most, int(counts.max()))
    alignment = generate_alignment(counts, highest_order=HIGHEST, threshold=most, drop_empty_siblings=True)
    orders = choose_orders(np.array(pixels) * STEP + 7, highest=HIGHEST, most=most)
    assert orders.tolist() == [alignment[pixel][0] for pixel in pixels]


@pytest.mark.parametrize(
    ("pixels", "most", "orders"),
    [
        ([5], 1, [3]),  # alone, the smallest
        ([0, 1], 2, [2, 2]),  # two of four
        ([0, 1], 1, [3, 3]),  # too many for the pixel around them
        ([0, 4, 16, 32], 4, [0, 0, 0, 0]),  # in three of the four quarters of a base pixel
        ([0, 0, 1, 4, 8], 3, [2, 2, 2, 3, 3]),  # five rows are too many for order 1
    ],
)
def test_four_pixels_become_one_where_it_may_hold_them(pixels: list[int], most: int, orders: list[int]) -> None:
    assert choose_orders(np.array(pixels) * STEP, highest=HIGHEST, most=most).tolist() == orders


def test_a_dense_pixel_is_told_with_the_settings() -> None:
    with pytest.raises(CatalogueError, match=r"highest_order = 3 holds 3 rows, more than .*rows_per_partition = 2"):
        choose_orders(np.array([1, 2, 3]), highest=HIGHEST, most=2)


def test_partitions_hold_every_row_once() -> None:
    rows = make_sources(("r",), 500).take(np.random.default_rng(2).permutation(500))
    parts = list(split_rows(rows, highest=5, most=60))
    assert len(parts) > 5
    starts = [part.pixel << 2 * (29 - part.order) for part, _ in parts]
    assert starts == sorted(starts)
    for part, own in parts:
        assert len(own) <= 60
        assert set(own["_healpix_29"].to_numpy() >> 2 * (29 - part.order)) == {part.pixel}
    assert_same_rows(pa.concat_tables([own for _, own in parts]), rows.sort_by("_healpix_29"))


@pytest.mark.parametrize("margin_arcsec", [0.0, 900.0])
def test_what_is_written_is_a_catalogue(tmp_path: Path, margin_arcsec: float) -> None:
    rows = make_sources(("r",), 1000)
    location = str(tmp_path / "sources")
    write_split(rows, location, Sources(rows_per_partition=100, highest_order=4, margin_arcsec=margin_arcsec))
    assert is_valid_catalog(location, strict=True)
    assert_same_rows(read_all(location), rows)
    assert Path(location, MARGIN).exists() == (margin_arcsec > 0)
    assert is_valid_catalog(f"{location}/{PRIMARY}", strict=True)


def test_one_row_is_a_catalogue(tmp_path: Path) -> None:
    rows = make_sources(("r",), 1)
    write_split(rows, str(tmp_path / "sources"), Sources(margin_arcsec=0.0))
    pixel = rows["_healpix_29"][0].as_py() >> 2 * (29 - 8)
    assert list_partitions(str(tmp_path / "sources")) == [Partition(8, pixel)]
