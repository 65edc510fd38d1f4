"""How the spectra of real galaxies deviate from their fits, with the errors of measurement taken off.

Residuals of a fit are not the galaxy's deviations plus errors: the fit follows part of either. What the simulation
needs is what its spectra, the fits, lack of real ones. A residual is r = A d + (1 - H) e: the deviation d at the knots,
brought to the bands' rest wavelengths by A, and the errors e without the part H e that the fit followed (H: the hat
matrix of the templates in use). That part stays in the fits, where it counts as variety; so the errors that are taken
off are both parts, those left in r and those in the fit. Means are those of r over all galaxies of a type, which see
different rest wavelengths at different redshifts; covariances those of r in pairs of bands, less the errors': both by
least squares at the knots, with a weak prior that is smooth over 0.08 dex where no galaxy sees two wavelengths at once,
and made positive. Tails: those of a t distribution.

Errors taken off: those that SDSS and 2MASS state; of calibration 1 % in g r i z and 2 % in u (Padmanabhan et al. 2008,
ApJ 674, 1217); and 0.1 mag common to J H K, whose magnitudes are those of another survey's apertures. Their mean
offset against u g r i z is taken off for the same reason. What of either is variety cannot be told from these data.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

from photoz.simulate.seds import ERROR_FLOOR, Fit, Floats, SdssGalaxies
from photoz.simulate.variety import Variety, interpolate_knots

KNOTS = np.array(
    [2500, 2800, 3150, 3550, 4000, 4450, 5000, 5600, 6300, 7100, 8000, 9000, 10700, 13000, 15500, 18500, 22000.0]
)
"""[Angstrom] at rest."""
TYPE_EDGES = (1.7, 2.3)
"""[mag(AB)] rest-frame u - r between blue, green and red."""
CALIBRATION_ERROR = np.array([0.02, 0.01, 0.01, 0.01, 0.01, 0.0, 0.0, 0.0])
"""[mag] of u g r i z J H K."""

_POGSON = 2.5 / np.log(10)
_APERTURE_ERROR = 0.1  # mag, common to J H K
_NEAR_INFRARED = slice(5, 8)
_JITTER = 1e-6  # mag^2, least variance of a covariance's axes
_LARGEST = 0.7  # mag, of a residual: more is a failed measurement
_PRIOR_GALAXIES, _PRIOR_SPREAD, _PRIOR_LENGTH = 20.0, 0.03, 0.08  # weight, [mag], [dex]
_STEPS = 3000
_FREEDOMS = (3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 30.0)


@dataclass(frozen=True, eq=False)
class Residuals:
    """Real minus fitted magnitudes of N galaxies in F bands.

    Parameters
    ----------
    value_NF : ndarray of float64
        [mag] 0 where not measured.
    error_NFF : ndarray of float64
        [mag^2] covariance of the errors, of those that remain in them and of those that the fit followed.
    weight_NFK : ndarray of float64
        Of the knots in each band.
    seen_NF : ndarray of bool
        What was measured.
    colour_N : ndarray of float64
        [mag(AB)] rest-frame u - r of the fit.
    """

    value_NF: Floats
    error_NFF: Floats
    weight_NFK: Floats
    seen_NF: npt.NDArray[np.bool_]
    colour_N: Floats

    def __len__(self) -> int:
        return len(self.colour_N)

    def select(self, which: npt.NDArray[np.bool_]) -> "Residuals":
        """Return the galaxies for which a mask is set."""
        return replace(self, **{field.name: getattr(self, field.name)[which] for field in fields(self)})


def compute_stated_errors(galaxies: SdssGalaxies) -> Floats:
    """Compute the errors [mag] that the surveys state, shape (N, F); infinite where nothing was measured."""
    relative_NF = np.full(galaxies.maggies_NF.shape, np.inf)
    seen_NF = (galaxies.ivar_NF > 0) & (galaxies.maggies_NF > 0)
    total_NF = 1 / (galaxies.ivar_NF[seen_NF] * galaxies.maggies_NF[seen_NF] ** 2)
    floor_NF = np.broadcast_to(ERROR_FLOOR, seen_NF.shape)[seen_NF]
    # The floor that the fit gives them is no error of measurement.
    relative_NF[seen_NF] = np.sqrt(np.maximum(total_NF - floor_NF**2, 1e-6))
    return np.asarray(_POGSON * relative_NF)


def compute_residuals(galaxies: SdssGalaxies, fit: Fit) -> tuple[Residuals, npt.NDArray[np.bool_]]:
    """Compute residuals of the galaxies that can be used, and tell which of the N those are.

    Parameters
    ----------
    galaxies : SdssGalaxies
    fit : Fit
        Of the same galaxies.
    """
    model_NF = np.einsum("nft,nt->nf", fit.response_NFT, fit.coefficients_NT)
    error_NF = compute_stated_errors(galaxies)
    seen_NF = np.isfinite(error_NF) & (model_NF > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value_NF = np.where(seen_NF, -2.5 * np.log10(galaxies.maggies_NF / model_NF), 0.0)
        colour_N = -2.5 * np.log10(fit.rest_NF[:, 0] / fit.rest_NF[:, 2])
    kept_N = np.isfinite(colour_N) & (np.abs(value_NF) < _LARGEST).all(1) & seen_NF[:, :5].all(1)
    kept_N &= (galaxies.redshift_N > 0.01) & (galaxies.redshift_N < 0.6)
    near_N = kept_N & seen_NF[:, _NEAR_INFRARED].all(1)
    value_NF[:, _NEAR_INFRARED] -= np.median(value_NF[near_N, _NEAR_INFRARED].mean(1)) if near_N.any() else 0.0
    wavelength_NF = fit.wavelength_F / (1 + galaxies.redshift_N[:, None])
    residuals = Residuals(
        value_NF=np.where(seen_NF, value_NF, 0.0),
        error_NFF=_propagate_errors(galaxies, fit, np.where(seen_NF, error_NF, 0.0), seen_NF),
        weight_NFK=interpolate_knots(KNOTS, wavelength_NF),
        seen_NF=seen_NF,
        colour_N=colour_N,
    )
    return residuals.select(kept_N), kept_N


def _propagate_errors(galaxies: SdssGalaxies, fit: Fit, error_NF: Floats, seen_NF: npt.NDArray[np.bool_]) -> Floats:
    """Compute the covariance of what a fit leaves of the errors, and of what it follows, shape (N, F, F)."""
    number, bands = error_NF.shape
    full_NFF = np.zeros((number, bands, bands))
    full_NFF[:, range(bands), range(bands)] = error_NF**2 + CALIBRATION_ERROR**2
    full_NFF[:, _NEAR_INFRARED, _NEAR_INFRARED] += _APERTURE_ERROR**2
    full_NFF *= seen_NF[:, :, None] & seen_NF[:, None, :]
    parts_NFF = np.empty_like(full_NFF)
    for n in range(number):
        used = fit.coefficients_NT[n] > 0
        # In units of the error that the fit gave each flux, in which it was a plain least-squares fit.
        scale = np.sqrt(galaxies.ivar_NF[n])
        slopes = scale[:, None] * fit.response_NFT[n][:, used]
        model = fit.response_NFT[n] @ fit.coefficients_NT[n]
        hat = slopes @ np.linalg.pinv(slopes)
        # Back to magnitudes: a relative change of a flux, whose sign drops out of a covariance.
        unit = scale * np.maximum(model, 1e-30)
        leave = np.eye(bands) - np.divide(
            hat * unit[None, :], unit[:, None], out=np.zeros_like(hat), where=unit[:, None] > 0
        )
        follow = np.eye(bands) - leave
        parts_NFF[n] = leave @ full_NFF[n] @ leave.T + follow @ full_NFF[n] @ follow.T
    return parts_NFF * (seen_NF[:, :, None] & seen_NF[:, None, :])


def measure_variety(residuals: Residuals) -> Variety:
    """Measure mean, covariance and tails of the deviations by type.

    Raises
    ------
    ValueError
        A type has fewer than 50 galaxies.
    """
    type_N = np.searchsorted(TYPE_EDGES, residuals.colour_N, side="right")
    parts = [residuals.select(type_N == number) for number in range(len(TYPE_EDGES) + 1)]
    if min(map(len, parts)) < 50:
        raise ValueError(f"types of {[len(part) for part in parts]} galaxies: too few to measure, take wider edges")
    means = [_measure_mean(part) for part in parts]
    covariances = [_measure_covariance(*each) for each in zip(parts, means, strict=True)]
    freedoms = [_find_tails(*each) for each in zip(parts, means, covariances, strict=True)]
    # What a t distribution is drawn with is smaller than its covariance.
    scales = [(freedom - 2) / freedom * found for freedom, found in zip(freedoms, covariances, strict=True)]
    return Variety(KNOTS, TYPE_EDGES, np.stack(means), np.stack(scales), np.array(freedoms))


def _measure_mean(residuals: Residuals) -> Floats:
    """Measure the mean at the knots [mag], shape (K,), by least squares over all galaxies and bands."""
    trust_NF = _get_trust(residuals)
    value_NF = _pull_in(residuals.value_NF, residuals.seen_NF)
    weighted_NFK = trust_NF[:, :, None] * residuals.weight_NFK
    normal_KK = np.einsum("nfk,nfl->kl", weighted_NFK, residuals.weight_NFK)
    wanted_K = np.einsum("nfk,nf->k", weighted_NFK, value_NF)
    # Knots that few galaxies see follow their neighbours: a straight line costs nothing.
    bend_MK = np.diff(np.eye(len(KNOTS)), 2, axis=0)
    normal_KK += _PRIOR_GALAXIES * np.median(trust_NF[residuals.seen_NF]) * bend_MK.T @ bend_MK
    return np.asarray(np.linalg.lstsq(normal_KK, wanted_K)[0])


def _measure_covariance(residuals: Residuals, mean_K: Floats) -> Floats:
    """Measure the covariance at the knots [mag^2], shape (K, K): of pairs of bands, less that of their errors."""
    trust_NF, seen_NF = _get_trust(residuals), residuals.seen_NF
    off_NF = _pull_in(residuals.value_NF - residuals.weight_NFK @ mean_K, seen_NF)
    upper = np.triu_indices(len(KNOTS))
    normal_PP, wanted_P = np.zeros((len(upper[0]),) * 2), np.zeros(len(upper[0]))
    for f in range(off_NF.shape[1]):
        for g in range(f + 1):
            both_N = seen_NF[:, f] & seen_NF[:, g]
            one_NK, other_NK = residuals.weight_NFK[both_N, f], residuals.weight_NFK[both_N, g]
            # The covariance of two bands, as weights of the upper half of that of the knots.
            whole_NKK = one_NK[:, :, None] * other_NK[:, None, :]
            weight_NP = (whole_NKK + whole_NKK.transpose(0, 2, 1))[:, upper[0], upper[1]]
            weight_NP[:, upper[0] == upper[1]] /= 2
            trust_N = trust_NF[both_N, f] * trust_NF[both_N, g]
            product_N = off_NF[both_N, f] * off_NF[both_N, g] - residuals.error_NFF[both_N, f, g]
            normal_PP += (trust_N[:, None] * weight_NP).T @ weight_NP
            wanted_P += (trust_N * product_N) @ weight_NP
    level = _PRIOR_GALAXIES * np.median(trust_NF[seen_NF]) ** 2
    prior_KK = _make_prior(normal_PP, wanted_P, level)
    normal_PP += level * np.eye(len(wanted_P))
    return _solve_positive(normal_PP, wanted_P + level * prior_KK[upper], prior_KK)


def _solve_positive(normal_PP: Floats, wanted_P: Floats, start_KK: Floats) -> Floats:
    """Solve normal equations for the upper half of a matrix, among those whose axes all have a variance.

    The best unbound one has negative axes, as errors were taken off; without them it would be too wide elsewhere.
    """
    upper = np.triu_indices(len(start_KK))
    # Elements off the diagonal stand twice in the matrix: in these units the nearest positive matrix is that without
    # the negative axes.
    unit_P = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
    normal_PP, wanted_P = normal_PP / unit_P[:, None] / unit_P, wanted_P / unit_P
    step = 1 / np.linalg.eigvalsh(normal_PP)[-1]
    found_P = ahead_P = start_KK[upper] * unit_P
    found_KK = start_KK
    # Nesterov's accelerated projected gradients (Beck & Teboulle 2009, SIAM J. Imaging Sci. 2, 183).
    for number in range(_STEPS):
        moved_P = ahead_P - step * (normal_PP @ ahead_P - wanted_P)
        half_KK = np.zeros_like(start_KK)
        half_KK[upper] = moved_P / unit_P
        found_KK = _make_positive(half_KK + np.triu(half_KK, 1).T)
        old_P, found_P = found_P, found_KK[upper] * unit_P
        ahead_P = found_P + number / (number + 3) * (found_P - old_P)
    return found_KK


def _make_prior(normal_PP: Floats, wanted_P: Floats, level: float) -> Floats:
    """Make the covariance to fall back on where no galaxy sees two knots at once, shape (K, K): smooth, as large."""
    upper = np.triu_indices(len(KNOTS))
    own_P = upper[0] == upper[1]
    # Roughly: each knot's own variance, pulled to a common one where little is known.
    known_K = np.diag(normal_PP)[own_P]
    variance_K = (wanted_P[own_P] + level * _PRIOR_SPREAD**2) / (known_K + level)
    spread_K = np.sqrt(np.clip(variance_K, 0.2 * _PRIOR_SPREAD**2, None))
    distance_KK = np.log10(KNOTS[:, None] / KNOTS)
    return np.asarray(spread_K[:, None] * spread_K * np.exp(-0.5 * (distance_KK / _PRIOR_LENGTH) ** 2))


def _make_positive(covariance_KK: Floats) -> Floats:
    value_K, vector_KK = np.linalg.eigh(covariance_KK)
    # Noise of the measurement makes some negative; none is 0, so that there is a root.
    return np.asarray((vector_KK * np.maximum(value_K, _JITTER)) @ vector_KK.T)


def _find_tails(residuals: Residuals, mean_K: Floats, covariance_KK: Floats) -> float:
    """Find the likeliest degrees of freedom of a t distribution, of each band's deviation over its spread."""
    weight_NFK, seen_NF = residuals.weight_NFK, residuals.seen_NF
    variance_NF = np.einsum("nfk,kl,nfl->nf", weight_NFK, covariance_KK, weight_NFK)
    variance_NF = variance_NF + np.einsum("nff->nf", residuals.error_NFF)
    unit = (residuals.value_NF - weight_NFK @ mean_K)[seen_NF] / np.sqrt(variance_NF[seen_NF])

    def judge(freedom: float) -> float:
        # Of unit variance, whatever the tails.
        scale = np.sqrt((freedom - 2) / freedom)
        return float(student_t.logpdf(unit, freedom, scale=scale).sum())

    return max(_FREEDOMS, key=judge)


def _get_trust(residuals: Residuals) -> Floats:
    """Compute the weight [mag^-2] of each band: less for large errors, never more than the variety allows."""
    error_NF = np.einsum("nff->nf", residuals.error_NFF)
    return np.where(residuals.seen_NF, 1 / (error_NF + _PRIOR_SPREAD**2), 0.0)


def _pull_in(value_NF: Floats, seen_NF: npt.NDArray[np.bool_]) -> Floats:
    """Pull values of each band far from its median in to 4 of its spreads: failures count, but not as squares."""
    pulled_NF = np.zeros_like(value_NF)
    for band in range(value_NF.shape[1]):
        own = value_NF[seen_NF[:, band], band]
        if len(own):
            middle = np.median(own)
            width = 4 * 1.4826 * np.median(np.abs(own - middle))
            pulled_NF[seen_NF[:, band], band] = np.clip(own, middle - width, middle + width)
    return pulled_NF
