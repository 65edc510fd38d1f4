"""The SDSS main galaxy sample as the simulation makes it, to be held against the real one.

The same spectra, population and variety as in `photoz.simulate.sky`, under the main sample's limit and through SDSS's
filters, with errors like those of real galaxies. `split_galaxies` parts the real ones: from one half the simulation may
take everything, the other is left to compare with.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from photoz.simulate.population import draw_galaxies, find_tilt
from photoz.simulate.residuals import CALIBRATION_ERROR, compute_stated_errors
from photoz.simulate.seds import (
    ERROR_FLOOR,
    MAIN_SAMPLE_LIMIT,
    Floats,
    SdssGalaxies,
    SedLibrary,
    compute_fluxes,
    load_library,
)
from photoz.simulate.variety import Variety, deviate_magnitudes, draw_deviations

BANDS = ("u", "g", "r", "i", "z")

_POGSON = 2.5 / np.log(10)
_BRIGHTEST = 13.0  # mag(AB)
_MARGIN = 0.6  # mag, by which a Petrosian magnitude may be brighter than the fit's
_HIGHEST_REDSHIFT = 0.4
_DONORS = 8


@dataclass(frozen=True, eq=False)
class Observed:
    """N galaxies of the main sample as observed in u g r i z.

    Parameters
    ----------
    redshift_N : ndarray of float64
    magnitude_NB, error_NB : ndarray of float64
        [mag(AB)] dereddened, and [mag]; stated errors have the floor that kcorrect gives them.
    """

    redshift_N: Floats
    magnitude_NB: Floats
    error_NB: Floats

    def __len__(self) -> int:
        return len(self.redshift_N)

    def select(self, which: npt.NDArray[np.bool_]) -> "Observed":
        """Return the galaxies for which a mask is set."""
        return Observed(self.redshift_N[which], self.magnitude_NB[which], self.error_NB[which])

    def compute_colours(self) -> dict[str, Floats]:
        """Compute the colours of neighbouring bands [mag] by their names."""
        return {
            f"{blue} - {red}": self.magnitude_NB[:, column] - self.magnitude_NB[:, column + 1]
            for column, (blue, red) in enumerate(pairwise(BANDS))
        }


def split_galaxies(row_N: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Tell which rows of the package's file are for the simulation, and which (False) to compare with."""
    return np.asarray(row_N % 2 == 0)


def select_main_sample(galaxies: SdssGalaxies) -> npt.NDArray[np.bool_]:
    """Tell which galaxies belong to the main sample and have a flux in u g r i z."""
    whole_N = (galaxies.maggies_NF[:, :5] > 0).all(1) & (galaxies.ivar_NF[:, :5] > 0).all(1)
    inside_N = (galaxies.redshift_N > 0.01) & (galaxies.redshift_N < _HIGHEST_REDSHIFT)
    return np.asarray(whole_N & inside_N & (galaxies.petrosian_N < MAIN_SAMPLE_LIMIT))


def observe_real(galaxies: SdssGalaxies, which_N: npt.NDArray[np.bool_]) -> Observed:
    """Take real galaxies as they were observed."""
    maggies_NB, ivar_NB = galaxies.maggies_NF[which_N, :5], galaxies.ivar_NF[which_N, :5]
    error_NB = _POGSON / (maggies_NB * np.sqrt(ivar_NB))
    return Observed(galaxies.redshift_N[which_N], -2.5 * np.log10(maggies_NB), error_NB)


def simulate_main_sample(
    galaxies: SdssGalaxies, rng: np.random.Generator, number: int, variety: Variety | None
) -> Observed:
    """Simulate the main sample, from the simulation's half of the real galaxies alone.

    Parameters
    ----------
    galaxies : SdssGalaxies
        All that the package has.
    rng : numpy.random.Generator
    number : int
        Of galaxies.
    variety : Variety or None
        None leaves spectra sums of templates.
    """
    library = load_library(BANDS, tuple(f"sdss_{band}0" for band in BANDS))
    library = library.select(split_galaxies(library.row_N))
    mine_N = select_main_sample(galaxies) & split_galaxies(np.arange(len(galaxies.redshift_N)))
    # Its mean redshift is given, as is that of the survey's galaxies (`photoz.simulate.settings`).
    index_N, redshift_N = _draw_main_sample(library, rng, number, float(galaxies.redshift_N[mine_N].mean()))
    magnitude_NB = -2.5 * np.log10(compute_fluxes(library, index_N, redshift_N))
    if variety is not None:
        deviation_NK = draw_deviations(variety, rng, library, index_N)
        magnitude_NB += deviate_magnitudes(variety, deviation_NK, library, redshift_N)
    return _observe(_Donors.from_galaxies(galaxies, mine_N), rng, redshift_N, 10.0 ** (-0.4 * magnitude_NB))


def _draw_main_sample(
    library: SedLibrary, rng: np.random.Generator, number: int, mean_redshift: float
) -> tuple[npt.NDArray[np.intp], Floats]:
    indices, redshifts = np.empty(0, dtype=np.intp), np.empty(0)
    r_band = library.bands.index("r")
    limits = (_BRIGHTEST, MAIN_SAMPLE_LIMIT + _MARGIN)
    while len(indices) < number:
        index_N, redshift_N = draw_galaxies(
            library, rng, 4 * number, magnitudes=limits, highest_redshift=_HIGHEST_REDSHIFT
        )
        magnitude_N = -2.5 * np.log10(compute_fluxes(library, index_N, redshift_N)[:, r_band])
        # The sample's limit is one of Petrosian magnitudes.
        inside_N = magnitude_N + library.selection_N[index_N] < MAIN_SAMPLE_LIMIT
        index_N, redshift_N = index_N[inside_N], redshift_N[inside_N]
        tilt_N = find_tilt(redshift_N, np.ones_like(redshift_N), mean_redshift)
        kept_N = rng.random(len(tilt_N)) < tilt_N / tilt_N.max()
        indices, redshifts = np.append(indices, index_N[kept_N]), np.append(redshifts, redshift_N[kept_N])
    return indices[:number], redshifts[:number]


@dataclass(frozen=True, eq=False)
class _Donors:
    """Errors of real galaxies [maggies], to be found by magnitudes."""

    tree: cKDTree
    error_NB: Floats

    @classmethod
    def from_galaxies(cls, galaxies: SdssGalaxies, which_N: npt.NDArray[np.bool_]) -> "_Donors":
        maggies_NB = galaxies.maggies_NF[which_N, :5]
        error_NB = compute_stated_errors(galaxies)[which_N, :5] / _POGSON * maggies_NB
        return cls(cKDTree(-2.5 * np.log10(maggies_NB)), error_NB)

    def draw(self, rng: np.random.Generator, maggies_NB: Floats) -> Floats:
        """Draw errors of galaxies nearest in magnitudes: alike in brightness and colour, hence in size."""
        magnitude_NB = -2.5 * np.log10(np.maximum(maggies_NB, 1e-12))
        _, nearest_ND = self.tree.query(magnitude_NB, k=_DONORS)
        chosen_N = nearest_ND[np.arange(len(maggies_NB)), rng.integers(0, _DONORS, len(maggies_NB))]
        return np.asarray(self.error_NB[chosen_N])


def _observe(donors: _Donors, rng: np.random.Generator, redshift_N: Floats, true_NB: Floats) -> Observed:
    calibration_B = CALIBRATION_ERROR[:5] / _POGSON
    noise_NB = donors.draw(rng, true_NB) * rng.standard_normal(true_NB.shape)
    maggies_NB = true_NB * (1 + calibration_B * rng.standard_normal(true_NB.shape)) + noise_NB
    # A donor found by what was measured: one found by the truth would tell it (docs/benchmarks/simulated.md).
    stated_NB = np.hypot(donors.draw(rng, maggies_NB), ERROR_FLOOR[:5] * maggies_NB)
    seen_N = (maggies_NB > 0).all(1)
    maggies_NB, stated_NB = maggies_NB[seen_N], stated_NB[seen_N]
    return Observed(redshift_N[seen_N], -2.5 * np.log10(maggies_NB), _POGSON * stated_NB / maggies_NB)
