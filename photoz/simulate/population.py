"""Which galaxies a flux-limited survey sees, and at which redshifts.

Every galaxy of the SDSS main sample stands for 1/V_max galaxies like it in a cubic megaparsec (Schmidt 1968, ApJ 151,
393). A deeper survey sees it wherever it is bright enough, in proportion to the volume there, so luminosities, types
and redshifts come out together as a flux limit makes them; luminosity and density evolve as Loveday et al. (2015,
MNRAS 451, 1540) find for GAMA (Q_e = P_e = 1). That alone gives a mean redshift of 0.27 at r < 20; the published mean
of the KiDS-Bright and GAMA galaxies is 0.23, so the whole is weighted by exp(-k z), with k such that the mean is the
published one: of all changes that give the mean, the smallest in relative entropy.

What this leaves out: large-scale structure (positions and redshifts are independent) and any evolution of the mix of
types but through luminosity.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from photoz.simulate.seds import (
    COSMOLOGY,
    LUMINOSITY_EVOLUTION,
    MAIN_SAMPLE_LIMIT,
    REDSHIFT_STEP,
    Floats,
    SedLibrary,
    compute_distance_modulus,
    compute_fluxes,
)

DENSITY_EVOLUTION = 1.0
"""P_e of Loveday et al. 2015: the comoving density goes as 10^(0.4 P z)."""
# The library's own galaxies begin there, too (`load_library`).
LOWEST_REDSHIFT = 0.01


def draw_galaxies(
    library: SedLibrary,
    rng: np.random.Generator,
    number: int,
    *,
    magnitudes: tuple[float, float],
    highest_redshift: float,
    mean_redshift: float | None = None,
) -> tuple[npt.NDArray[np.intp], Floats]:
    """Draw galaxies that a survey sees between two magnitudes.

    Parameters
    ----------
    library : SedLibrary
        Must have a band "r".
    rng : numpy.random.Generator
    number : int
    magnitudes : (float, float)
        [mag(AB)] brightest and faintest total r magnitude.
    highest_redshift : float
    mean_redshift : float, optional
        Mean of the redshifts; None leaves what the flux limit gives.

    Returns
    -------
    index_N : ndarray of int
        Galaxies of the library.
    redshift_N : ndarray of float64
    """
    cumulative = _tabulate_draw(library, magnitudes, highest_redshift, mean_redshift)
    indices, redshifts = np.empty(0, dtype=np.intp), np.empty(0)
    r_band = library.bands.index("r")
    while len(indices) < number:
        # Some more than are wanted, since some are refused. To the right, so that a cell of no weight is never met.
        cell = np.searchsorted(cumulative, rng.random(number + 16) * cumulative[-1], side="right")
        index, step = np.divmod(cell, len(library.grid_Z))
        # Within its step, or redshifts would come in multiples of 0.005.
        redshift = library.grid_Z[step] + REDSHIFT_STEP * (rng.random(len(cell)) - 0.5)
        # Anew: the table's magnitude is that of the step's middle, and limits hold to the last digit.
        magnitude = -2.5 * np.log10(compute_fluxes(library, index, redshift)[:, r_band])
        seen = (magnitude >= magnitudes[0]) & (magnitude < magnitudes[1])
        seen &= (redshift >= LOWEST_REDSHIFT) & (redshift < highest_redshift)
        # Refused and drawn again, not moved to the limit, where they would pile up.
        indices, redshifts = np.append(indices, index[seen]), np.append(redshifts, redshift[seen])
    return indices[:number], redshifts[:number]


# Two a survey, of its bright and its faint galaxies, which all tiles of a process share.
@lru_cache(maxsize=8)
def _tabulate_draw(
    library: SedLibrary, magnitudes: tuple[float, float], highest_redshift: float, mean_redshift: float | None
) -> Floats:
    """Tabulate the cumulative weight of (galaxy, redshift step), galaxies outermost."""
    magnitude_NZ = _tabulate_magnitudes(library)
    volume_Z = COSMOLOGY.differential_comoving_volume(library.grid_Z).value
    volume_Z = volume_Z * 10.0 ** (0.4 * DENSITY_EVOLUTION * library.grid_Z) * (library.grid_Z >= LOWEST_REDSHIFT)
    # The limit of SDSS is on Petrosian magnitudes, which lie off the template's by an amount that goes with the galaxy.
    in_sdss_NZ = magnitude_NZ + library.selection_N[:, None] < MAIN_SAMPLE_LIMIT
    # At least the nearest step's: a galaxy that the fit makes too faint for the sample would have infinite weight.
    sdss_volume_N = np.maximum((in_sdss_NZ * volume_Z).sum(1), volume_Z[volume_Z > 0][0])
    in_survey_NZ = (magnitude_NZ >= magnitudes[0]) & (magnitude_NZ < magnitudes[1])
    weight_NZ = in_survey_NZ * (library.grid_Z < highest_redshift) * volume_Z / sdss_volume_N[:, None]
    if mean_redshift is not None:
        weight_NZ = weight_NZ * find_tilt(library.grid_Z, weight_NZ.sum(0), mean_redshift)
    return np.asarray(np.cumsum(weight_NZ.ravel()), dtype=np.float64)


def _tabulate_magnitudes(library: SedLibrary) -> Floats:
    """Tabulate the r magnitude of every galaxy at every redshift step, shape (N, Z)."""
    r_band = library.bands.index("r")
    flux_NZ = np.einsum("zt,nt->nz", library.response_ZBT[:, r_band], library.coefficients_NT)
    own_N = library.redshift_N[:, None]
    modulus_NZ = compute_distance_modulus(library.grid_Z) - compute_distance_modulus(library.redshift_N)[:, None]
    # A fit may give no light in r at some redshift: infinitely faint, and in no survey.
    with np.errstate(divide="ignore"):
        magnitude_NZ = -2.5 * np.log10(flux_NZ) + modulus_NZ - LUMINOSITY_EVOLUTION * (library.grid_Z - own_N)
    return np.asarray(magnitude_NZ, dtype=np.float64)


def find_tilt(redshift_Z: Floats, density_Z: Floats, mean: float) -> Floats:
    """Find the factor exp(-k z) that gives a density the wanted mean."""

    def excess(k: float) -> float:
        tilted = density_Z * np.exp(-k * redshift_Z)
        return float((tilted * redshift_Z).sum() / tilted.sum() - mean)

    # At either end nearly all weight lies at one end of the redshifts, so that any mean in between is found.
    return np.asarray(np.exp(-brentq(excess, -50.0, 100.0) * redshift_Z))
