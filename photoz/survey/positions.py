"""Which rows of a table have a position on the sky, and right ascensions brought into one turn."""

from typing import Any

import numpy as np
import numpy.typing as npt

FARTHEST_RA = 361.0
"""[deg] A tile that crosses right ascension 0 may count on beyond 360; none is a degree wide on either side."""


def find_positions(ra_N: npt.NDArray[Any], dec_N: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tell which rows have a position on the sky: |ra| <= `FARTHEST_RA` and |dec| <= 90 deg; NaN and infinity are none.

    Surveys give right ascension from 0 to 360 or from -180 to 180, and some count on beyond 360 within a tile; what
    lies farther out is no angle but a mistake or a sentinel, and to wrap it would give the source a place that nobody
    measured.

    Examples
    --------
    >>> find_positions(np.array([360.1, -10, 10, np.nan, 400]), np.array([90, 0, -999, 0, 0])).tolist()
    [True, True, False, False, False]
    """
    # A comparison with NaN is false, so that NaN and infinity need no test of their own.
    found: npt.NDArray[np.bool_] = (np.abs(ra_N.astype(float)) <= FARTHEST_RA) & (np.abs(dec_N.astype(float)) <= 90)
    return found


def wrap_ra(ra_N: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Bring right ascensions into [0, 360) [deg]; those that lie there stay what they are, to the last bit.

    Examples
    --------
    >>> wrap_ra(np.array([12.5, -10.0, 360.0, -1e-20])).tolist()
    [12.5, 350.0, 0.0, 0.0]
    """
    wrapped: npt.NDArray[np.float64] = np.mod(ra_N.astype(float), 360.0)
    wrapped[wrapped == 360] = 0  # the remainder of a tiny negative number rounds to the divisor
    return wrapped
