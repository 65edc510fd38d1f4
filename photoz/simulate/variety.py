"""Spectral variety: what real galaxies have and sums of templates lack, drawn anew for each simulated galaxy.

A galaxy's spectrum is its fitted sum of templates times a smooth deviation, in magnitudes a straight line between knots
of rest wavelength. Its mean and covariance are those of real galaxies about their own fits (`residuals`), by type, and
its tails are as heavy (a multivariate t distribution). They lie in ``variety.json``: derived from the galaxies of the
package kcorrect by tests/benchmarks/measure_variety.py, from every second galaxy, so that the others can judge.

What this leaves out: the deviations measured at a galaxy's own redshift are what its fit could not follow there; those
that the fit followed went into its templates. Beyond the knots the deviation stays as at the last.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Self

import numpy as np
import numpy.typing as npt

from photoz.simulate.seds import Floats, SedLibrary

_LARGEST_SCALE = 3.0  # of a draw from the tails: the t distribution has no end, and a survey's spectra have


@dataclass(frozen=True, eq=False)
class Variety:
    """Deviations of spectra from their templates, by type, at K knots.

    Parameters
    ----------
    wavelength_K : ndarray of float64
        [Angstrom] knots at rest, rising.
    edges : tuple of float
        [mag(AB)] rest-frame u - r that parts the Y types, rising; Y - 1 of them.
    mean_YK : ndarray of float64
        [mag] added to the templates' magnitudes.
    covariance_YKK : ndarray of float64
        [mag^2] of a draw without its tails (the scale matrix of the t distribution), positive definite.
    freedom_Y : ndarray of float64
        Degrees of freedom of the t distribution.
    """

    wavelength_K: Floats
    edges: tuple[float, ...]
    mean_YK: Floats
    covariance_YKK: Floats
    freedom_Y: Floats

    def to_dict(self) -> dict[str, object]:
        """Return what `from_dict` reads, rounded to 1e-5 mag and 1e-8 mag^2."""
        return {
            "wavelength": self.wavelength_K.tolist(),
            "edges": list(self.edges),
            "mean": self.mean_YK.round(5).tolist(),
            "covariance": self.covariance_YKK.round(8).tolist(),
            "freedom": self.freedom_Y.round(2).tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Sequence[float]]) -> Self:
        """Read what `to_dict` returns."""
        arrays = (np.asarray(values[name], dtype=np.float64) for name in ("mean", "covariance", "freedom"))
        return cls(np.asarray(values["wavelength"], dtype=np.float64), tuple(values["edges"]), *arrays)


@lru_cache(maxsize=1)
def load_variety() -> Variety:
    """Read the variety that comes with photoz."""
    return Variety.from_dict(json.loads(files("photoz.simulate").joinpath("variety.json").read_text(encoding="utf-8")))


def find_types(library: SedLibrary, index_N: npt.NDArray[np.intp], edges: Sequence[float]) -> npt.NDArray[np.intp]:
    """Find the type of galaxies of the library by their rest-frame u - r [mag(AB)]."""
    colour_N = library.absolute_N3[index_N, 0] - library.absolute_N3[index_N, 2]
    return np.asarray(np.searchsorted(edges, colour_N, side="right"))


def draw_deviations(
    variety: Variety, rng: np.random.Generator, library: SedLibrary, index_N: npt.NDArray[np.intp]
) -> Floats:
    """Draw the deviations of galaxies' spectra.

    Parameters
    ----------
    variety : Variety
    rng : numpy.random.Generator
    library : SedLibrary
    index_N : ndarray of int
        Galaxies of the library, of which only the type counts.

    Returns
    -------
    ndarray of float64, shape (N, K)
        [mag] at the knots.
    """
    type_N = find_types(library, index_N, variety.edges)
    normal_NK = rng.standard_normal((len(index_N), len(variety.wavelength_K)))
    freedom_N = variety.freedom_Y[type_N]
    scale_N = np.minimum(np.sqrt(freedom_N / rng.chisquare(freedom_N)), _LARGEST_SCALE)
    # Cholesky's factor turns independent numbers into correlated ones.
    root_YKK = np.linalg.cholesky(variety.covariance_YKK)
    drawn_NK = np.einsum("nkj,nj->nk", root_YKK[type_N], normal_NK)
    return np.asarray(variety.mean_YK[type_N] + scale_N[:, None] * drawn_NK)


def deviate_magnitudes(variety: Variety, deviation_NK: Floats, library: SedLibrary, redshift_N: Floats) -> Floats:
    """Tell by how much deviations change magnitudes, that of r left as it is.

    Parameters
    ----------
    variety : Variety
    deviation_NK : ndarray of float64
        [mag] at the knots.
    library : SedLibrary
        Must have a band "r".
    redshift_N : ndarray of float64
        Where the galaxies are.

    Returns
    -------
    ndarray of float64, shape (N, B)
        [mag] to be added. Against r, in which galaxies are drawn: only colours deviate, and the limits in r hold.
    """
    wavelength_NB = library.wavelength_B / (1 + redshift_N[:, None])
    change_NB = np.einsum("nbk,nk->nb", interpolate_knots(variety.wavelength_K, wavelength_NB), deviation_NK)
    r_band = library.bands.index("r")
    return np.asarray(change_NB - change_NB[:, r_band : r_band + 1])


def interpolate_knots(wavelength_K: Floats, wavelength_NB: Floats) -> Floats:
    """Compute the weights of knots in values between them, linear in the logarithm of the wavelength.

    Parameters
    ----------
    wavelength_K : ndarray of float64
        [Angstrom] of the knots, rising.
    wavelength_NB : ndarray of float64
        [Angstrom]; beyond the knots, the last one counts.

    Returns
    -------
    ndarray of float64, shape (N, B, K)
        At most two are not 0, and they add up to 1.
    """
    position_NB = np.interp(np.log(wavelength_NB), np.log(wavelength_K), np.arange(len(wavelength_K)))
    # A triangle about each knot, which is 0 at its neighbours.
    return np.asarray(np.maximum(1 - np.abs(position_NB[..., None] - np.arange(len(wavelength_K))), 0.0))
