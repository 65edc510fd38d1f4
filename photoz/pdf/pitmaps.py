"""One map of probabilities: the distribution of PIT of some galaxies, as a function of magnitude and colour."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
from numpy.polynomial import legendre
from scipy.interpolate import PchipInterpolator
from scipy.special import eval_legendre, logsumexp, ndtr, ndtri

from photoz.pdf.cubics import rise_cubically

EDGE = 1e-6
"""Nearest to 0 or 1 that a level of the raw p(z) comes: beyond it, the tails of a mixture are not what was fitted."""

_KNOTS = np.array([0.005, 0.03, 0.15, 0.5, 0.85, 0.97, 0.995])  # few: each more adds noise
_PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way from what the raw p(z) says to the knots, tried
_MODES = 4  # shift, width, skewness and tails
_NODE_SHARES = np.array([0.05, 0.2, 0.4, 0.6, 0.8, 0.95])  # each node stands for about a fifth of the galaxies
_NODES = len(_NODE_SHARES)
_SPREADS = (0.0, 0.05, 0.1, 0.2, 0.4)  # of the coefficients between nodes, tried; 0: one map for all
_SPREAD_OF_ALL = 0.05  # of the coefficients that all nodes share: what the knots leave over
_FOLDS = 5
_GRID = np.linspace(0.0, 1.0, 65)
_CHUNK = 1024  # galaxies at once: their densities on the grid stay in the cache

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PitMap:
    """See `photoz.pdf.Recalibration`, which holds several.

    Parameters
    ----------
    knots_K : ndarray of float64, shape (K,)
        Quantiles of the raw PIT, as normal deviates.
    nodes_CM : ndarray of float64, shape (2, M)
        Magnitudes and colours [mag] between which the coefficients are interpolated; constant outside.
    theta_JL : ndarray of float64, shape (1 + 2 M, L)
        Coefficients of the Legendre polynomials of all galaxies, then what each node adds.
    """

    knots_K: Floats
    nodes_CM: Floats
    theta_JL: Floats

    @classmethod
    def identity(cls) -> "PitMap":
        """Return the map that changes nothing."""
        nodes_CM = np.tile(np.arange(_NODES, dtype=np.float64), (2, 1))
        return cls(ndtri(_KNOTS), nodes_CM, np.zeros((1 + 2 * _NODES, _MODES)))

    @classmethod
    def fit(cls, pit_N: Floats, coordinates_NC: Floats) -> "PitMap":
        """Fit to finite PITs; coordinates may be NaN."""
        # On the scale of normal deviates a map that is nearly right is nearly a straight line, also in the tails.
        knots_K = _fit_knots(ndtri(np.clip(pit_N, EDGE, 1 - EDGE)))
        normal_G, raw_G = _tabulate(knots_K)
        # What the seven knots leave over is then fitted as a function of magnitude and colour: a small correction of a
        # nearly uniform PIT.
        middle_N = ndtr(np.interp(ndtri(np.clip(pit_N, EDGE, 1 - EDGE)), raw_G, normal_G))
        nodes_CM = np.stack([_place_nodes(values_N) for values_N in coordinates_NC.T])
        weights_NJ = _weigh_nodes(coordinates_NC, nodes_CM)
        # By galaxies left out, and the least spread first: on a tie the simpler map stays.
        spread = max(_SPREADS, key=lambda each: _cross_validate(weights_NJ, middle_N, each))
        return cls(knots_K, nodes_CM, _fit_modes(weights_NJ, middle_N, spread))

    def lower(self, pit_NQ: Floats, coordinates_NC: Floats) -> Floats:
        """Turn calibrated probabilities into raw ones, strictly rising with them, shape (N, Q)."""
        normal_G, raw_G = self._table
        raw_NQ = np.empty(pit_NQ.shape)
        for rows in _split(len(pit_NQ)):
            cdf_NG, density_NG = self._accumulate(coordinates_NC[rows])
            grid_NG = np.broadcast_to(_GRID, cdf_NG.shape)
            # The inverse, by the same tables the other way round: the inverse's slope is one over the density.
            middle_NQ = _interpolate_rows(cdf_NG, grid_NG, 1 / density_NG, pit_NQ[rows])
            raw_NQ[rows] = ndtr(np.interp(ndtri(middle_NQ), normal_G, raw_G))
        # What is clipped must rise still, by so little that nothing else notices.
        return (1 - EDGE) * np.clip(raw_NQ, EDGE, 1 - EDGE) + EDGE * np.clip(pit_NQ, EDGE, 1 - EDGE)

    def lift(self, pit_NQ: Floats, coordinates_NC: Floats) -> Floats:
        """Turn raw probabilities into calibrated ones, shape (N, Q)."""
        normal_G, raw_G = self._table
        lifted_NQ = np.empty(pit_NQ.shape)
        for rows in _split(len(pit_NQ)):
            middle_NQ = ndtr(np.interp(ndtri(np.clip(pit_NQ[rows], EDGE, 1 - EDGE)), raw_G, normal_G))
            cdf_NG, density_NG = self._accumulate(coordinates_NC[rows])
            lifted_NQ[rows] = _interpolate_rows(np.broadcast_to(_GRID, cdf_NG.shape), cdf_NG, density_NG, middle_NQ)
        return lifted_NQ

    @cached_property
    def _table(self) -> tuple[Floats, Floats]:
        return _tabulate(self.knots_K)

    def _accumulate(self, coordinates_NC: Floats) -> tuple[Floats, Floats]:
        """Compute the cumulative distribution of each galaxy and its density on the grid, each of shape (N, G)."""
        theta_NL = _weigh_nodes(coordinates_NC, self.nodes_CM) @ self.theta_JL
        modes_GL, slopes_GL = _tabulate_modes()
        density_NG = _compute_density(theta_NL, modes_GL)
        fall_NG = density_NG * (theta_NL @ slopes_GL.T)
        density_NG += EDGE  # so that the distribution rises everywhere
        # The trapezoidal rule with the first of Euler and Maclaurin's corrections, which is exact for cubics.
        step = _GRID[1]
        pieces_NG = 0.5 * (density_NG[:, 1:] + density_NG[:, :-1]) - step / 12 * (fall_NG[:, 1:] - fall_NG[:, :-1])
        cdf_NG = np.zeros_like(density_NG)
        # The correction may make a piece of a steep density negative, and the distribution fall there.
        np.cumsum(np.maximum(pieces_NG, EDGE), axis=1, out=cdf_NG[:, 1:])
        return cdf_NG / cdf_NG[:, -1:], density_NG / (step * cdf_NG[:, -1:])


def _fit_knots(deviates_N: Floats) -> Floats:
    """Fit the knots: quantiles of the PITs, as far from those of a normal distribution as galaxies left out bear out.

    Of 400 galaxies the quantiles alone put the 68 % interval of a p(z) that was right 2 points off, by chance.
    """
    fold_N = np.arange(len(deviates_N)) % _FOLDS  # the order of the galaxies says nothing of them
    scores_P = np.zeros(len(_PARTS))
    for fold in range(_FOLDS):
        own_K = _place_knots(deviates_N[fold_N != fold])
        left_out_N = deviates_N[fold_N == fold]
        scores_P += [_score_knots(_move_knots(own_K, part), left_out_N) for part in _PARTS]
    # The first of equals: the raw p(z).
    return _move_knots(_place_knots(deviates_N), _PARTS[int(np.argmax(scores_P))])


def _place_knots(deviates_N: Floats) -> Floats:
    # PITs that are all 0 or 1 would make knots fall together.
    return np.asarray(np.quantile(deviates_N, _KNOTS) + 1e-6 * np.arange(len(_KNOTS)))


def _move_knots(knots_K: Floats, part: float) -> Floats:
    return np.asarray(part * knots_K + (1 - part) * ndtri(_KNOTS))


def _score_knots(knots_K: Floats, deviates_N: Floats) -> float:
    """Compute the log likelihood of PITs, as normal deviates, under a map, without constants."""
    normal_G, raw_G = _tabulate(knots_K)
    normal_N = np.interp(deviates_N, raw_G, normal_G)
    slope_N = np.interp(deviates_N, raw_G, np.gradient(normal_G, raw_G))
    return float((np.log(slope_N) - 0.5 * normal_N**2).sum())


def _tabulate(knots_K: Floats) -> tuple[Floats, Floats]:
    """Tabulate the map through the knots, of normal deviates; outside them it is a shift. Returns normal, raw."""
    # Two points on either side with slope 1 make the cubic go over into a shift; more than four deviates out np.interp
    # holds the end.
    ends = np.array([-4.0, -2.0, 2.0, 4.0])
    normal_K = ndtri(_KNOTS)
    x = np.concatenate([normal_K[0] + ends[:2], normal_K, normal_K[-1] + ends[2:]])
    y = np.concatenate([knots_K[0] + ends[:2], knots_K, knots_K[-1] + ends[2:]])
    normal_G = np.linspace(x[0], x[-1], 1025)
    return normal_G, PchipInterpolator(x, y)(normal_G)


def _compute_modes(pit_N: Floats) -> Floats:
    """Compute the Legendre polynomials of degree 1 and up, of variance 1 for uniform PIT, shape (N, L)."""
    return np.stack([np.sqrt(2 * k + 1) * eval_legendre(k, 2 * pit_N - 1) for k in range(1, _MODES + 1)], axis=1)


@cache
def _tabulate_modes() -> tuple[Floats, Floats]:
    """Compute the modes on the grid, and their derivatives there."""
    series = [np.sqrt(2 * k + 1) * legendre.legder(np.eye(_MODES + 1)[k]) for k in range(1, _MODES + 1)]
    return _compute_modes(_GRID), np.stack([2 * legendre.legval(2 * _GRID - 1, one) for one in series], axis=1)


def _compute_density(theta_NL: Floats, modes_GL: Floats) -> Floats:
    """Compute densities in units of each row's largest."""
    exponent_NG = theta_NL @ modes_GL.T
    # In units of the largest, so that no exponential overflows; every use divides by the sum.
    density_NG: Floats = np.exp(exponent_NG - exponent_NG.max(axis=1, keepdims=True))
    return density_NG


def _place_nodes(values_N: Floats) -> Floats:
    known_N = values_N[np.isfinite(values_N)]
    # No galaxy has the coordinate, and so none will ask for these: they only have to rise.
    if not len(known_N):
        return np.arange(_NODES, dtype=np.float64)
    nodes_M: Floats = np.quantile(known_N, _NODE_SHARES) + 1e-6 * np.arange(_NODES)  # apart, if all are alike
    return nodes_M


def _weigh_nodes(coordinates_NC: Floats, nodes_CM: Floats) -> Floats:
    """Compute the share of each node in each galaxy's coefficients, shape (N, 1 + 2 M): a NaN has none."""
    parts = [np.ones((len(coordinates_NC), 1))]
    for values_N, nodes_M in zip(coordinates_NC.T, nodes_CM, strict=True):
        # Interpolating each row of the unit matrix gives the weights of linear interpolation, constant beyond the ends.
        hats = [np.interp(values_N, nodes_M, row_M) for row_M in np.eye(_NODES)]
        # NaN to 0: a galaxy without that coordinate has only what all galaxies share.
        parts.append(np.nan_to_num(np.stack(hats, axis=1)))
    return np.concatenate(parts, axis=1)


def _fit_modes(weights_NJ: Floats, pit_N: Floats, spread: float) -> Floats:
    """Fit the coefficients, shape (J, L), to the likelihood times a normal distribution of them about 0."""
    # Spread 0 leaves only what all share: a system of 4 equations in place of 52.
    used = weights_NJ.shape[1] if spread else 1
    weights_NJ, width = weights_NJ[:, :used], weights_NJ.shape[1]
    # The prior makes the system solvable also where a node has no galaxy.
    precision_J = np.full(used, 1 / max(spread, EDGE) ** 2)
    precision_J[0] = 1 / _SPREAD_OF_ALL**2
    modes_NL, theta_JL = _compute_modes(pit_N), np.zeros((used, _MODES))
    for _ in range(8):  # Newton steps up a concave function, from near its top
        gradient_JL, hessian = -precision_J[:, None] * theta_JL, np.diag(np.repeat(precision_J, _MODES))
        for rows in _split(len(pit_N)):
            mean_NL, covariance_NLL = _compute_moments(weights_NJ[rows] @ theta_JL)
            gradient_JL += weights_NJ[rows].T @ (modes_NL[rows] - mean_NL)
            hessian += _weigh_covariances(weights_NJ[rows], covariance_NLL)
        step_JL = np.linalg.solve(hessian, gradient_JL.ravel()).reshape(theta_JL.shape)
        theta_JL += step_JL * min(1.0, 0.5 / max(np.abs(step_JL).max(), EDGE))  # far off, a whole step may overshoot
        if np.abs(step_JL).max() < 1e-3:  # a tenth of the noise of 10,000 galaxies
            break
    whole_JL = np.zeros((width, _MODES))
    whole_JL[:used] = theta_JL
    return whole_JL


@cache
def _prepare_quadrature() -> tuple[Floats, Floats]:
    """Compute the modes at the points of Gauss and Legendre, and their weights."""
    points, weights_G = legendre.leggauss(24)
    return _compute_modes(0.5 * (points + 1)), weights_G


def _compute_moments(theta_NL: Floats) -> tuple[Floats, Floats]:
    """Compute the mean and covariance of the modes in the densities of these coefficients."""
    modes_GL, weights_G = _prepare_quadrature()
    density_NG = _compute_density(theta_NL, modes_GL) * weights_G
    # Of the weights' scale, which add up to 2, and of the unit of each row's density nothing is left.
    density_NG /= density_NG.sum(axis=1, keepdims=True)
    mean_NL = density_NG @ modes_GL
    squares_GLL = modes_GL[:, :, None] * modes_GL[:, None, :]
    square_NLL = (density_NG @ squares_GLL.reshape(len(modes_GL), -1)).reshape(-1, _MODES, _MODES)
    return mean_NL, square_NLL - mean_NL[:, :, None] * mean_NL[:, None, :]


def _weigh_covariances(weights_NJ: Floats, covariance_NLL: Floats) -> Floats:
    """Compute the sum of w wᵀ times the covariance, shape (J L, J L)."""
    nodes = weights_NJ.shape[1]
    # Each pair once, of both, as they are symmetric: a third of the products, by a matrix product that is too small for
    # the linear algebra's threads to share, who wait for each other where other processes have the cores
    # (docs/benchmarks/pdf.md).
    first_P, second_P = np.triu_indices(nodes)
    left_R, right_R = np.triu_indices(_MODES)
    weights_JN = np.ascontiguousarray(weights_NJ.T)
    sums_PR = (weights_JN[first_P] * weights_JN[second_P]) @ covariance_NLL[:, left_R, right_R]
    sums_JLJL = np.empty((nodes, _MODES, nodes, _MODES))
    for one_P, other_P in ((first_P, second_P), (second_P, first_P)):
        for one_R, other_R in ((left_R, right_R), (right_R, left_R)):
            sums_JLJL[one_P[:, None], one_R, other_P[:, None], other_R] = sums_PR
    return sums_JLJL.reshape(nodes * _MODES, -1)


def _cross_validate(weights_NJ: Floats, pit_N: Floats, spread: float) -> float:
    """Compute the log likelihood of galaxies left out of the fit."""
    fold_N = np.arange(len(pit_N)) % _FOLDS  # the order of the galaxies says nothing of them
    total = 0.0
    for fold in range(_FOLDS):
        left_out_N = fold_N == fold
        theta_JL = _fit_modes(weights_NJ[~left_out_N], pit_N[~left_out_N], spread)
        theta_NL = weights_NJ[left_out_N] @ theta_JL
        modes_GL, shares_G = _prepare_quadrature()
        norm_N = logsumexp(theta_NL @ modes_GL.T, b=shares_G, axis=1)
        total += float(((theta_NL * _compute_modes(pit_N[left_out_N])).sum(axis=1) - norm_N).sum())
    return total


def _interpolate_rows(x_NG: Floats, y_NG: Floats, slope_NG: Floats, at_NQ: Floats) -> Floats:
    """Interpolate by rising cubics in each row's own table, whose abscissae rise from 0 to 1; NaN stays NaN.

    Slopes are held to three times the mean one, for a cubic that does not fall.
    """
    count, width = x_NG.shape
    at_NQ = np.clip(at_NQ, 0.0, 1.0)
    rows_N1 = np.arange(count)[:, None]
    # One search for all: row i's table lies in [2 i, 2 i + 1].
    found = np.searchsorted((x_NG + 2.0 * rows_N1).ravel(), (at_NQ + 2.0 * rows_N1).ravel()).reshape(at_NQ.shape)
    upper_NQ = np.clip(found - width * rows_N1, 1, width - 1)
    x0, x1, y0, y1, d0, d1 = (
        np.take_along_axis(values, upper_NQ - shift, 1) for values in (x_NG, y_NG, slope_NG) for shift in (1, 0)
    )
    run, rise = x1 - x0, y1 - y0
    first, last = np.minimum(d0 * run, 3 * rise), np.minimum(d1 * run, 3 * rise)
    share = np.clip((at_NQ - x0) / run, 0.0, 1.0)
    between: Floats = y0 + rise_cubically(share, rise, first, last)
    return between


def _split(count: int) -> Iterator[slice]:
    return (slice(first, first + _CHUNK) for first in range(0, count, _CHUNK))
