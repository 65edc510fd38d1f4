"""The files of a margin: which rows of which neighbour they hold."""

from pathlib import Path

import numpy as np
import pytest
from tiny_catalogues import make_sky, write_photoz

from photoz.catalogue.hats import MARGIN, PRIMARY, Partition, list_partitions, locate_partition, read_partition
from photoz.catalogue.margins import MarginTask, plan_margins, write_margins
from photoz.catalogue.neighbours import Owners
from photoz.errors import CatalogueError
from photoz.schema import HEALPIX_COLUMN, HEALPIX_ORDER

ARCSEC = 300.0


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> str:
    location = str(tmp_path_factory.mktemp("margins") / "catalogue")
    write_photoz(location, make_sky(2000), np.full(2000, 0.2), order=5)
    return location


def test_margins_hold_the_neighbours_rows_near_the_border_and_no_others(catalogue: str) -> None:
    partitions = list_partitions(catalogue)
    counts = dict(count for task in plan_margins(catalogue, partitions) for count in write_margins(ARCSEC, task))
    assert sum(counts.values()) > 100
    own = {part: set(read_partition(catalogue, part)["object_id"].to_pylist()) for part in partitions}
    for pixel, count in counts.items():
        rows = read_partition(f"{catalogue}/{MARGIN}", pixel)
        assert len(rows) == count
        of_pixel = rows[HEALPIX_COLUMN].to_numpy() >> 2 * (HEALPIX_ORDER - pixel.order)
        assert (of_pixel != pixel.pixel).all()
        beside = Owners(partitions).find_neighbours(pixel)
        assert set(rows["object_id"].to_pylist()) <= set.union(*(own[part] for part in beside))


def test_pixels_beside_the_survey_have_a_margin_too(catalogue: str) -> None:
    partitions = list_partitions(catalogue)
    planned = [pixel for task in plan_margins(catalogue, partitions) for pixel, _ in task.pixels]
    assert len(planned) == len(set(planned))
    assert set(partitions) < set(planned)


def test_a_pixel_whose_neighbours_have_no_rows_near_it_gets_no_file(tmp_path: Path) -> None:
    location = str(tmp_path / "catalogue")
    inner = make_sky(5, box=(180.0, 180.1, 0.2, 0.3))
    write_photoz(location, inner, np.full(5, 0.2), order=3)
    assert [
        count for task in plan_margins(location, list_partitions(location)) for count in write_margins(1.0, task)
    ] == []
    assert not Path(location, MARGIN).exists()


def test_a_neighbour_that_is_missing_is_an_error(catalogue: str) -> None:
    pixel, absent = Partition(order=5, pixel=0), Partition(order=5, pixel=1)
    assert not Path(locate_partition(f"{catalogue}/{PRIMARY}", absent)).exists()
    with pytest.raises(CatalogueError, match=absent.name):
        write_margins(ARCSEC, MarginTask(catalogue, ((pixel, (absent,)),)))
