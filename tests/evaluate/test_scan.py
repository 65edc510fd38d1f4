"""One pass over a catalogue: a map of the sky that stays small, counts that do not depend on partitions."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_catalogues import make_estimates, make_sky, write_photoz

from photoz.catalogue.hats import PRIMARY, list_partitions, locate_partition
from photoz.errors import CatalogueError
from photoz.evaluate.galaxies import Galaxies
from photoz.evaluate.scan import scan_catalogue
from photoz.evaluate.skymap import SkyMap

PIXELS = st.lists(st.integers(0, 12 * 4**29 - 1), min_size=1, max_size=60)


@given(st.lists(PIXELS, min_size=1, max_size=4))
def test_a_map_counts_every_row_whatever_came_first(parts: list[list[int]]) -> None:
    sky, other = SkyMap(), SkyMap()
    for part in parts:
        sky = sky.add(np.array(part))
    for part in parts[::-1]:
        other = other.add(np.array(part))
    assert sky.counts.sum() == sum(map(len, parts))
    assert (np.diff(sky.cells) > 0).all()
    np.testing.assert_array_equal(sky.cells, other.cells)
    np.testing.assert_array_equal(sky.counts, other.counts)
    coarse = sky.coarsen()
    assert coarse.order == sky.order - 1
    assert set(coarse.cells.tolist()) == set((sky.cells >> 2).tolist())


def test_maps_of_different_orders_merge_to_that_of_all_rows() -> None:
    rng = np.random.default_rng(2)
    # 300,000 rows over the whole sky are coarsened, 100 are not.
    many, few = rng.integers(0, 12 * 4**29, 300_000), rng.integers(0, 12 * 4**29, 100)
    whole = SkyMap().add(np.concatenate([many, few]))
    for first, second in ((many, few), (few, many)):
        one, other = SkyMap().add(first), SkyMap().add(second)
        assert one.order != other.order
        merged = one.merge(other)
        assert merged.order == whole.order
        np.testing.assert_array_equal(merged.cells, whole.cells)
        np.testing.assert_array_equal(merged.counts, whole.counts)


@settings(deadline=None)
@given(st.integers(1, 3000))
def test_a_finished_map_has_enough_rows_a_cell_to_show_structure(rows: int) -> None:
    sky = SkyMap().add(np.random.default_rng(rows).integers(0, 12 * 4**29, rows)).finish()
    assert sky.order == 0 or sky.counts.mean() >= 5
    assert sky.counts.sum() == rows


def test_a_map_of_many_cells_coarsens_while_it_is_read() -> None:
    sky = SkyMap().add(np.random.default_rng(1).integers(0, 12 * 4**29, 300_000))
    assert sky.order < 13
    assert sky.cells.size <= 200_000
    assert sky.counts.sum() == 300_000


def test_partitioning_changes_nothing(tmp_path: Path) -> None:
    sky = make_sky(400)
    z_phot = make_estimates(sky, scatter=0.02)
    nothing = np.full(400, np.nan)
    galaxies = Galaxies(pa.array(sky.object_id.tolist()), sky.z_spec, nothing, nothing, repeated=0)
    scans = []
    for order in (3, 6):
        write_photoz(str(tmp_path / str(order)), sky, z_phot, order=order)
        scans.append(scan_catalogue(str(tmp_path / str(order)), galaxies))
    first, second = scans
    np.testing.assert_array_equal(first.z_phot, second.z_phot)
    np.testing.assert_array_equal(first.z_counts, second.z_counts)
    np.testing.assert_array_equal(first.sky.counts, second.sky.counts)
    assert (first.rows, first.estimated, first.flags) == (second.rows, second.estimated, second.flags)
    assert first.found.all()


@pytest.mark.parametrize(
    ("number", "message"), [(0, "is no photo-z catalogue"), (1, "it is of another kind or version")]
)
def test_a_column_that_is_not_there_is_told_as_that_in_every_partition(
    tmp_path: Path, number: int, message: str
) -> None:
    location = str(tmp_path / "c")
    write_photoz(location, make_sky(200), np.full(200, 0.1))
    file = locate_partition(f"{location}/{PRIMARY}", list_partitions(location)[number])
    pq.write_table(pq.read_table(file, partitioning=None).drop_columns(["flags"]), file)
    nobody = Galaxies(pa.array([], pa.string()), *[np.empty(0)] * 3, repeated=0)
    with pytest.raises(CatalogueError, match=rf"{message}|lacks the columns \['flags'\]") as caught:
        scan_catalogue(location, nobody)
    assert "['flags']" in str(caught.value)
    assert message in str(caught.value)
    assert "cannot read" not in str(caught.value)
