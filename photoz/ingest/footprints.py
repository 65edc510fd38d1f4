"""Which tile holds a source best: of those on whose pixels it lies, the one whose edge is farthest from it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from photoz.errors import TileError
from photoz.survey.wcs import compute_vectors, parse_wcs
from photoz.tiles import open_tile

_READS = 16
_WIDER = 1.01
"""A circle around a tile is drawn so much wider than through its corners: distortion bends its edges."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Footprint:
    """Where a tile lies.

    Parameters
    ----------
    tile : str
        Its name.
    wcs : str
        Header of its WCS, in ICRS, right ascension first; cards joined by newlines.
    shape : (int, int)
        Rows and columns.
    """

    tile: str
    wcs: str
    shape: tuple[int, int]


def read_footprints(store: str, names: Sequence[str]) -> list[Footprint]:
    """Read where the tiles of a store lie; those that are not there, or unfinished, are left out.

    Raises
    ------
    OSError
        The store does not answer.
    """

    def read(name: str) -> Footprint | None:
        try:
            tile = open_tile(store, name)
        # Its images could not be had, which is told elsewhere: its sources may lie on a neighbour.
        except TileError:
            return None
        return Footprint(name, str(tile.attributes["wcs"]), tile.shape)

    # Side by side, since a store takes some 50 ms for each, whoever waits.
    with ThreadPoolExecutor(_READS) as pool:
        return [found for found in pool.map(read, names) if found is not None]


def assign_tiles(ra_N: FloatArray, dec_N: FloatArray, footprints: Sequence[Footprint]) -> npt.NDArray[np.intp]:
    """Give each source to the tile in which it lies farthest from the edge.

    Parameters
    ----------
    ra_N, dec_N : ndarray of float64, shape (N,)
        [deg] ICRS; finite.
    footprints : sequence of Footprint
        Of two in which it lies equally far from the edge, the first counts.

    Returns
    -------
    ndarray of intp, shape (N,)
        Number of the footprint; -1 where a source lies on none.
    """
    found_N, depths_N = np.full(len(ra_N), -1, np.intp), np.zeros(len(ra_N))
    if not len(ra_N):
        return found_N
    tree = cKDTree(compute_vectors(ra_N, dec_N))
    for number, footprint in enumerate(footprints):
        place = _locate(footprint)
        near = np.asarray(tree.query_ball_point(place.centre, place.chord), np.intp)
        if not len(near):
            continue
        depth = measure_depth(place.wcs, footprint.shape, ra_N[near], dec_N[near])
        # NaN, of a position without a pixel, is no greater than anything.
        better = depth > depths_N[near]
        found_N[near[better]], depths_N[near[better]] = number, depth[better]
    return found_N


def measure_depth(wcs: WCS, shape: tuple[int, int], ra_N: FloatArray, dec_N: FloatArray) -> FloatArray:
    """Measure how far positions lie within an image from its nearest edge; below 0 outside, NaN without a pixel.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
    shape : (int, int)
        Rows and columns.
    ra_N, dec_N : ndarray of float64, shape (N,)
        [deg]

    Returns
    -------
    ndarray of float64, shape (N,)
        [pixel]
    """
    # quiet: one position that does not converge must not raise for all.
    x_N, y_N = wcs.all_world2pix(ra_N, dec_N, 0, quiet=True)
    # The first pixel's middle is 0: its outer edge lies half a pixel before.
    depth: FloatArray = np.min([x_N, shape[1] - 1 - x_N, y_N, shape[0] - 1 - y_N], axis=0) + 0.5
    return depth


def may_overlap(one: Footprint, other: Footprint) -> bool:
    """Tell whether two images may have sky in common: whether the circles around them do."""
    first, second = _locate(one), _locate(other)
    return float(np.linalg.norm(first.centre - second.centre)) <= first.chord + second.chord


@dataclass(frozen=True, eq=False)
class _Place:
    """A footprint's WCS, and the circle on the sky that holds it: unit vector, and chord of its radius."""

    wcs: WCS
    centre: FloatArray
    chord: float


@lru_cache(maxsize=4096)
def _locate(footprint: Footprint) -> _Place:
    # Once a process: a part of a catalogue has many batches, and a survey a thousand tiles.
    wcs, (rows, columns) = parse_wcs(footprint.wcs, name=footprint.tile), footprint.shape
    # The middle, then the corners.
    x, y = np.array([0.5, 0, 1, 0, 1]) * columns - 0.5, np.array([0.5, 0, 0, 1, 1]) * rows - 0.5
    vectors = compute_vectors(*wcs.all_pix2world(x, y, 0))
    chord = _WIDER * float(np.linalg.norm(vectors[1:] - vectors[0], axis=1).max())
    return _Place(wcs, vectors[0], chord)
