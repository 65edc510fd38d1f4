"""The sky of a run: where cells are drawn, and what of them is done."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from astropy import units
from astropy_healpix import HEALPix

from photoz.catalogue.hats import Partition
from photoz.report.sky import Sky, View, draw_svg, draw_text


def find_cells(order: int, ra: float, dec: float, degrees: float) -> list[Partition]:
    """Return the cells of an order whose centres lie within some degrees of a position."""
    found = HEALPix(nside=2**order, order="nested").cone_search_lonlat(
        ra * units.deg, dec * units.deg, radius=degrees * units.deg
    )
    return [Partition(order, int(pixel)) for pixel in found]


EQUATOR = 200 * units.deg, 0 * units.deg
ALL = [Partition(2, pixel) for pixel in range(192)]


def test_shares_are_of_partitions_whatever_their_order() -> None:
    partitions = [Partition(1, 5), *(Partition(2, pixel) for pixel in range(4))]
    sky = Sky.of(partitions, [Partition(1, 5), Partition(2, 1)])
    assert sky.shares == {(1, 5): 1.0, (2, 0): 0.0, (2, 1): 1.0, (2, 2): 0.0, (2, 3): 0.0}


def test_many_partitions_are_gathered_into_few_cells() -> None:
    partitions = [Partition(6, pixel) for pixel in range(12 * 4**6)]
    sky = Sky.of(partitions, partitions[: 4**4 + 4**3])
    assert len(sky.shares) == 768
    assert sum(sky.shares.values()) * 64 == 4**4 + 4**3
    assert len(draw_svg(sky)) < 150_000


@pytest.mark.parametrize(("ra", "dec"), [(180.0, -0.5), (0.0, 0.0), (10.0, 85.0), (359.5, -40.0)])
def test_a_small_footprint_fills_the_view_and_has_its_north_up_and_east_left(ra: float, dec: float) -> None:
    view = View.around([(each.order, each.pixel) for each in find_cells(7, ra, dec, 2.0)])
    assert not view.whole
    position = np.radians([ra]), np.radians([dec])
    (x,), (y,) = view.project(*position)
    assert abs(x) < 0.3 * view.width
    assert abs(y) < 0.3 * view.height
    assert view.project(position[0] + 1e-3, position[1])[0][0] < x
    assert view.project(position[0], position[1] + 1e-3)[1][0] > y
    across = float(re.match(r"[\d.]+", view.describe()).group())  # type: ignore[union-attr]
    assert 3.5 < across < 6


@pytest.mark.parametrize(
    "view", [View(3.0, -0.4, 0.1, 0.1, whole=False), View(1.0, 0.0, 2 * 2**0.5, 2**0.5, whole=True)]
)
def test_positions_are_found_again(view: View) -> None:
    rng = np.random.default_rng(1)
    turn_N = rng.uniform(-3.1, 3.1, 200) if view.whole else rng.uniform(-0.5, 0.5, 200)
    ra_N, dec_N = view.ra + turn_N, np.arcsin(rng.uniform(-0.99, 0.99, 200))
    found = view.find_positions(*view.project(ra_N, dec_N))
    np.testing.assert_allclose(found[0], ra_N, atol=1e-9)
    np.testing.assert_allclose(found[1], dec_N, atol=1e-9)


def test_the_whole_sky_has_equal_areas_and_no_corner_beyond_its_edge() -> None:
    sky = Sky.of(ALL, ALL[:48])
    svg = ET.fromstring(draw_svg(sky))
    areas = {}
    for path in svg.findall("path"):
        for points in re.findall(r"M([^Z]*)Z", path.attrib["d"]):
            x_N, y_N = np.array([point.split(",") for point in points.split()], dtype=float).T
            assert np.ptp(x_N) < 300
            area = abs(np.sum(x_N * np.roll(y_N, -1) - np.roll(x_N, -1) * y_N)) / 2
            areas.setdefault(path.attrib["class"], []).append(area)
    assert {name: len(each) for name, each in areas.items()} == {"done0": 144, "done4": 48}
    # 192 cells in an ellipse 800 wide and 400 high.
    every = np.concatenate(list(areas.values()))
    np.testing.assert_allclose(every, np.pi * 400 * 200 / 192, rtol=0.06)


def test_letters_stand_where_cells_lie() -> None:
    lines = draw_text(Sky.of(ALL, [each for each in ALL if each.pixel < 64]), 40).splitlines()
    # Of 12 base cells the first four are those of the north.
    assert set(lines[1].strip()) == {"█"}
    assert set(lines[-2].strip()) == {"·"}
    # A letter is twice as high as it is wide, and the ellipse has an area of pi/4 of its frame.
    assert len(lines) == 10
    assert sum(len(line.strip()) for line in lines) == pytest.approx(40 * 10 * np.pi / 4, rel=0.1)
    strip = [Partition(6, pixel) for pixel in HEALPix(64, "nested").cone_search_lonlat(*EQUATOR, radius=2 * units.deg)]
    assert "█" in draw_text(Sky.of([*strip, *ALL[:1]], strip), 40)
    part = draw_text(Sky({(3, 300): 0.4, (3, 301): 1.0, (3, 302): 0.99}))
    assert {"▒", "█", "▓"} <= set(part)


def test_nothing_to_do_is_an_empty_sky() -> None:
    sky = Sky.of([], [])
    assert draw_text(sky).strip() == ""
    assert "<path" not in draw_svg(sky)
