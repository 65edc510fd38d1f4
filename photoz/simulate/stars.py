"""Stars: colours of the observed stellar locus, counts as towards the Galactic pole.

References
----------
Covey et al. 2007, AJ 134, 2398, table 1: median SDSS and 2MASS colours as a function of g - i.
"""

from collections.abc import Sequence

import numpy as np

from photoz.simulate.seds import Floats

BRIGHTEST, FAINTEST = 10.0, 22.0
"""[mag(AB)] range of r."""

_COUNT_SLOPE = 0.15  # d log N / dm, about that of high-latitude star counts over this range

# g-i, then u-g, g-r, r-i, i-z (AB), z-J (AB minus Vega), J-H, H-Ks (Vega); and the stars counted at that colour.
_LOCUS = np.array(
    [
        [0.30, 1.07, 0.24, 0.06, 0.00, 0.79, 0.23, 0.08, 0.3],
        [0.50, 1.14, 0.37, 0.13, 0.03, 0.84, 0.31, 0.07, 1.0],
        [0.70, 1.40, 0.51, 0.19, 0.06, 0.91, 0.38, 0.08, 1.6],
        [0.90, 1.73, 0.66, 0.24, 0.11, 0.98, 0.46, 0.09, 1.5],
        [1.10, 2.04, 0.80, 0.30, 0.14, 1.04, 0.53, 0.11, 1.2],
        [1.40, 2.38, 1.02, 0.38, 0.20, 1.10, 0.60, 0.12, 1.0],
        [1.70, 2.57, 1.21, 0.49, 0.26, 1.16, 0.65, 0.14, 1.0],
        [2.00, 2.61, 1.35, 0.65, 0.35, 1.21, 0.66, 0.18, 1.3],
        [2.30, 2.60, 1.41, 0.88, 0.47, 1.27, 0.64, 0.21, 1.7],
        [2.60, 2.58, 1.41, 1.18, 0.62, 1.35, 0.61, 0.24, 1.7],
        [2.90, 2.61, 1.45, 1.45, 0.77, 1.44, 0.60, 0.27, 0.9],
        [3.20, 2.64, 1.52, 1.68, 0.90, 1.54, 0.59, 0.30, 0.2],
    ]
)
_VEGA_TO_AB = {"J": 0.91, "H": 1.39, "Ks": 1.85}  # Blanton & Roweis 2007


def draw_stars(rng: np.random.Generator, number: int, bands: Sequence[str]) -> Floats:
    """Draw the magnitudes of stars.

    Parameters
    ----------
    rng : numpy.random.Generator
    number : int
    bands : sequence of str
        Of u g r i Z Y J H Ks. VIKING's Z is taken as SDSS z, and Y lies between z and J in proportion to wavelength.

    Returns
    -------
    ndarray of float64, shape (number, B)
        [mag(AB)]
    """
    steepness = np.log(10) * _COUNT_SLOPE
    span = np.exp(steepness * (FAINTEST - BRIGHTEST)) - 1
    # The inverse of the cumulative counts, so that one uniform number gives one star.
    r = BRIGHTEST + np.log1p(rng.random(number) * span) / steepness
    # By trapezoids, without their common width: the draw is scaled by the last value.
    cumulative = np.concatenate([[0.0], np.cumsum(_LOCUS[:-1, 8] + _LOCUS[1:, 8])])
    g_i = np.interp(rng.random(number) * cumulative[-1], cumulative, _LOCUS[:, 0])
    u_g, g_r, r_i, i_z, z_j, j_h, h_k = (np.interp(g_i, _LOCUS[:, 0], column) for column in _LOCUS.T[1:8])
    # Colours add up along the bands, so each magnitude hangs on r.
    z = r - r_i - i_z
    j = z - z_j
    magnitudes = {"u": r + g_r + u_g, "g": r + g_r, "r": r, "i": r - r_i, "Z": z}
    magnitudes |= {"J": j + _VEGA_TO_AB["J"], "H": j - j_h + _VEGA_TO_AB["H"], "Ks": j - j_h - h_k + _VEGA_TO_AB["Ks"]}
    magnitudes["Y"] = 0.62 * magnitudes["Z"] + 0.38 * magnitudes["J"]
    scatter = 0.03 * rng.standard_normal((number, len(bands)))  # width of the locus, same table
    # r was drawn: its limits hold, and the scatter is that of the colours against it.
    scatter[:, list(bands).index("r")] = 0.0
    return np.stack([magnitudes[band] for band in bands], axis=1) + scatter
