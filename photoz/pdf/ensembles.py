"""Densities as qp and RAIL know them: an ensemble of quantiles, or of values on a grid."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from photoz.optional import needs
from photoz.pdf.curves import Curves
from photoz.pdf.quantiles import compute_pdfs
from photoz.schema import LEVELS

if TYPE_CHECKING:
    import qp

Floats = npt.NDArray[np.float64]


def make_ensemble(
    quantiles_NQ: npt.ArrayLike, *, z_grid: npt.ArrayLike | None = None, ancil: Mapping[str, Any] | None = None
) -> "qp.Ensemble":
    """Make a ``qp.Ensemble`` of p(z).

    Parameters
    ----------
    quantiles_NQ : array_like of float, shape (N, Q)
        Redshifts at `photoz.schema.LEVELS`, finite: qp knows no missing p(z).
    z_grid : array_like of float, shape (Z,), optional
        Grid of an ensemble of type ``interp``, whose densities are those of `photoz.pdf.compute_pdfs`. None makes one
        of type ``quant``, which holds the quantiles themselves and interpolates between them in qp's own way. A p(z)
        of which the grid sees nothing, being narrower than its steps or beyond its end, is put on the nearest point.
    ancil : mapping of str to array, optional
        Its ancillary table.

    Returns
    -------
    qp.Ensemble

    Raises
    ------
    MissingPackageError
        The package qp-prob is not installed.
    """
    qp = import_qp()
    z_NQ = np.asarray(quantiles_NQ, dtype=np.float64)
    if z_grid is not None:
        grid = np.asarray(z_grid, dtype=np.float64)
        return qp.Ensemble(qp.interp, data={"xvals": grid, "yvals": _compute_seen(z_NQ, grid)}, ancil=ancil)
    # Equal ones apart by parts of the step they were rounded to, since between them qp's density would be infinite.
    data = {"quants": np.asarray(LEVELS), "locs": Curves.through(z_NQ).z_NQ}
    return qp.Ensemble(qp.quant, data=data, ancil=ancil)


def _compute_seen(z_NQ: Floats, grid: Floats) -> Floats:
    pdf_NZ = compute_pdfs(z_NQ, grid)
    # qp scales every row to 1, and one of zeros would become NaN.
    unseen_N = np.flatnonzero(~(pdf_NZ.sum(axis=1) > 0))
    median_N = z_NQ[unseen_N, LEVELS.index(0.5)]
    pdf_NZ[unseen_N, np.abs(grid - median_N[:, None]).argmin(axis=1)] = 1.0
    return pdf_NZ


def import_qp() -> Any:
    """Import qp, or say which package it is in."""
    with needs("a qp.Ensemble", "qp-prob", extra="qp"):
        import qp
    return qp
