"""Whether the probabilities of p(z) come true: PIT and its histogram, QQ values, KS distance, coverage, scores."""

import numpy as np
import numpy.typing as npt

from photoz.pdf.curves import Curves
from photoz.pdf.scores import integrate_cde_losses, integrate_crps
from photoz.schema import LEVELS

# Galaxies at a time: on the 193 points that follow a curve, 13 MB an array.
_CHUNK = 8192

Floats = npt.NDArray[np.float64]


def compute_pit(quantiles_NQ: npt.ArrayLike, z_spec: npt.ArrayLike) -> Floats:
    """Compute the probability integral transform: the probability that p(z) puts below the true redshift.

    Parameters
    ----------
    quantiles_NQ : array_like of float, shape (N, Q)
        Redshifts at `photoz.schema.LEVELS`, not falling along a row.
    z_spec : array_like of float, shape (N,)
        True redshifts.

    Returns
    -------
    ndarray of float64, shape (N,)
        Uniformly distributed if p(z) is calibrated; NaN where the quantiles or the redshift are NaN.

    References
    ----------
    Dawid 1984, Journal of the Royal Statistical Society A 147, 278; Polsterer et al. 2016, arXiv 1608.08016.

    Examples
    --------
    >>> compute_pit([np.linspace(0.1, 0.3, 27)], [0.2]).round(6).tolist()
    [0.5]
    """
    return score_quantiles(quantiles_NQ, z_spec)[0]


def score_quantiles(quantiles_NQ: npt.ArrayLike, z_spec: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Compute PIT, CRPS and the CDE loss of each galaxy from its stored quantiles.

    Parameters
    ----------
    quantiles_NQ, z_spec
        As in `compute_pit`.

    Returns
    -------
    (ndarray, ndarray, ndarray) of float64, shape (N,)
        PIT, CRPS [redshift] and the terms of the CDE loss, of the curve through the quantiles
        (`photoz.pdf.curves.Curves`), integrated on points that follow each galaxy's own; NaN as in `compute_pit`.
    """
    z_NQ, spec_N = np.asarray(quantiles_NQ, dtype=np.float64), np.asarray(z_spec, dtype=np.float64)
    scores_3N = np.empty((3, len(z_NQ)))
    for first in range(0, len(z_NQ), _CHUNK):
        rows = slice(first, first + _CHUNK)
        curves = Curves.through(z_NQ[rows])
        # The same points for both integrals, so that the curves are evaluated once.
        z_NP = curves.sample()
        cdf_NP, pdf_NP = curves.evaluate(z_NP)
        pit_N1, density_N1 = curves.evaluate(spec_N[rows, None])
        crps_N = integrate_crps(cdf_NP, z_NP, spec_N[rows])
        cde_N = integrate_cde_losses(pdf_NP, z_NP, density_N1[:, 0])
        scores_3N[:, rows] = np.stack([pit_N1[:, 0], crps_N, cde_N])
    scores_3N[:, np.isnan(spec_N)] = np.nan
    return scores_3N[0], scores_3N[1], scores_3N[2]


def compute_ks(pit: npt.ArrayLike) -> float:
    """Compute the Kolmogorov-Smirnov distance of PIT from the uniform distribution; NaN without a finite value.

    Examples
    --------
    >>> compute_ks([0.25, 0.75])
    0.25
    """
    values = _sort(pit)
    if not values.size:
        return float("nan")
    # The empirical distribution jumps at each value: its distance from a line is greatest just before or just at one.
    places = np.arange(len(values) + 1) / len(values)
    return float(max((places[1:] - values).max(), (values - places[:-1]).max()))


def compute_coverage(quantiles_NQ: npt.ArrayLike, z_spec: npt.ArrayLike, probability: float) -> float:
    """Compute the fraction of galaxies whose true redshift lies in the central interval of this probability.

    Parameters
    ----------
    quantiles_NQ, z_spec
        As in `compute_pit`; galaxies with NaN are left out.
    probability : float
        0.68 and 0.95 take the stored limits; any other one, too, is looked up in PIT.

    Returns
    -------
    float
        NaN without galaxies.

    Examples
    --------
    >>> compute_coverage([np.linspace(0.1, 0.3, 27)] * 2, [0.2, 0.31], 0.68)
    0.5
    """
    z_NQ, spec_N = np.asarray(quantiles_NQ, dtype=np.float64), np.asarray(z_spec, dtype=np.float64)
    # 0.5 - 0.68 / 2 is 0.15999999999999998, which is none of the levels.
    low, high = round(0.5 - probability / 2, 6), round(0.5 + probability / 2, 6)
    if low in LEVELS and high in LEVELS:
        # A row's quantiles are all there or all NaN.
        known_N = np.isfinite(z_NQ[:, 0]) & np.isfinite(spec_N)
        inside_N = (spec_N >= z_NQ[:, LEVELS.index(low)]) & (spec_N <= z_NQ[:, LEVELS.index(high)])
        return float(inside_N[known_N].mean()) if known_N.any() else float("nan")
    return compute_pit_coverage(compute_pit(z_NQ, spec_N), probability)


def compute_pit_coverage(pit: npt.ArrayLike, probability: float) -> float:
    """Compute the fraction of galaxies whose PIT lies in the central interval; NaN without a finite value.

    >>> compute_pit_coverage([0.05, 0.4, 0.6, 0.95], 0.68)
    0.5
    """
    values = _sort(pit)
    # The central interval of p(z) is the one whose PIT is central, whatever the shape of p(z).
    inside = np.abs(values - 0.5) <= probability / 2
    return float(inside.mean()) if values.size else float("nan")


def count_pit(pit: npt.ArrayLike, *, bins: int = 20) -> tuple[Floats, Floats]:
    """Compute the histogram of PIT as a density, 1 everywhere for calibrated p(z); returns density and edges.

    >>> count_pit([0.1, 0.2, 0.7, 0.8], bins=2)[0].tolist()
    [1.0, 1.0]
    """
    values = _sort(pit)
    counts, edges = np.histogram(values, bins=bins, range=(0.0, 1.0))
    # Without a galaxy the density is 0 and not 0 / 0.
    return counts * bins / max(1, len(values)), edges


def compute_qq(pit: npt.ArrayLike, *, points: int = 101) -> tuple[Floats, Floats]:
    """Compute QQ values: probabilities, and the quantiles of PIT there, which equal them for calibrated p(z).

    >>> compute_qq([0.0, 0.25, 0.5, 0.75, 1.0], points=3)[1].tolist()
    [0.0, 0.5, 1.0]
    """
    values, wanted = _sort(pit), np.linspace(0.0, 1.0, points)
    return wanted, np.quantile(values, wanted) if values.size else np.full(points, np.nan)


def _sort(pit: npt.ArrayLike) -> Floats:
    values = np.asarray(pit, dtype=np.float64)
    return np.sort(values[np.isfinite(values)])
