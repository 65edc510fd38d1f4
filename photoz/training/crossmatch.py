"""Matching two catalogues on the sky, one to one. Pure functions on arrays."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from astropy_healpix import HEALPix

from photoz.errors import TrainingError

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SPLITS = ("train", "valid", "calib", "test")
_EDGE_STEPS = 8  # points on each edge of a HEALPix pixel, to find how far it reaches


def match_sky(
    sources: tuple[Array, Array], spectra: tuple[Array, Array], *, radius_arcsec: float
) -> tuple[Indices, Indices, Array]:
    """Match positions one to one: the nearest pairs first, each position used once.

    Parameters
    ----------
    sources, spectra : (ndarray, ndarray) of float64
        [deg] right ascension and declination, shape (N,) and (M,).
    radius_arcsec : float
        [arcsec] greatest separation of a pair.

    Returns
    -------
    source_K, spectrum_K : ndarray of int64, shape (K,)
        Indices of the pairs, in the order of the sources.
    separation_K : ndarray of float64, shape (K,)
        [arcsec]

    Raises
    ------
    TrainingError
        The radius is not positive, or a position is not finite.

    Examples
    --------
    >>> near, far = 10.0 + 0.2 / 3600, 10.0 + 0.8 / 3600
    >>> match_sky((np.array([10.0]), np.array([0.0])), (np.array([far, near]), np.zeros(2)), radius_arcsec=1.0)[1]
    array([1])
    """
    if not radius_arcsec > 0:
        raise TrainingError(f"crossmatch.radius_arcsec = {radius_arcsec} arcsec must be positive")
    if not all(np.isfinite(values).all() for values in (*sources, *spectra)):
        raise TrainingError("a position to match is not finite: leave such rows out of the catalogue")
    if not len(sources[0]) or not len(spectra[0]):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    places = SkyCoord(*sources, unit="deg"), SkyCoord(*spectra, unit="deg")
    # All pairs within the radius, not each one's nearest: the nearest may be nearer still to another, and the next one
    # serves.
    source_P, spectrum_P, separation_P, _ = search_around_sky(*places, radius_arcsec * u.arcsec)
    separations = separation_P.arcsec
    kept = _choose_nearest(source_P, spectrum_P, separations)
    return source_P[kept].astype(np.int64), spectrum_P[kept].astype(np.int64), separations[kept]


def _choose_nearest(source_P: Indices, spectrum_P: Indices, separation_P: Array) -> Indices:
    """Return the pairs to keep, nearest first and each index once, in the order of the sources."""
    kept: list[int] = []
    used_sources: set[int] = set()
    used_spectra: set[int] = set()
    # The last key sorts first: by separation, and by index where pairs are equally far, so that no result hangs on the
    # order of the search.
    for pair in np.lexsort((spectrum_P, source_P, separation_P)):
        source, spectrum = int(source_P[pair]), int(spectrum_P[pair])
        if source not in used_sources and spectrum not in used_spectra:
            used_sources.add(source)
            used_spectra.add(spectrum)
            kept.append(int(pair))
    # The type is named for the empty list, which numpy would make float64, and no index.
    chosen = np.array(kept, dtype=np.int64)
    return chosen[np.argsort(source_P[chosen], kind="stable")]


def select_around_pixel(ra_M: Array, dec_M: Array, *, order: int, pixel: int, margin_arcsec: float) -> Indices:
    """Select the positions in the smallest circle around a HEALPix pixel (NESTED), widened by a margin.

    Parameters
    ----------
    ra_M, dec_M : ndarray of float64, shape (M,)
        [deg]
    order, pixel : int
    margin_arcsec : float
        [arcsec]

    Returns
    -------
    ndarray of int64
        Indices; they include every position in the pixel or within the margin of it.
    """
    # NESTED, as HATS numbers its partitions.
    grid = HEALPix(nside=2**order, order="nested")
    centre = SkyCoord(*grid.healpix_to_lonlat(pixel))
    edge = SkyCoord(*(angle.ravel() for angle in grid.boundaries_lonlat([pixel], step=_EDGE_STEPS)))
    # The edge is sampled: 2 % more covers what lies between the points.
    radius = centre.separation(edge).max() * 1.02 + margin_arcsec * u.arcsec
    # A circle and not the pixel: a few spectra too many cost nothing, since the match itself goes by distance.
    return np.flatnonzero(SkyCoord(ra_M, dec_M, unit="deg").separation(centre) <= radius).astype(np.int64)


def assign_splits(object_ids: Iterable[str], *, seed: int, fractions: Sequence[float]) -> list[str]:
    """Assign each galaxy to one of `SPLITS` by a hash of its identifier and the seed.

    The split of a galaxy depends on nothing else, so it is the same in any order, partitioning or later release.

    Parameters
    ----------
    object_ids : iterable of str
    seed : int
        ``run.seed``.
    fractions : sequence of four float
        Of train, valid, calib and test; they add up to 1.

    Examples
    --------
    >>> assign_splits(["a", "b", "c"], seed=1, fractions=(1.0, 0.0, 0.0, 0.0))
    ['train', 'train', 'train']
    """
    # Without the last sum, which may round to just below 1: a draw above it would be in no split.
    edges = np.cumsum(fractions)[:-1]
    draws = [_hash_to_unit(f"{seed}:{name}") for name in object_ids]
    # Of the right side, so that a draw of exactly 0 cannot fall into a first split whose fraction is 0.
    return [SPLITS[int(place)] for place in np.searchsorted(edges, draws, side="right")]


def _hash_to_unit(text: str) -> float:
    """Map a text to [0, 1), evenly."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53  # 53 bits: all that a float holds
