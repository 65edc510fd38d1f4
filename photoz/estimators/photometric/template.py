"""Redshifted spectral templates fitted through the survey's filter curves: `TemplateEstimator`.

The method, templates and prior are BPZ's, from the package desc-bpz; response curves come from the package kcorrect.
BPZ's own loop takes a galaxy at a time and keeps files beside its code; here a block of galaxies is fitted at once, by
the same formulae (a test compares them).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.resources import as_file, files
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize

from photoz.errors import EstimatorError, TrainingError
from photoz.estimators.base import Inputs, split_rows
from photoz.estimators.photometric.base import Parts, PhotometricEstimator, Sample
from photoz.optional import needs
from photoz.photometry import POGSON, Floats, fill_missing_magnitudes, fit_band_differences

RESPONSES = {
    "u": "sdss_u0",
    "g": "sdss_g0",
    "r": "sdss_r0",
    "i": "sdss_i0",
    "z": "sdss_z0",
    "y": "decam_Y",
    "Z": "ukirt_wfcam_Z",
    "Y": "ukirt_wfcam_Y",
    "J": "twomass_J",
    "H": "twomass_H",
    "K": "twomass_Ks",
    "Ks": "twomass_Ks",
}
"""kcorrect's response curve of each band that is not given one in the setting ``responses``."""

_TEMPLATES = "CWWSB4.list"
_HIGHEST = 1.5  # above this Lyman absorption enters u, which is left out here
_BLOCK = 256  # galaxies fitted at a time: some 10 MB a quantity
_TINY = 1e-300


def load_package(name: str) -> Any:
    """Import a package that only this estimator needs.

    Raises
    ------
    MissingPackageError
        It is not installed.
    """
    with needs("the template estimator", "desc-bpz and kcorrect"):
        return import_module(name)


@lru_cache(maxsize=1)
def load_templates() -> tuple[tuple[Floats, Floats], ...]:
    """Read BPZ's eight spectra as (wavelength [Å], flux per wavelength)."""
    load_package("desc_bpz")
    folder = files("desc_bpz") / "data_files" / "SED"
    spectra = []
    for name in (folder / _TEMPLATES).read_text().split():
        with as_file(folder / name) as path:
            wavelength, flux = np.loadtxt(path, usecols=(0, 1), unpack=True)
        spectra.append((wavelength, flux))
    return tuple(spectra)


def load_response(name: str) -> tuple[Floats, Floats]:
    """Read a response curve of kcorrect: wavelength [Å] and transmission for photons, in any scale.

    Raises
    ------
    EstimatorError
        kcorrect has no such curve.
    """
    package = load_package("kcorrect.response")
    # Response takes an absolute file name as it is. Looked for beforehand: what it raises itself is a bare ValueError.
    folder = os.path.join(os.path.dirname(load_package("kcorrect").__file__), "data", "responses")  # noqa: PTH118, PTH120
    if not os.path.exists(os.path.join(folder, f"{name}.dat")):  # noqa: PTH110, PTH118
        raise EstimatorError(f"kcorrect has no response curve {name!r}: its names are those of the files in {folder}")
    curve = package.Response(filename=os.path.join(folder, f"{name}.dat"))  # noqa: PTH118
    return np.asarray(curve.wave, dtype=np.float64), np.asarray(curve.response, dtype=np.float64)


def compute_band_flux(spectrum: tuple[Floats, Floats], response: tuple[Floats, Floats], z_Z: Floats) -> Floats:
    """Compute the flux of a redshifted spectrum in a band, in the units of an AB magnitude of constant zero point.

    Parameters
    ----------
    spectrum : tuple of ndarray
        Wavelength [Å] and flux per wavelength at rest.
    response : tuple of ndarray
        Wavelength [Å] and transmission for photons.
    z_Z : ndarray of float64, shape (Z,)

    Returns
    -------
    ndarray of float64, shape (Z,)
        Photons counted, over those of a source of constant flux per frequency.

    References
    ----------
    Fukugita et al. 1996, AJ 111, 1748, equation 7 (AB magnitudes of photon counters).
    """
    wavelength, transmission = response
    grid = np.linspace(wavelength.min(), wavelength.max(), 400)
    through = np.interp(grid, wavelength, transmission)
    # Factors of 1 + z that all bands share are left out: the amplitude of a template is fitted anyway.
    seen_ZL = np.interp(grid / (1 + z_Z[:, None]), spectrum[0], spectrum[1], left=0.0, right=0.0)
    counted: Floats = np.trapezoid(seen_ZL * through * grid, grid, axis=1) / np.trapezoid(through / grid, grid)
    return counted


def compute_fluxes(responses: tuple[str, ...], z_Z: Floats, between: int) -> Floats:
    """Tabulate the templates' fluxes: BPZ's eight, and mixtures of each two neighbours.

    Parameters
    ----------
    responses : tuple of str
        kcorrect's names of the response curves, one a band.
    z_Z : ndarray of float64, shape (Z,)
    between : int
        Mixtures between two neighbours.

    Returns
    -------
    ndarray of float64, shape (Z, T, F)
        Relative to the mean over the bands of the template at that redshift.
    """
    curves = [load_response(name) for name in responses]
    fluxes_ZTF = np.stack(
        [
            np.stack([compute_band_flux(spectrum, curve, z_Z) for curve in curves], axis=1)
            for spectrum in load_templates()
        ],
        axis=1,
    )
    # Before the mixing: else the brighter of two neighbours would make up nearly all of each mixture.
    fluxes_ZTF /= np.maximum(fluxes_ZTF.mean(axis=2, keepdims=True), _TINY)
    # arange leaves its end out; the 1e-9 lets the last template in.
    types = np.arange(0, fluxes_ZTF.shape[1] - 1 + 1e-9, 1 / (between + 1))
    lower = np.minimum(types.astype(int), fluxes_ZTF.shape[1] - 2)
    share_T = (types - lower)[None, :, None]
    mixed: Floats = (1 - share_T) * fluxes_ZTF[:, lower] + share_T * fluxes_ZTF[:, lower + 1]
    return mixed


def compute_log_likelihood(fluxes_NF: Floats, weights_NF: Floats, templates_ZTF: Floats) -> Floats:
    """Compute the logarithm of BPZ's likelihood of every redshift and type, up to a constant of each galaxy.

    Parameters
    ----------
    fluxes_NF, weights_NF : ndarray of float64, shape (N, F)
        Fluxes and their inverse variances; weight 0 where there is none.
    templates_ZTF : ndarray of float64, shape (Z, T, F)

    Returns
    -------
    ndarray of float64, shape (N, Z, T)
        -(chi² + ln F_TT) / 2, the amplitude of the template being that of the best fit.

    References
    ----------
    Benítez 2000, ApJ 536, 571, section 4.2; ``p_c_z_t.Bayes_likelihood`` of desc-bpz.
    """
    # Redshifts and types as one axis, which turns both sums over the bands into matrix products.
    flat_KF = templates_ZTF.reshape(-1, templates_ZTF.shape[2])
    fot_NK = (fluxes_NF * weights_NF) @ flat_KF.T
    ftt_NK = weights_NF @ (flat_KF**2).T + _TINY
    # The chi² of the fluxes alone is the same for all templates of a galaxy, and left out.
    fot_NK = 0.5 * (fot_NK**2 / ftt_NK - np.log(ftt_NK))
    shaped: Floats = fot_NK.reshape(len(fluxes_NF), *templates_ZTF.shape[:2])
    return shaped


def fit_prior(magnitudes_N: Floats, z_N: Floats) -> dict[str, float]:
    """Fit p(z | m) of BPZ's form, z^a exp(-(z / z_m)^a) with z_m = z_0 + k (m - m_0), by maximum likelihood.

    Returns
    -------
    dict of str to float
        ``a``, ``z0``, ``k`` and ``m0`` [mag], which is the 1st percentile of the magnitudes.

    References
    ----------
    Benítez 2000, ApJ 536, 571, equation 22 (one broad type instead of three).
    """
    # BPZ has a fixed magnitude of 20. A percentile serves any sample, and a few very bright galaxies do not decide it.
    m0 = float(np.percentile(magnitudes_N, 1))
    excess_N = np.maximum(magnitudes_N - m0, 0.0)
    # Spectroscopic redshifts of nearby galaxies may be 0 or below, by their own velocities.
    log_z_N = np.log(np.maximum(z_N, 1e-4))
    grid = np.linspace(0.005, max(1.5 * float(z_N.max()), 0.1), 300)

    def lose(parameters: Floats) -> float:
        # Logarithms are searched, since all three must be positive.
        a, z0, k = np.exp(parameters)
        scale_N = z0 + k * excess_N
        # The norm depends on the magnitude alone and smoothly: 40 integrals in place of one a galaxy.
        shape = np.linspace(0, excess_N.max() + 1e-6, 40)
        norm = np.trapezoid(grid**a * np.exp(-((grid / (z0 + k * shape)[:, None]) ** a)), grid, axis=1)
        log_norm_N = np.interp(excess_N, shape, np.log(norm + _TINY))
        return float(-np.mean(a * log_z_N - (np.maximum(z_N, 1e-4) / scale_N) ** a - log_norm_N))

    start = np.log([2.0, max(float(np.median(z_N)) / 2, 0.01), 0.05])
    best = minimize(lose, start, method="Nelder-Mead", options={"maxiter": 400}).x
    # Without a trend in the sample k runs towards 0 and its logarithm away without end: held to 0.0009 and 20.
    a, z0, k = (float(value) for value in np.exp(np.clip(best, -7, 3)))
    return {"a": a, "z0": z0, "k": k, "m0": m0}


def compute_prior(z_Z: Floats, magnitudes_N: Floats, prior: Mapping[str, float]) -> Floats:
    """Compute BPZ's prior of every redshift for each galaxy.

    Parameters
    ----------
    z_Z : ndarray of float64, shape (Z,)
    magnitudes_N : ndarray of float64, shape (N,)
        [mag(AB)] finite; they count to 0.1 mag, as in BPZ.
    prior : mapping
        Of `fit_prior`.

    Returns
    -------
    ndarray of float64, shape (N, Z)
    """
    function = load_package("desc_bpz.prior_from_dict").prior_function
    parameters = {
        # BPZ's names. One type: fractions by type and their slopes with magnitude are 1 and 0.
        "fo_arr": np.array([1.0]),
        "kt_arr": np.array([0.0]),
        "a_arr": np.array([prior["a"]]),
        "zo_arr": np.array([prior["z0"]]),
        "km_arr": np.array([prior["k"]]),
        "mo": prior["m0"],
        "nt_array": [1],
    }
    # A call a tenth of a magnitude, in place of one a galaxy.
    steps_N = np.round(magnitudes_N, 1)
    values, which_N = np.unique(steps_N, return_inverse=True)
    table = np.stack([function(z_Z, float(value), parameters, 1)[:, 0] for value in values])
    rows: Floats = table[which_N]
    return rows


@dataclass(frozen=True, eq=False)
class Templates:
    """Redshifts of the grid, shape (Z,), and the templates' fluxes there, shape (Z, T, F)."""

    z_Z: Floats
    fluxes_ZTF: Floats


class TemplateEstimator(PhotometricEstimator[Templates]):
    """Bayesian template fit: BPZ's spectra and prior; from the training sample come zero points, error floor and prior.

    Without those three, templates know nothing of the sample: BPZ untuned has twice the scatter.
    """

    name: ClassVar[str] = "template"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "responses": {},
        "prior_band": "",
        "z_step": 0.005,
        "z_max": 0.0,
        "between": 2,
        "floors": (0.02, 0.05, 0.1),
        "tuning_rows": 1500,
    }
    PACKAGES: ClassVar[tuple[str, ...]] = ("photoz", "numpy", "scipy", "desc-bpz", "kcorrect")

    @classmethod
    def _fit(cls, sample: Sample, settings: dict[str, Any], seed: int) -> Parts:
        bands = sample.bands
        names = {**RESPONSES, **settings["responses"]}
        unknown = [band for band in bands if band not in names]
        if unknown:
            raise TrainingError(
                f"no response curve is known for {unknown}: name one of kcorrect's in the setting 'responses'"
            )
        z_Z = _make_grid(settings, float(np.max(sample.z_N)))
        templates_ZTF = compute_fluxes(tuple(names[band] for band in bands), z_Z, settings["between"])
        magnitudes_NF = np.asarray(sample.magnitudes.magnitudes_NF, dtype=np.float64)
        differences = fit_band_differences(magnitudes_NF)
        prior_band = settings["prior_band"] or next((b for b in ("r", "i", "g") if b in bands), bands[len(bands) // 2])
        reference_N = fill_missing_magnitudes(magnitudes_NF, differences)[:, bands.index(prior_band)]
        # Where the prior's band is missing its magnitude comes from the neighbours; where that fails too there is no
        # prior.
        known_N = np.isfinite(reference_N)
        prior = fit_prior(reference_N[known_N], np.asarray(sample.z_N, dtype=np.float64)[known_N])
        few = sample.take(np.random.default_rng(seed).permutation(len(sample))[: settings["tuning_rows"]])
        offsets_F = _fit_offsets(few, z_Z, templates_ZTF)
        arrays = {"z": z_Z, "templates": templates_ZTF, "offsets": offsets_F, "differences": differences}
        chosen = {
            **settings,
            "responses": {band: names[band] for band in bands},
            "prior_band": prior_band,
            "prior": prior,
        }
        floors = {
            floor: cls._measure(Parts(bands, {**chosen, "floor": floor}, arrays), few) for floor in settings["floors"]
        }
        return Parts(bands, {**chosen, "floor": min(floors, key=lambda floor: floors[floor])}, arrays)

    @classmethod
    def _measure(cls, parts: Parts, sample: Sample) -> float:
        """Mean absolute dz of a fit with a given error floor."""
        z_N = cls(parts)._predict_points(sample.make_inputs())
        # On galaxies that offsets and prior were fitted to as well: a zero point a band and four numbers, of 1,500
        # galaxies.
        return float(np.nanmean(np.abs(z_N - sample.z_N) / (1 + sample.z_N)))

    @classmethod
    def _make_model(cls, parts: Parts) -> Templates:
        return Templates(*(np.asarray(parts.arrays[name], dtype=np.float64) for name in ("z", "templates")))

    def _predict_points(self, inputs: Inputs) -> Floats:
        z_N = np.empty(len(inputs))
        for rows in split_rows(len(inputs), _BLOCK):
            z_N[rows] = _find_median(self._model.z_Z, self._compute_pdf(inputs.take(rows)))
        return z_N

    def _compute_pdf(self, inputs: Inputs) -> Floats:
        """Probability of each redshift of the grid, shape (N, Z), of sum 1; NaN where there is no prior magnitude."""
        settings, arrays = self.parts.settings, self.parts.arrays
        fluxes_NF, weights_NF = _scale_fluxes(inputs.fluxes_NF, inputs.errors_NF, arrays["offsets"], settings["floor"])
        log_NZT = compute_log_likelihood(fluxes_NF, weights_NF, self._model.fluxes_ZTF)
        # The chi² that was left out makes these large and positive: beyond 709 the exponential is infinite.
        log_NZT -= log_NZT.max(axis=(1, 2), keepdims=True)
        filled_NF = fill_missing_magnitudes(inputs.magnitudes.magnitudes_NF, arrays["differences"])
        reference_N = filled_NF[:, self.bands.index(settings["prior_band"])]
        # Rows without that magnitude get a prior of magnitude 0, and are made NaN below.
        prior_NZ = compute_prior(self._model.z_Z, np.nan_to_num(reference_N), settings["prior"])
        pdf_NZ = np.exp(log_NZT).sum(axis=2) * prior_NZ
        total_N = pdf_NZ.sum(axis=1)
        total_N[~np.isfinite(reference_N) | (total_N <= 0)] = np.nan
        pdf: Floats = pdf_NZ / total_N[:, None]
        return pdf


def _make_grid(settings: dict[str, Any], highest: float) -> Floats:
    top = min(settings["z_max"] or max(1.2 * highest, 0.1), _HIGHEST)
    grid: Floats = np.arange(settings["z_step"], top + settings["z_step"], settings["z_step"])
    return grid


def _scale_fluxes(fluxes_NF: Floats, errors_NF: Floats, offsets_F: Floats, floor: float) -> tuple[Floats, Floats]:
    """Fluxes relative to the galaxy's brightest band and their inverse variances (0: nothing is known).

    Zero-point offsets and the error floor are in magnitudes.
    """
    scale_NF = np.tile(10 ** (0.4 * offsets_F), (len(fluxes_NF), 1))
    scale_NF /= np.nanmax(fluxes_NF * scale_NF, axis=1, keepdims=True)
    # Fluxes near 1: the likelihood does not depend on their unit, and their squares stay far from underflow.
    fluxes_NF, errors_NF = fluxes_NF * scale_NF, errors_NF * scale_NF
    # An unknown error counts as 0.1 mag, but of a flux of 0 or less, which without its error says nothing.
    unknown_NF = np.where(fluxes_NF > 0, 0.1 / POGSON * fluxes_NF, np.inf)
    errors_NF = np.where(np.isfinite(errors_NF), errors_NF, unknown_NF)
    # Templates are wrong by a share of the flux.
    variances_NF = errors_NF**2 + (floor / POGSON * fluxes_NF) ** 2
    return np.nan_to_num(fluxes_NF), np.nan_to_num(1 / variances_NF)


def _fit_offsets(sample: Sample, z_Z: Floats, templates_ZTF: Floats, *, rounds: int = 4) -> Floats:
    """Zero-point offsets [mag]: median of the observed minus the best template's magnitude at the known redshift."""
    offsets_F = np.zeros(len(sample.bands))
    nearest_N = np.abs(z_Z[:, None] - np.asarray(sample.z_N)).argmin(axis=0)
    given_NF, errors_NF = (np.asarray(values, dtype=np.float64) for values in (sample.fluxes_NF, sample.errors_NF))
    detected_NF = np.isfinite(sample.magnitudes.magnitudes_NF)
    for _ in range(rounds):
        # The floor is not yet chosen here; 0.05 is the middle one of those tried.
        fluxes_NF, weights_NF = _scale_fluxes(given_NF, errors_NF, offsets_F, 0.05)
        models_NTF = templates_ZTF[nearest_N]
        fot_NT = np.einsum("nf,ntf->nt", fluxes_NF * weights_NF, models_NTF)
        ftt_NT = np.einsum("nf,ntf->nt", weights_NF, models_NTF**2) + _TINY
        # Offsets change which template is best, and that changes the offsets: hence the rounds.
        best_N = (fot_NT**2 / ftt_NT).argmax(axis=1)
        rows = np.arange(len(best_N))
        models_NF = models_NTF[rows, best_N] * (fot_NT / ftt_NT)[rows, best_N][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            residual_NF = np.where(detected_NF, -2.5 * np.log10(fluxes_NF / models_NF), np.nan)
        residual_NF[~np.isfinite(residual_NF)] = np.nan
        step_F = np.nan_to_num(np.nanmedian(residual_NF, axis=0))
        # An offset common to all bands is taken up by the amplitude, and would drift from round to round.
        offsets_F += step_F - step_F.mean()
    return offsets_F


def _find_median(z_Z: Floats, pdf_NZ: Floats) -> Floats:
    """Median of each p(z), by linear interpolation of its cumulative sum; NaN where p(z) is."""
    cumulative_NZ = np.cumsum(pdf_NZ, axis=1)
    upper_N = np.clip((cumulative_NZ < 0.5).sum(axis=1), 0, len(z_Z) - 1)
    rows = np.arange(len(pdf_NZ))
    step = z_Z[1] - z_Z[0]
    # The probability of a grid point is taken to lie evenly within half a step of it, hence the 0.5 below.
    share_N = (cumulative_NZ[rows, upper_N] - 0.5) / np.maximum(pdf_NZ[rows, upper_N], _TINY)
    median: Floats = z_Z[upper_N] + step * (0.5 - share_N)
    return np.where(np.isfinite(pdf_NZ[:, 0]), median, np.nan)
