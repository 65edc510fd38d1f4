"""Curves through quantiles: the cumulative distribution and density of p(z) between and beyond what is stored."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from photoz.schema import LEVELS

STEP = 1e-4
"""Of a stored redshift: a fifteenth of the best scatter known (Pasquet et al. 2019: below 0.01), up to z = 6.5."""
_POINTS = 6  # of a curve between two quantiles; the tails, being longer, get as many for each of their parts
_TAIL = np.array([-5.0, -4.3, -3.7])  # normal deviates that carry the tails on
_ROOT = np.sqrt(2 * np.pi)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curves:
    """The cumulative distributions of N galaxies: normal deviates as monotone cubics of redshift.

    With F the cumulative distribution and G that of the normal distribution, y(z) = G⁻¹(F(z)) is a straight line for a
    Gaussian p(z), so that what is interpolated is only how far p(z) is from one. Between quantiles y is a cubic whose
    slopes are those that keep it rising; beyond the outermost it goes on as a straight line, which makes the tails
    those of a Gaussian. Redshifts below 0 have no probability.

    Parameters
    ----------
    z_NQ : ndarray of float64, shape (N, Q)
        Strictly rising quantiles at `photoz.schema.LEVELS`; rows of NaN give NaN.
    slopes_NQ : ndarray of float64, shape (N, Q)
        dy/dz there.

    References
    ----------
    Fritsch & Butland 1984, SIAM Journal on Scientific and Statistical Computing 5, 300: the slopes.
    """

    z_NQ: Floats
    slopes_NQ: Floats

    @classmethod
    def through(cls, quantiles_NQ: npt.ArrayLike) -> Self:
        """Lay curves through quantiles that do not fall along a row.

        Equal ones are spread over the step they were rounded to; those at 0, where a p(z) that reached below was cut,
        over the redshifts up to the next one.
        """
        # Zeros first: they stand for a stretch down to 0, and must not be taken for equal quantiles within a step.
        z_NQ = _separate(_lift_zeros(np.asarray(quantiles_NQ, dtype=np.float64)))
        widths_NQ = np.diff(z_NQ, axis=1)
        return cls(z_NQ, _choose_slopes(widths_NQ, np.diff(_DEVIATES) / widths_NQ))

    def evaluate(self, z_NZ: Floats) -> tuple[Floats, Floats]:
        """Compute the probability below each redshift and the density there, each of shape (N, Z)."""
        # The tail below 0 is cut off and the rest scaled to 1.
        below_N1 = ndtr(self._compute_deviates(np.zeros((len(self.z_NQ), 1)))[0])
        deviate_NZ, slope_NZ = self._compute_deviates(z_NZ)
        whole_N1 = 1 - below_N1
        # Not z >= 0: a redshift that is NaN is to come out NaN, not 0.
        possible_NZ = ~(z_NZ < 0)
        cdf_NZ = np.where(possible_NZ, (ndtr(deviate_NZ) - below_N1) / whole_N1, 0.0)
        pdf_NZ = np.where(possible_NZ, np.exp(-0.5 * deviate_NZ**2) / _ROOT * slope_NZ / whole_N1, 0.0)
        missing_N1 = np.isnan(self.z_NQ[:, :1])
        return np.where(missing_N1, np.nan, np.clip(cdf_NZ, 0.0, 1.0)), np.where(missing_N1, np.nan, pdf_NZ)

    def sample(self) -> Floats:
        """Return redshifts that follow each galaxy's curve from tail to tail, shape (N, P), rising, none below 0."""
        first_N1, last_N1 = self.z_NQ[:, :1], self.z_NQ[:, -1:]
        before_NT = first_N1 + (_TAIL - _DEVIATES[0]) / self.slopes_NQ[:, :1]
        after_NT = last_N1 - (_TAIL[::-1] - _DEVIATES[0]) / self.slopes_NQ[:, -1:]
        # Several knots may fall on 0; steps of no width add nothing to an integral.
        knots_NK = np.maximum(np.concatenate([before_NT, self.z_NQ, after_NT], axis=1), 0.0)
        shares_P = np.arange(_POINTS) / _POINTS
        steps_NKP = np.diff(knots_NK, axis=1)[:, :, None] * shares_P
        # Points follow each curve: one grid for all, fine enough for the narrowest p(z), would be much longer.
        # The length is given: of no galaxies numpy could not tell it.
        inner_NP = (knots_NK[:, :-1, None] + steps_NKP).reshape(len(knots_NK), _POINTS * (knots_NK.shape[1] - 1))
        return np.concatenate([inner_NP, knots_NK[:, -1:]], axis=1)

    def _compute_deviates(self, z_NZ: Floats) -> tuple[Floats, Floats]:
        """Compute the normal deviate y(z) and its slope, each of shape (N, Z)."""
        # Redshifts beyond the ends take the outermost cubic, whose end slope the straight line has.
        left_NZ = np.clip(_count_below(self.z_NQ, z_NZ) - 1, 0, len(LEVELS) - 2)
        z0, z1, d0, d1 = (
            np.take_along_axis(values, left_NZ + shift, 1) for values in (self.z_NQ, self.slopes_NQ) for shift in (0, 1)
        )
        y0, y1 = _DEVIATES[left_NZ], _DEVIATES[left_NZ + 1]
        width = z1 - z0
        # Held at the ends: a cubic goes astray beyond them, and may fall.
        t = np.clip((z_NZ - z0) / width, 0.0, 1.0)
        c, d = 3 * (y1 - y0) - width * (2 * d0 + d1), 2 * (y0 - y1) + width * (d0 + d1)
        deviate = y0 + t * (width * d0 + t * (c + t * d))
        slope = d0 + t * (2 * c + 3 * t * d) / width
        beyond = np.where(z_NZ < z0, (z_NZ - z0) * d0, np.where(z_NZ > z1, (z_NZ - z1) * d1, 0.0))
        return deviate + beyond, slope


_DEVIATES = ndtri(np.asarray(LEVELS))


def _lift_zeros(z_NQ: Floats) -> Floats:
    """Spread the probability of quantiles at 0 evenly up to the first that is not, or over a step."""
    levels = np.asarray(LEVELS)
    # Below half a step, for that is what was rounded to 0.
    zero_NQ = z_NQ < 0.5 * STEP
    if not zero_NQ.any():
        return z_NQ
    next_N = np.minimum(zero_NQ.sum(axis=1), len(levels) - 1)
    rows = np.arange(len(z_NQ))
    reach_N = np.where(zero_NQ.all(axis=1), STEP, z_NQ[rows, next_N])
    # In proportion to the levels, which is an even density from 0 to the first quantile above.
    return np.where(zero_NQ, reach_N[:, None] * levels / levels[next_N][:, None], z_NQ)


def _separate(z_NQ: Floats) -> Floats:
    """Spread equal quantiles evenly over the step they were rounded to, so that they rise."""
    places_Q = np.arange(z_NQ.shape[1])
    # A thousandth of a step: quantiles come as float64 multiples of it, equal but for rounding, or unrounded from a
    # network.
    same_NQ = np.diff(z_NQ, axis=1) < 1e-3 * STEP
    starts_NQ = np.concatenate([np.full((len(z_NQ), 1), True), ~same_NQ], axis=1)
    ends_NQ = np.concatenate([~same_NQ, np.full((len(z_NQ), 1), True)], axis=1)
    first_NQ = np.maximum.accumulate(np.where(starts_NQ, places_Q, 0), axis=1)
    last_NQ = np.minimum.accumulate(np.where(ends_NQ, places_Q, places_Q[-1])[:, ::-1], axis=1)[:, ::-1]
    count_NQ = last_NQ - first_NQ + 1
    # Within half a step to either side, so that neither the run's middle moves nor its ends meet its neighbours.
    offset_NQ = (places_Q - first_NQ + 0.5) / count_NQ - 0.5
    separated_NQ: Floats = z_NQ + STEP * offset_NQ
    return separated_NQ


def _choose_slopes(widths_NQ: Floats, secants_NQ: Floats) -> Floats:
    """Choose the slope at each quantile: a harmonic mean of the secants beside it, the nearest secant's at the ends."""
    left, right = widths_NQ[:, :-1], widths_NQ[:, 1:]
    # The weights of scipy's PchipInterpolator, which has one x for all rows where these have their own.
    first, second = 2 * right + left, right + 2 * left
    inner_NQ = (first + second) / (first / secants_NQ[:, :-1] + second / secants_NQ[:, 1:])
    return np.concatenate([secants_NQ[:, :1], inner_NQ, secants_NQ[:, -1:]], axis=1)


def _count_below(z_NQ: Floats, at_NZ: Floats) -> npt.NDArray[np.int64]:
    """Count the quantiles at or below each redshift, shape (N, Z)."""
    # One search for all rows, laid end to end: redshifts beyond a row's own are held at its ends.
    with np.errstate(invalid="ignore"):
        span = float(np.nanmax(z_NQ, initial=0.0)) + 1.0
    # Twice the span: a row's values and what is looked for in it stay clear of the next row's.
    offset_N1 = 2 * span * np.arange(len(z_NQ))[:, None]
    filled_NQ = np.nan_to_num(z_NQ, nan=0.0)
    held_NZ = np.clip(np.nan_to_num(at_NZ, nan=0.0), -0.5, span)
    found = np.searchsorted((filled_NQ + offset_N1).ravel(), (held_NZ + offset_N1).ravel(), side="right")
    counts: npt.NDArray[np.int64] = found.reshape(at_NZ.shape) - z_NQ.shape[1] * np.arange(len(z_NQ))[:, None]
    return counts
