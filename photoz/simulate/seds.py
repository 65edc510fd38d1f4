"""Spectra of real galaxies, and what they look like at another redshift.

The PyPI package kcorrect carries 10,000 SDSS galaxies with spectroscopic redshifts and 2MASS magnitudes. Its v4
templates are fitted to each galaxy's u g r i z J H K, and the fitted sum of templates is the galaxy's spectrum.

The templates hold the emission lines of their young stars' gas (MAPPINGS-III), so that lines follow star formation.
What sums of five templates lack of nature's variety, `photoz.simulate.variety` adds.

What this leaves out: emission by active nuclei is absent; stellar populations do not grow younger with redshift
(luminosities brighten, colours do not).

References
----------
Blanton & Roweis 2007, AJ 133, 734 (kcorrect, its templates and the 2MASS Vega-to-AB offsets).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import kcorrect
import kcorrect.kcorrect
import kcorrect.response
import kcorrect.utils
import numpy as np
import numpy.typing as npt
from astropy.cosmology import FlatLambdaCDM
from astropy.io import fits

Floats = npt.NDArray[np.float64]

COSMOLOGY = FlatLambdaCDM(H0=70.0, Om0=0.3)
"""That of the published relations used here (h = 0.7)."""

REDSHIFT_STEP = 0.005
HIGHEST_REDSHIFT = 1.2
LUMINOSITY_EVOLUTION = 1.0
"""[mag per unit redshift] brightening in r, Q_e of Loveday et al. 2015, MNRAS 451, 1540 (whole sample, P_e = 1)."""
MAIN_SAMPLE_LIMIT = 17.77
"""[mag(AB)] Petrosian r, dereddened, of the SDSS main galaxy sample (Strauss et al. 2002, AJ 124, 1810)."""
ERROR_FLOOR = np.array([0.05, 0.02, 0.02, 0.02, 0.03, 0.05, 0.05, 0.05])
"""Of u g r i z J H K, a fraction of the flux: the least error that a fit gives them, as kcorrect does."""

_TWOMASS_VEGA_TO_AB = np.array([0.91, 1.39, 1.85])
_FIT_RESPONSES = ["sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0", "twomass_J", "twomass_H", "twomass_Ks"]
_YOUNG_FRACTION = 1e-3  # of a template's stars, formed in the last 300 Myr; the templates lie at 0 or above 0.7


@dataclass(frozen=True, eq=False)
class SedLibrary:
    """Fitted spectra of N galaxies of the SDSS main sample, by T templates and B output bands.

    Parameters
    ----------
    bands : tuple of str, length B
    row_N : ndarray of int
        Row of each galaxy in the package's file.
    coefficients_NT : ndarray of float64
        Template coefficients at each galaxy's own redshift.
    redshift_N : ndarray of float64
        Of the galaxy as observed.
    absolute_N3 : ndarray of float64
        [mag(AB)] rest-frame absolute u, g, r at the galaxy's own redshift.
    selection_N : ndarray of float64
        [mag] Petrosian minus template r magnitude: what the main sample's limit acts on.
    grid_Z : ndarray of float64
        Redshifts at which the responses are tabulated.
    response_ZBT : ndarray of float64
        Flux [maggies] of a template of unit coefficient in a band.
    wavelength_B : ndarray of float64
        [Angstrom] pivot of each band.
    old_T : ndarray of bool
        Templates without stars younger than 300 Myr: what bulges are made of.
    """

    bands: tuple[str, ...]
    row_N: npt.NDArray[np.intp]
    coefficients_NT: Floats
    redshift_N: Floats
    absolute_N3: Floats
    selection_N: Floats
    grid_Z: Floats
    response_ZBT: Floats
    wavelength_B: Floats
    old_T: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.redshift_N)

    def select(self, which: npt.NDArray[np.bool_]) -> Self:
        """Return the galaxies for which a mask is set."""
        names = ("row_N", "coefficients_NT", "redshift_N", "absolute_N3", "selection_N")
        return replace(self, **{name: getattr(self, name)[which] for name in names})


@dataclass(frozen=True, eq=False)
class SdssGalaxies:
    """N galaxies of the SDSS main sample as observed, in F bands: u g r i z J H K.

    Parameters
    ----------
    redshift_N : ndarray of float64
    maggies_NF : ndarray of float64
        [maggies] dereddened AB fluxes; 0 where 2MASS saw nothing.
    ivar_NF : ndarray of float64
        [maggies^-2] their inverse variances with an error floor; 0 where 2MASS saw nothing.
    petrosian_N : ndarray of float64
        [mag(AB)] dereddened Petrosian r magnitude; NaN or infinite where that flux is not positive.
    ra_N, dec_N : ndarray of float64
        [deg]
    """

    redshift_N: Floats
    maggies_NF: Floats
    ivar_NF: Floats
    petrosian_N: Floats
    ra_N: Floats
    dec_N: Floats


@dataclass(frozen=True, eq=False)
class Fit:
    """Templates fitted to N galaxies in F bands: u g r i z J H K.

    Parameters
    ----------
    coefficients_NT : ndarray of float64
        Of the templates, 0 or more.
    response_NFT : ndarray of float64
        [maggies] flux of a template of unit coefficient at the galaxy's redshift.
    rest_NF : ndarray of float64
        [maggies] flux of the fit at redshift 0.
    wavelength_F : ndarray of float64
        [Angstrom] pivot of each band.
    """

    coefficients_NT: Floats
    response_NFT: Floats
    rest_NF: Floats
    wavelength_F: Floats


@lru_cache(maxsize=2)
def load_library(bands: tuple[str, ...], responses: tuple[str, ...]) -> SedLibrary:
    """Fit the SDSS galaxies and tabulate the output bands; some 3 s, then kept in the process.

    Parameters
    ----------
    bands : tuple of str
        Names of the output bands.
    responses : tuple of str
        kcorrect's response file of each band, without ``.dat``.
    """
    corrector = _make_corrector(responses)
    galaxies = read_sdss_galaxies()
    redshift_N, petrosian_N = galaxies.redshift_N, galaxies.petrosian_N
    fit = _fit(corrector, galaxies)
    coefficients_NT = fit.coefficients_NT
    modulus_N = compute_distance_modulus(redshift_N)
    # A fit without light in u or g at rest has no absolute magnitude, and is left out below.
    with np.errstate(divide="ignore"):
        absolute_N3 = -2.5 * np.log10(fit.rest_NF[:, :3]) - modulus_N[:, None]
        observed_N = -2.5 * np.log10(_project_each(fit.response_NFT[:, 2:3], coefficients_NT)[:, 0])
    # One mask over the rows of the package's file, so that `row_N` tells which of them a galaxy is.
    keep = np.isfinite(absolute_N3).all(1) & np.isfinite(observed_N)
    keep &= (petrosian_N < MAIN_SAMPLE_LIMIT) & (redshift_N > 0.01)
    # From the first step on: at z = 0 the distance modulus is minus infinity.
    grid_Z = np.asarray(np.arange(1, round(HIGHEST_REDSHIFT / REDSHIFT_STEP)) * REDSHIFT_STEP, dtype=np.float64)
    return SedLibrary(
        bands=bands,
        row_N=np.flatnonzero(keep),
        coefficients_NT=coefficients_NT[keep],
        redshift_N=redshift_N[keep],
        absolute_N3=absolute_N3[keep],
        selection_N=(petrosian_N - observed_N)[keep],
        grid_Z=grid_Z,
        response_ZBT=np.asarray(corrector.AmatrixOut(grid_Z), dtype=np.float64),
        wavelength_B=_read_pivots(responses),
        old_T=np.asarray(corrector.templates.m300 < _YOUNG_FRACTION * corrector.templates.mremain),
    )


def fit_galaxies(galaxies: SdssGalaxies) -> Fit:
    """Fit the templates to galaxies; some 3 s for 10,000."""
    return _fit(_make_corrector(()), galaxies)


def _make_corrector(responses_out: Sequence[str]) -> kcorrect.kcorrect.Kcorrect:
    out = list(responses_out) or _FIT_RESPONSES
    return kcorrect.kcorrect.Kcorrect(
        responses=_FIT_RESPONSES,
        responses_out=out,
        responses_map=["sdss_r0"] * len(out),
        redshift_range=[0.0, HIGHEST_REDSHIFT],
        # kcorrect's own table then lies at the redshifts of grid_Z, and nothing is interpolated twice.
        nredshift=round(HIGHEST_REDSHIFT / REDSHIFT_STEP) + 1,
        cosmo=COSMOLOGY,
    )


def _fit(corrector: kcorrect.kcorrect.Kcorrect, galaxies: SdssGalaxies) -> Fit:
    columns = {"redshift": galaxies.redshift_N, "maggies": galaxies.maggies_NF, "ivar": galaxies.ivar_NF}
    fitted_NT = corrector.fit_coeffs(**{name: values.astype(np.float32) for name, values in columns.items()})
    coefficients_NT = np.asarray(fitted_NT, dtype=np.float64)
    return Fit(
        coefficients_NT=coefficients_NT,
        response_NFT=np.asarray(corrector.Amatrix(galaxies.redshift_N), dtype=np.float64),
        rest_NF=_project(corrector.Amatrix(np.zeros(1))[0], coefficients_NT),
        wavelength_F=_read_pivots(_FIT_RESPONSES),
    )


def _read_pivots(responses: Sequence[str]) -> Floats:
    curves = kcorrect.response.ResponseDict()
    pivots = []
    for name in responses:
        curves.load_response(name)
        wave, passed = np.float64(curves[name].wave), np.float64(curves[name].response)
        pivots.append(np.sqrt(np.trapezoid(passed * wave, wave) / np.trapezoid(passed / wave, wave)))
    return np.array(pivots)


def read_sdss_galaxies() -> SdssGalaxies:
    """Read the galaxies that the kcorrect package carries."""
    path = os.path.join(os.path.dirname(kcorrect.__file__), "data", "test", "gst_tests_small.fits")  # noqa: PTH118, PTH120
    table = np.asarray(fits.getdata(path, 1))
    # EXTINCTION is in magnitudes; fluxes are brightened by it, and their errors with them.
    dimming_NF = 10.0 ** (0.4 * table["EXTINCTION"].astype(np.float64))
    # SDSS gives nanomaggies; an inverse variance scales by the square. sdss_ab_correct then brings them to AB.
    maggies, ivar = kcorrect.utils.sdss_ab_correct(
        table["MODELFLUX"] * 1e-9 * dimming_NF, table["MODELFLUX_IVAR"] * 1e18 / dimming_NF**2
    )
    near_maggies, near_ivar = _read_twomass(table)
    maggies_NF = np.concatenate([maggies.astype(np.float64), near_maggies], axis=1)
    ivar_NF = np.concatenate([ivar.astype(np.float64), near_ivar], axis=1)
    seen = ivar_NF > 0
    # Variances add. Where nothing was seen the inverse variance stays 0, which leaves the band out of the fit.
    ivar_NF[seen] = 1.0 / (1.0 / ivar_NF[seen] + (ERROR_FLOOR * maggies_NF)[seen] ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Zero point of nanomaggies.
        petrosian_N = 22.5 - 2.5 * np.log10(table["PETROFLUX"][:, 2] * dimming_NF[:, 2])
    z_N, ra_N, dec_N = (table[name].astype(np.float64) for name in ("Z", "RA", "DEC"))
    return SdssGalaxies(z_N, maggies_NF, ivar_NF, petrosian_N, ra_N, dec_N)


def _read_twomass(table: npt.NDArray[np.void]) -> tuple[Floats, Floats]:
    magnitudes = np.stack([table[f"{b}_M_EXT"] for b in "JHK"], axis=1).astype(np.float64)
    errors = np.stack([table[f"{b}_MSIG_EXT"] for b in "JHK"], axis=1).astype(np.float64)
    seen = (magnitudes > 1) & (errors > 0)
    maggies = np.where(seen, 10.0 ** (-0.4 * (magnitudes + _TWOMASS_VEGA_TO_AB)), 0.0)
    ivar = np.zeros_like(maggies)
    # 1.0857 = 2.5 / ln 10: [mag] per relative change of a flux.
    ivar[seen] = 1.0 / (maggies[seen] * errors[seen] / 1.0857) ** 2
    return maggies, ivar


def compute_distance_modulus(redshift_N: Floats) -> Floats:
    """Compute m - M [mag] without K-correction, for H0 = 70 km/s/Mpc and a matter density of 0.3."""
    return np.asarray(COSMOLOGY.distmod(redshift_N).value, dtype=np.float64)


def compute_fluxes(
    library: SedLibrary, index_N: npt.NDArray[np.intp], redshift_N: Floats, *, old_only: bool = False
) -> Floats:
    """Compute what galaxies of the library look like at other redshifts.

    Parameters
    ----------
    library : SedLibrary
    index_N : ndarray of int
        Galaxies of the library.
    redshift_N : ndarray of float64
        Where they are moved, within the library's grid.
    old_only : bool
        Only the light of the old templates, as in a bulge.

    Returns
    -------
    ndarray of float64, shape (N, B)
        [maggies] total flux, with the luminosity evolved from the galaxy's own redshift.
    """
    coefficients_NT = library.coefficients_NT[index_N] * (library.old_T if old_only else 1.0)
    fluxes_NB = _project_each(_interpolate_response(library, redshift_N), coefficients_NT)
    own_N = library.redshift_N[index_N]
    modulus_N = compute_distance_modulus(redshift_N) - compute_distance_modulus(own_N)
    # Coefficients are those at the galaxy's own redshift: what remains is the change of distance and of luminosity.
    return fluxes_NB * 10.0 ** (-0.4 * (modulus_N - LUMINOSITY_EVOLUTION * (redshift_N - own_N)))[:, None]


def _interpolate_response(library: SedLibrary, redshift_N: Floats) -> Floats:
    position_N = (redshift_N - library.grid_Z[0]) / REDSHIFT_STEP
    # Beyond the grid's ends the last two steps are continued in a straight line, as weights leave 0 to 1.
    lower_N = np.clip(position_N.astype(np.intp), 0, len(library.grid_Z) - 2)
    weight_N = (position_N - lower_N)[:, None, None]
    response_NBT = (1 - weight_N) * library.response_ZBT[lower_N] + weight_N * library.response_ZBT[lower_N + 1]
    return np.asarray(response_NBT, dtype=np.float64)


def _project(response_BT: Floats, coefficients_NT: Floats) -> Floats:
    return np.asarray(np.einsum("bt,nt->nb", response_BT, coefficients_NT), dtype=np.float64)


def _project_each(response_NBT: Floats, coefficients_NT: Floats) -> Floats:
    return np.asarray(np.einsum("nbt,nt->nb", response_NBT, coefficients_NT), dtype=np.float64)
