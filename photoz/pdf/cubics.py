"""A cubic that rises with its two ends: what interpolates a recalibration's table and a mixture's quantiles.

scipy's PchipInterpolator takes one x for all rows, where each galaxy here has a table of its own: called for each
galaxy it takes sixty times as long. Where x is one for all, in `photoz.pdf.pitmaps`, it is used. The curves of
`photoz.pdf.curves` choose other slopes, need the derivative, and go on beyond their ends.
"""

from typing import Any


def rise_cubically(share: Any, rise: Any, first: Any, last: Any) -> Any:
    """Compute how far a cubic has risen at a share of the way between its ends.

    Parameters
    ----------
    share : ndarray or Tensor of float
        In 0..1 of the way.
    rise : ndarray or Tensor of float
        From the one end to the other, at least 0.
    first, last : ndarray or Tensor of float
        Slopes at the ends times the width between them: from 0 to 3 times the rise keep it from falling.

    Returns
    -------
    ndarray or Tensor of float
        0 at the one end, ``rise`` at the other.

    References
    ----------
    Fritsch & Carlson 1980, SIAM Journal on Numerical Analysis 17, 238: the limit of 3.

    Examples
    --------
    >>> rise_cubically(0.5, 1.0, 1.0, 1.0), rise_cubically(0.5, 1.0, 0.0, 3.0)
    (0.5, 0.125)
    """
    # Horner's form of the Hermite cubic; written with operators alone, so that arrays and tensors both pass through.
    return share * (first + share * (3 * rise - 2 * first - last + share * (first + last - 2 * rise)))
