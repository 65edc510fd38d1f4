"""Dust in discs: the more inclined, the redder, so that a galaxy's image says something about its colours.

Colours of the simulation are those of real galaxies, whose dust is in them already. So nothing is reddened: a disc is
given an inclination that goes with its colour. That is a draw from what the published relation leaves possible: a late
type that is redder than others of its luminosity is more likely seen edge-on, by as much as inclination accounts for
among all other causes of its colour. Over all galaxies, directions stay random.

Bulges lie behind the middle of the disc, where most of its dust is: they lose more than the disc does.

References
----------
Unterborn & Ryden 2008, ApJ 687, 976: discs of axis ratio q are fainter in r by 1.27 (log10 q)^2 mag than face-on ones,
those brighter than M_r = -19.
Driver et al. 2007, MNRAS 379, 1022: bulges lose 0.84 + 2.16 (1 - cos i)^2.48 mag in B, discs 0.20 + 0.95 (1 - cos
i)^2.18 (the abstract: bulges lose 50 to 95 %).
Charlot & Fall 2000, ApJ 539, 718: attenuation goes with wavelength to the power of -0.7.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from photoz.simulate.seds import Floats, SedLibrary

DISC_THICKNESS = 0.2
"""Axis ratio of a disc seen edge-on (Hubble 1926, ApJ 64, 321)."""

_FAINTEST_DUSTY = -19.0  # mag, M_r
_SLOPE = -0.7
_U, _B, _R = 3550.0, 4400.0, 6170.0  # Angstrom
_DIRECTIONS = np.linspace(0.0, 1.0, 201)  # cosines of the inclination


def compute_disc_ratio(cosine_N: Floats) -> Floats:
    """Compute the axis ratio of thick discs by the cosine of their inclination (Hubble 1926)."""
    return np.asarray(np.sqrt(cosine_N**2 * (1 - DISC_THICKNESS**2) + DISC_THICKNESS**2))


def compute_reddening(cosine_N: Floats) -> Floats:
    """Compute by how much a disc is redder than face-on [mag] in u - r at rest (Unterborn & Ryden 2008).

    Examples
    --------
    >>> compute_reddening(np.array([0.0, 1.0])).round(2)
    array([0.29, 0.  ])
    """
    dimming_N = 1.27 * np.log10(compute_disc_ratio(cosine_N)) ** 2
    return np.asarray(dimming_N * ((_U / _R) ** _SLOPE - 1))


def compute_bulge_dimming(cosine_N: Floats, wavelength_NB: Floats) -> Floats:
    """Compute how much more a bulge loses than its disc [mag], against the mean of all directions (Driver et al. 2007).

    Parameters
    ----------
    cosine_N : ndarray of float64
        Of the inclination.
    wavelength_NB : ndarray of float64
        [Angstrom] at rest.
    """

    def differ(cosine: Floats) -> Floats:
        return np.asarray(2.16 * (1 - cosine) ** 2.48 - 0.95 * (1 - cosine) ** 2.18)

    against_mean_N = differ(cosine_N) - differ(_DIRECTIONS).mean()
    return np.asarray(against_mean_N[:, None] * (wavelength_NB / _B) ** _SLOPE)


def draw_cosines(
    library: SedLibrary, rng: np.random.Generator, index_N: npt.NDArray[np.intp], late_L: npt.NDArray[np.bool_]
) -> Floats:
    """Draw the cosines of discs' inclinations, of luminous late types by their colour.

    Parameters
    ----------
    library : SedLibrary
        Of L galaxies.
    rng : numpy.random.Generator
    index_N : ndarray of int
        Galaxies of the library.
    late_L : ndarray of bool
        Which galaxies of the library are late types.

    Returns
    -------
    ndarray of float64, shape (N,)
        From 0 (edge-on) to 1; random directions for early and for faint types.
    """
    excess_L, spread = _measure_excess(library, late_L.tobytes())
    excess_N = excess_L[index_N]
    reddening_D = compute_reddening(_DIRECTIONS)
    reddening_D = reddening_D - reddening_D.mean()
    # What inclination does not account for; all other causes together.
    other = np.sqrt(max(spread**2 - reddening_D.var(), 0.25 * spread**2))
    density_ND = np.exp(-0.5 * ((excess_N[:, None] - reddening_D) / other) ** 2)
    density_ND[~np.isfinite(excess_N)] = 1.0
    below_ND = np.cumsum(density_ND, axis=1)
    wanted_N = rng.random(len(index_N)) * below_ND[:, -1]
    cell_N = (below_ND <= wanted_N[:, None]).sum(1)
    # Within its cell, or inclinations would come in multiples of a step; a half at either end.
    before_N = np.where(cell_N > 0, np.take_along_axis(below_ND, np.maximum(cell_N - 1, 0)[:, None], 1)[:, 0], 0.0)
    within_N = (wanted_N - before_N) / np.take_along_axis(density_ND, cell_N[:, None], 1)[:, 0]
    return np.asarray(np.clip((cell_N + within_N) / len(_DIRECTIONS), 0.0, 1.0))


@lru_cache(maxsize=4)
def _measure_excess(library: SedLibrary, late: bytes) -> tuple[Floats, float]:
    """Measure by how much u - r is redder than the mean of late types of that luminosity [mag], and its spread."""
    u_L, _, r_L = library.absolute_N3.T
    dusty_L = np.frombuffer(late, dtype=bool) & (r_L < _FAINTEST_DUSTY)
    line = np.polyfit(r_L[dusty_L], (u_L - r_L)[dusty_L], 1)
    excess_L = np.where(dusty_L, u_L - r_L - np.polyval(line, r_L), np.nan)
    return excess_L, float(np.nanstd(excess_L))
