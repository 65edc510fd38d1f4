"""Sizes and profiles of galaxies from published relations with type, luminosity and redshift.

Every galaxy is a Sersic bulge and an exponential disc, either of which may be empty. Bulges hold only light of the
old templates, so that discs are bluer than bulges while the sum keeps the galaxy's nine-band photometry. Discs are the
more inclined the redder they are, and inclined ones hide more of their bulges (`photoz.simulate.dust`). Types come
from colour alone, so red dusty discs are drawn as spheroids; some 59 % of the galaxies with r < 20 are early types.

References
----------
Types: Baldry et al. 2004, ApJ 600, 681, eq. 11 (the divider in rest-frame u - r and M_r).
Sizes: Shen et al. 2003, MNRAS 343, 978, eqs. 14-16 with the coefficients of the fits to M_r, h = 0.7.
Evolution of sizes at given mass: van der Wel et al. 2014, ApJ 788, 28, (1+z)^-0.75 late, (1+z)^-1.48 early.
Sersic index of early types: Graham & Guzman 2003, AJ 125, 2936, M_B = -9.4 log n - 14.3.
Bulges of late types: Weinzierl et al. 2009, ApJ 696, 411 (two thirds have B/T <= 0.2, n about 2); size relative to the
disc: Graham & Worley 2008, MNRAS 388, 1708 (effective radius 0.2 disc scale lengths).
Axis ratios of early types: a Gaussian of mean 0.75 and width 0.15, about what SDSS shows (Padilla & Strauss 2008, MNRAS
388, 1321), not their full model.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from photoz.simulate.dust import compute_bulge_dimming, compute_disc_ratio, draw_cosines
from photoz.simulate.seds import COSMOLOGY, LUMINOSITY_EVOLUTION, Floats, SedLibrary, compute_fluxes

REFERENCE_REDSHIFT = 0.1
"""Of the SDSS galaxies that the size relation describes."""
LATE_BULGE_INDEX = 2.0

_BULGE_TO_DISC = 0.2 / 1.678  # half-light radii; a disc's is 1.678 scale lengths
_INDEX_STEP = 0.5  # GalSim tabulates each Sersic index once, so few distinct ones render fast


@dataclass(frozen=True, eq=False)
class Shapes:
    """Profiles of N galaxies.

    Parameters
    ----------
    early_N : ndarray of bool
    bulge_index_N : ndarray of float64
        Sersic index.
    bulge_radius_N, disc_radius_N, radius_N : ndarray of float64
        [arcsec] circularised half-light radius of the bulge, the disc and the whole.
    bulge_ratio_N, disc_ratio_N : ndarray of float64
        Axis ratio, minor over major.
    angle_N : ndarray of float64
        [rad] of the major axis.
    bulge_fraction_NB : ndarray of float64
        Of the flux of each band.
    """

    early_N: npt.NDArray[np.bool_]
    bulge_index_N: Floats
    bulge_radius_N: Floats
    disc_radius_N: Floats
    radius_N: Floats
    bulge_ratio_N: Floats
    disc_ratio_N: Floats
    angle_N: Floats
    bulge_fraction_NB: Floats


def draw_shapes(
    library: SedLibrary, rng: np.random.Generator, index_N: npt.NDArray[np.intp], redshift_N: Floats
) -> Shapes:
    """Draw the profiles of galaxies of the library at the redshifts they were moved to.

    Parameters
    ----------
    library : SedLibrary
        Must have a band "r".
    rng : numpy.random.Generator
    index_N : ndarray of int
        Galaxies of the library.
    redshift_N : ndarray of float64
        Above 0.
    """
    _, g_N, r_N = library.absolute_N3[index_N].T
    # The relation holds at z = 0.1, so its luminosity is the galaxy's there; sizes then evolve at given mass.
    r_N = r_N - LUMINOSITY_EVOLUTION * (REFERENCE_REDSHIFT - library.redshift_N[index_N])
    early_N = _find_early_types(library)[index_N]
    # Log-normal, by eq. 16's scatter of ln(radius). Cut at 3 sigma: at a scatter of 0.48 the largest has 4.2 times the
    # median.
    radius_N = compute_median_radius(r_N, early_N) * np.exp(
        compute_radius_scatter(r_N) * np.clip(rng.standard_normal(len(r_N)), -3, 3)
    )
    radius_N = radius_N * compute_size_evolution(redshift_N, early_N) * _arcsec_per_kpc(redshift_N)
    cosine_N = draw_cosines(library, rng, index_N, ~_find_early_types(library))
    bulge_fraction_NB = draw_bulge_fraction(library, rng, early_N, (index_N, redshift_N), cosine_N)
    # In r, the band of the size relation; sizes in other bands follow from the bulge's share there.
    disc_radius_N = radius_N / compute_radius_of_sum(bulge_fraction_NB[:, library.bands.index("r")])
    disc_ratio_N = compute_disc_ratio(cosine_N)
    blue_N = r_N + (g_N - r_N) * 1.39 + 0.21  # B = g + 0.39 (g - r) + 0.21, Jester et al. 2005, AJ 130, 873
    return Shapes(
        early_N=early_N,
        bulge_index_N=np.where(early_N, draw_sersic_index(rng, blue_N), LATE_BULGE_INDEX),
        bulge_radius_N=np.where(early_N, radius_N, disc_radius_N * _BULGE_TO_DISC),
        disc_radius_N=disc_radius_N,
        radius_N=radius_N,
        # Early types are a bulge alone. A late type's bulge is rounder than its disc at every inclination.
        bulge_ratio_N=np.where(early_N, draw_early_ratio(rng, len(r_N)), np.sqrt(disc_ratio_N)),
        disc_ratio_N=disc_ratio_N,
        angle_N=rng.uniform(0.0, np.pi, len(r_N)),
        bulge_fraction_NB=bulge_fraction_NB,
    )


def _find_early_types(library: SedLibrary) -> npt.NDArray[np.bool_]:
    u_L, _, r_L = library.absolute_N3.T
    r_there_L = r_L - LUMINOSITY_EVOLUTION * (REFERENCE_REDSHIFT - library.redshift_N)
    # Luminosities evolve, colours do not: once r alone was brought to z = 0.1, and types parted at another colour for
    # galaxies nearby than for distant ones.
    return is_early_type(u_L - r_L, r_there_L)


def is_early_type(colour_N: Floats, absolute_N: Floats) -> npt.NDArray[np.bool_]:
    """Tell early from late types by rest-frame u - r [mag] and M_r [mag] (Baldry et al. 2004, eq. 11).

    Examples
    --------
    >>> is_early_type(np.array([2.6, 1.5]), np.array([-21.0, -21.0]))
    array([ True, False])
    """
    # The divider is flat at both ends and steep about M_r = -20.07.
    return np.asarray(colour_N > 2.06 - 0.244 * np.tanh((absolute_N + 20.07) / 1.09))


def compute_median_radius(absolute_N: Floats, early_N: npt.NDArray[np.bool_]) -> Floats:
    """Compute the median half-light radius [kpc] at M_r [mag] (Shen et al. 2003, eqs. 14 and 15).

    Examples
    --------
    >>> compute_median_radius(np.array([-20.52, -20.52]), np.array([True, False])).round(2)
    array([1.97, 3.24])
    """
    # log10 of kpc. Early: a = 0.60, b = -4.63; late below: alpha = 0.21, beta = 0.53, gamma = -1.31, M0 = -20.52.
    early = -0.4 * 0.60 * absolute_N - 4.63
    # Below M_r of about -19 the relation is an extrapolation; faint red galaxies are small but not points.
    late = -0.4 * 0.21 * absolute_N + (0.53 - 0.21) * np.log10(1 + 10.0 ** (-0.4 * (absolute_N + 20.52))) - 1.31
    return np.asarray(np.where(early_N, np.maximum(10.0**early, 0.7), 10.0**late))


def compute_radius_scatter(absolute_N: Floats) -> Floats:
    """Compute the scatter of ln(radius) at M_r [mag] (Shen et al. 2003, eq. 16)."""
    # sigma1 = 0.48 for faint galaxies, sigma2 = 0.25 for luminous ones, the change at M0 = -20.52.
    return np.asarray(0.25 + (0.48 - 0.25) / (1 + 10.0 ** (-0.8 * (absolute_N + 20.52))))


def compute_size_evolution(redshift_N: Floats, early_N: npt.NDArray[np.bool_]) -> Floats:
    """Compute the size relative to z = 0.1 at given mass (van der Wel et al. 2014)."""
    return np.asarray(((1 + redshift_N) / (1 + REFERENCE_REDSHIFT)) ** np.where(early_N, -1.48, -0.75))


def draw_bulge_fraction(
    library: SedLibrary,
    rng: np.random.Generator,
    early_N: npt.NDArray[np.bool_],
    galaxies: tuple[npt.NDArray[np.intp], Floats],
    cosine_N: Floats,
) -> Floats:
    """Draw the bulge's share of the flux in every band.

    A late type's share in r is log-normal, at most that of its old templates, and has their colours.

    Parameters
    ----------
    library : SedLibrary
    rng : numpy.random.Generator
    early_N : ndarray of bool
    galaxies : (ndarray of int, ndarray of float64)
        Of length N: galaxies of the library, and the redshifts they were moved to.
    cosine_N : ndarray of float64
        Of the discs' inclinations.

    Returns
    -------
    ndarray of float64, shape (N, B)
        From 0 to 1; 1 for early types.
    """
    old_NB = compute_fluxes(library, *galaxies, old_only=True) / compute_fluxes(library, *galaxies)
    old_r_N = old_NB[:, library.bands.index("r")]
    # Median 0.14 and width 0.87 put 66 % of the late types at B/T <= 0.2, as Weinzierl et al. find two thirds.
    wanted_N = 0.14 * np.exp(0.87 * rng.standard_normal(len(early_N)))
    # A bulge cannot have more light than the old templates give: its disc would be negative in red bands. Galaxies
    # without old stars have none.
    share_N = np.divide(np.minimum(wanted_N, old_r_N), old_r_N, out=np.zeros_like(old_r_N), where=old_r_N > 0)
    # One share of the old light in all bands: bulge and disc add up to the galaxy's own colours.
    dimming_NB = compute_bulge_dimming(cosine_N, library.wavelength_B / (1 + galaxies[1][:, None]))
    # At most all of the galaxy, where a bulge that is seen freely has more light than in the mean.
    late_NB = np.minimum(share_N[:, None] * old_NB * 10.0 ** (-0.4 * dimming_NB), 1.0)
    return np.where(early_N[:, None], 1.0, late_NB)


def compute_radius_of_sum(bulge_fraction_N: Floats) -> Floats:
    """Compute the half-light radius of bulge and disc together, in half-light radii of the disc.

    The bulge is so small beside the disc that nearly all of it lies inside: the disc must supply what is missing to
    one half. Shares above one half are taken at 0.45, where the sum is still disc-like.
    """
    share = np.minimum(bulge_fraction_N, 0.45)
    # Of the disc's light, what must lie within the radius beside all of the bulge.
    wanted = (0.5 - share) / (1 - share)
    x = np.linspace(0.0, 1.7, 400)  # scale lengths
    # Share of an exponential disc's light within x scale lengths; 1.7 of them hold a little more than half.
    enclosed = 1 - (1 + x) * np.exp(-x)
    return np.asarray(np.maximum(np.interp(wanted, enclosed, x) / 1.678, 0.35))


def draw_sersic_index(rng: np.random.Generator, blue_N: Floats) -> Floats:
    """Draw Sersic indices of early types at M_B [mag], 2 to 6 in steps of 0.5 (Graham & Guzman 2003)."""
    logarithm_N = -(blue_N + 14.3) / 9.4 + 0.1 * rng.standard_normal(len(blue_N))
    return np.asarray(np.clip(np.round(10.0**logarithm_N / _INDEX_STEP) * _INDEX_STEP, 2.0, 6.0))


def draw_early_ratio(rng: np.random.Generator, number: int) -> Floats:
    """Draw axis ratios of early types."""
    return np.clip(0.75 + 0.15 * rng.standard_normal(number), 0.3, 1.0)


def _arcsec_per_kpc(redshift_N: Floats) -> Floats:
    return np.asarray(COSMOLOGY.arcsec_per_kpc_proper(redshift_N).value, dtype=np.float64)
