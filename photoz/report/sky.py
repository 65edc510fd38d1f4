"""The sky of a run as its partitions fill it: as SVG for a page, as text for a terminal; Matplotlib draws nothing here.

Partitions are gathered into HEALPix cells, few enough for a page. A footprint within 40 degrees of its centre is shown
in stereographic projection about it, any other as the whole sky in Hammer's, which is equal-area. East is left.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from astropy import units
from astropy_healpix import HEALPix

from photoz.catalogue.hats import Partition

Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Cell = tuple[int, int]
"""HEALPix order and pixel (NESTED)."""

_MOST_CELLS = 1500  # some 100 kB of SVG
_LOCAL = np.radians(40.0)
_MARGIN = 1.06  # of the view around the footprint
_LETTERS = "·░▒▓█"  # nothing done, to all
_PIXELS = 800  # across the SVG
_POINTS = 4  # across a letter, and down


@dataclass(frozen=True)
class Sky:
    """Cells of the sky, and how much of each is done.

    Parameters
    ----------
    shares : mapping of Cell to float
        Share of the cell's partitions that are done.
    """

    shares: Mapping[Cell, float]

    @classmethod
    def of(cls, partitions: Collection[Partition], done: Collection[Partition]) -> "Sky":
        """Gather partitions, and those of them that are done, into at most 1,500 cells."""
        every, finished = _to_arrays(partitions), _to_arrays(done)
        order = int(every[0].max(initial=0))
        while order and len(np.unique(_enlarge(every, order))) > _MOST_CELLS:
            order -= 1
        cells, number = np.unique(_enlarge(every, order), return_counts=True)
        counts = Counter(_enlarge(finished, order).tolist())
        found = zip(cells.tolist(), number.tolist(), strict=True)
        return cls({_name_cell(cell): counts[cell] / all_of_it for cell, all_of_it in found})


@dataclass(frozen=True)
class View:
    """A projection of the sky onto a plane, x to the west and y to the north.

    Parameters
    ----------
    ra, dec : float
        [rad] of the centre; the whole sky has its centre on the equator.
    width, height : float
        Half the extent of what is seen, in the plane.
    whole : bool
        The whole sky.
    """

    ra: float
    dec: float
    width: float
    height: float
    whole: bool

    @classmethod
    def around(cls, cells: Collection[Cell]) -> "View":
        """Choose what shows all of the cells; they may be none."""
        corners = np.concatenate([_find_corners(cell).T for cell in cells] or [np.zeros((0, 2))])
        vectors = _to_vectors(*corners.T)
        mean = vectors.sum(axis=0)
        length = float(np.linalg.norm(mean))
        # Without a direction in common they lie all around.
        if length == 0 or (vectors @ (mean / length)).min() < np.cos(_LOCAL):
            ra = float(np.arctan2(mean[1], mean[0])) if length else 0.0
            return cls(ra, 0.0, 2 * np.sqrt(2), np.sqrt(2), whole=True)
        centre = cls(float(np.arctan2(mean[1], mean[0])), float(np.arcsin(mean[2] / length)), 1.0, 1.0, whole=False)
        reach = [float(np.abs(values).max()) * _MARGIN for values in centre.project(*corners.T)]
        # Not too slim to be seen.
        least = max(reach) / 4
        return cls(centre.ra, centre.dec, max(reach[0], least), max(reach[1], least), whole=False)

    def project(self, ra_N: Floats, dec_N: Floats) -> tuple[Floats, Floats]:
        """Project positions [rad]; those of one polygon must not lie on either side of the edge of the whole sky."""
        turn_N = ra_N - self.ra
        if self.whole:
            root_N = np.sqrt(1 + np.cos(dec_N) * np.cos(turn_N / 2))
            return -2 * np.sqrt(2) * np.cos(dec_N) * np.sin(turn_N / 2) / root_N, np.sqrt(2) * np.sin(dec_N) / root_N
        scale_N = 2 / (1 + np.sin(self.dec) * np.sin(dec_N) + np.cos(self.dec) * np.cos(dec_N) * np.cos(turn_N))
        x_N = -scale_N * np.cos(dec_N) * np.sin(turn_N)
        y_N = np.cos(self.dec) * np.sin(dec_N) - np.sin(self.dec) * np.cos(dec_N) * np.cos(turn_N)
        return x_N, scale_N * y_N

    def find_positions(self, x_N: Floats, y_N: Floats) -> tuple[Floats, Floats]:
        """Return the positions [rad] of points of the plane; NaN beyond the edge of the whole sky."""
        if self.whole:
            square_N = 1 - (x_N / 4) ** 2 - (y_N / 2) ** 2
            # The ellipse, of which the formula tells half.
            root_N = np.sqrt(np.where(square_N > 0.5, square_N, np.nan))
            turn_N = 2 * np.arctan2(root_N * -x_N, 2 * (2 * root_N**2 - 1))
            return self.ra + turn_N, np.arcsin(root_N * y_N)
        radius_N = np.hypot(x_N, y_N)
        angle_N = 2 * np.arctan(radius_N / 2)
        ratio_N = np.sin(angle_N) / np.where(radius_N > 0, radius_N, 1)
        dec_N = np.arcsin(np.clip(np.cos(angle_N) * np.sin(self.dec) + y_N * ratio_N * np.cos(self.dec), -1, 1))
        down_N = np.cos(self.dec) * np.cos(angle_N) - y_N * np.sin(self.dec) * ratio_N
        return self.ra + np.arctan2(-x_N * ratio_N, down_N), dec_N

    def describe(self) -> str:
        """Say what is seen, in words."""
        ra, dec = np.degrees(self.ra) % 360, np.degrees(self.dec)
        if self.whole:
            return f"the whole sky, RA {ra:.0f}° in the middle, east to the left"
        # In the middle a stereographic projection has the scale of the sphere.
        across = np.degrees(4 * np.arctan(np.array([self.width, self.height]) / 2))
        return f"{across[0]:.3g}° by {across[1]:.3g}° around RA {ra:.2f}°, Dec {dec:+.2f}°, east to the left"


def draw_text(sky: Sky, width: int = 72) -> str:
    """Draw the sky in lines of letters: a dot where nothing is done, shades where some, a block where all.

    Parameters
    ----------
    sky : Sky
    width : int
        Letters in a line.
    """
    view = View.around(sky.shares)
    # Letters are twice as high as wide.
    lines = max(3, min(round(width * view.height / view.width / 2), width // 2))
    # Several points a letter, or a strip of the sky would fall between two lines.
    x_X = _place(width * _POINTS) * view.width
    y_Y = -_place(lines * _POINTS) * view.height
    x_N, y_N = (values.ravel() for values in np.meshgrid(x_X, y_Y))
    found_N = _find_shares(sky, *view.find_positions(x_N, y_N))
    found_YPXP = found_N.reshape(lines, _POINTS, width, _POINTS)
    known_YX = np.isfinite(found_YPXP).sum(axis=(1, 3))
    share_YX = np.nansum(found_YPXP, axis=(1, 3)) / np.maximum(known_YX, 1)
    rows = zip(share_YX, known_YX, strict=True)
    drawn = ["".join(_LETTERS[_shade(share)] if n else " " for share, n in zip(*row, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in drawn).strip("\n")


def draw_svg(sky: Sky) -> str:
    """Draw the sky as SVG; cells have the classes ``done0`` (nothing done) to ``done4`` (all)."""
    view = View.around(sky.shares)
    half = _PIXELS / 2, _PIXELS / 2 * view.height / view.width
    scale = half[0] / view.width
    shades: dict[int, list[str]] = {}
    for cell, share in sky.shares.items():
        ra_N, dec_N = _find_corners(cell)
        x_N, y_N = view.project(_unwrap(ra_N, _find_middle(cell), view.ra), dec_N)
        points = " ".join(f"{half[0] + scale * x:.1f},{half[1] - scale * y:.1f}" for x, y in zip(x_N, y_N, strict=True))
        shades.setdefault(_shade(share), []).append(f"M{points}Z")
    outline = (
        f'<ellipse class="edge" cx="{half[0]:.0f}" cy="{half[1]:.0f}" rx="{half[0] - 1:.0f}" ry="{half[1] - 1:.0f}"/>'
        if view.whole
        else f'<rect class="edge" x="1" y="1" width="{2 * half[0] - 2:.0f}" height="{2 * half[1] - 2:.0f}"/>'
    )
    paths = "".join(f'<path class="done{shade}" d="{"".join(shades[shade])}"/>' for shade in sorted(shades))
    size = f"0 0 {2 * half[0]:.0f} {2 * half[1]:.0f}"
    return f'<svg viewBox="{size}" role="img" aria-label="{view.describe()}">{outline}{paths}</svg>'


def _place(number: int) -> Floats:
    """Return the middles of so many equal parts of what lies between -1 and 1."""
    return np.asarray((np.arange(number) + 0.5) * 2 / number - 1)


def _shade(share: float) -> int:
    # All and nothing are told apart from nearly so.
    return 0 if share == 0 else 4 if share == 1 else 1 + min(int(3 * share), 2)


def _to_arrays(partitions: Collection[Partition]) -> IntArray:
    """Return orders and pixels, shape (2, N): there may be a hundred thousand."""
    return np.array([(each.order, each.pixel) for each in partitions], dtype=np.int64).reshape(-1, 2).T


def _enlarge(places: IntArray, order: int) -> IntArray:
    """Return the cell of an order in which each of some pixels lies, or the pixel itself where that is larger.

    A cell is one number, 4^(order + 1) + pixel, as in NUNIQ: sorted, they go by order and pixel.
    """
    up_N = np.maximum(places[0] - order, 0)
    return np.asarray((4 << 2 * (places[0] - up_N)) + (places[1] >> 2 * up_N))


def _name_cell(cell: int) -> Cell:
    order = (cell.bit_length() - 3) // 2
    return order, cell - (4 << 2 * order)


# Of a page that is written anew every few seconds, half of whose time went into this.
@lru_cache(maxsize=4 * _MOST_CELLS)
def _find_corners(cell: Cell) -> Floats:
    """Return RA and Dec [rad] along a cell's border, shape (2, corners); large cells have curved sides."""
    order, pixel = cell
    grid = HEALPix(nside=2**order, order="nested")
    ra, dec = grid.boundaries_lonlat([pixel], step=max(1, 8 >> order))
    return np.stack([ra.radian[0], dec.radian[0]])


@lru_cache(maxsize=4 * _MOST_CELLS)
def _find_middle(cell: Cell) -> float:
    order, pixel = cell
    ra, _ = HEALPix(nside=2**order, order="nested").healpix_to_lonlat([pixel])
    return float(ra.radian[0])


def _unwrap(ra_N: Floats, middle: float, centre: float) -> Floats:
    """Bring RA [rad] of a polygon to the side of the sky on which its middle lies, within half a turn of the centre."""
    side = (middle - centre + np.pi) % (2 * np.pi) - np.pi
    return np.asarray(centre + side + (ra_N - middle + np.pi) % (2 * np.pi) - np.pi)


def _to_vectors(ra_N: Floats, dec_N: Floats) -> Floats:
    return np.column_stack([np.cos(dec_N) * np.cos(ra_N), np.cos(dec_N) * np.sin(ra_N), np.sin(dec_N)])


def _find_shares(sky: Sky, ra_N: Floats, dec_N: Floats) -> Floats:
    """Return what is done at positions [rad]; NaN where there is nothing to do, or the position is NaN."""
    share_N = np.full(len(ra_N), np.nan)
    seen_N = np.flatnonzero(np.isfinite(ra_N))
    for order in sorted({order for order, _ in sky.shares}):
        grid = HEALPix(nside=2**order, order="nested")
        pixel_N = grid.lonlat_to_healpix(ra_N[seen_N] * units.rad, dec_N[seen_N] * units.rad)
        for at, pixel in zip(seen_N, pixel_N, strict=True):
            if (order, int(pixel)) in sky.shares:
                share_N[at] = sky.shares[order, int(pixel)]
    return share_N
