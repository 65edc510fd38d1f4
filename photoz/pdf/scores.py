"""Figures of redshift densities p(z) on a grid. Pure functions on arrays."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def compute_cde_losses(pdf_NZ: npt.ArrayLike, z_grid: npt.ArrayLike, z_spec: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute each galaxy's term of the conditional density estimation loss, the mean of which is the loss.

    Parameters
    ----------
    pdf_NZ : array_like, shape (N, Z)
        Density in z.
    z_grid : array_like, shape (Z,)
        Increasing.
    z_spec : array_like, shape (N,)
        Outside the grid the density counts as 0.

    Returns
    -------
    ndarray of float64, shape (N,)
        Integral of p² minus 2 p(z_spec): lower is better. NaN where p(z) is.

    References
    ----------
    Izbicki & Lee 2017, Electronic Journal of Statistics 11, 2800; Schmidt et al. 2020, MNRAS 499, 1587, equation 7.

    Examples
    --------
    >>> compute_cde_losses([[1.0, 1.0, 1.0]], [0.0, 0.5, 1.0], [0.3]).tolist()
    [-1.0]
    """
    pdf, grid, spec = (np.asarray(values, dtype=np.float64) for values in (pdf_NZ, z_grid, z_spec))
    return integrate_cde_losses(pdf, grid, _interpolate(pdf, grid, spec))


def compute_crps(pdf_NZ: npt.ArrayLike, z_grid: npt.ArrayLike, z_spec: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute the continuous ranked probability score of each galaxy.

    Parameters
    ----------
    pdf_NZ, z_grid, z_spec
        As in `compute_cde_losses`; each density is first scaled to an integral of 1.

    Returns
    -------
    ndarray of float64, shape (N,)
        Integral of (CDF - step at z_spec)² [redshift]: lower is better. NaN where p(z) is.

    References
    ----------
    Matheson & Winkler 1976, Management Science 22, 1087.

    Notes
    -----
    The cumulative density is linear between grid points, and so is the integral exact up to the cell with the step.

    Examples
    --------
    >>> compute_crps([[1.0, 1.0, 1.0]], [0.0, 0.5, 1.0], [0.5]).round(4).tolist()
    [0.0833]
    """
    pdf, grid, spec = (np.asarray(values, dtype=np.float64) for values in (pdf_NZ, z_grid, z_spec))
    cells = 0.5 * (pdf[:, 1:] + pdf[:, :-1]) * np.diff(grid)
    cdf = np.concatenate([np.zeros((len(pdf), 1)), np.cumsum(cells, axis=1)], axis=1)
    # A density that is 0 on the whole grid has no integral to be scaled by: its score is NaN, and no warning is wanted.
    with np.errstate(invalid="ignore", divide="ignore"):
        cdf = cdf / cdf[:, -1:]
    return integrate_crps(cdf, np.broadcast_to(grid, pdf.shape), spec)


def integrate_cde_losses(pdf_NZ: Floats, z_NZ: Floats, density_N: Floats) -> Floats:
    """Compute the terms of the CDE loss.

    Parameters
    ----------
    pdf_NZ : ndarray of float64, shape (N, Z)
        Densities on a grid.
    z_NZ : ndarray of float64, shape (Z,) or (N, Z)
        The grid, one for all or each galaxy's own.
    density_N : ndarray of float64, shape (N,)
        Densities at the true redshifts.
    """
    losses: Floats = np.trapezoid(pdf_NZ**2, z_NZ, axis=1) - 2 * density_N
    return losses


def integrate_crps(cdf_NZ: Floats, z_NZ: Floats, z_spec: Floats) -> Floats:
    """Compute CRPS [redshift] from cumulative distributions, linear between the points of a grid, shape (N,).

    Parameters
    ----------
    cdf_NZ, z_NZ : ndarray of float64, shape (N, Z)
        Cumulative distributions and each galaxy's own rising grid.
    z_spec : ndarray of float64, shape (N,)
        True redshifts; NaN gives NaN.
    """
    low, high = cdf_NZ[:, :-1], cdf_NZ[:, 1:]
    steps = np.diff(z_NZ, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Cells of no width, where knots of a curve fell on 0 together, divide by 0 here; `score` below leaves them out.
        share = np.clip((z_spec[:, None] - z_NZ[:, :-1]) / steps, 0.0, 1.0)
    below = (low**2 + low * high + high**2) / 3  # mean of cdf² over a cell
    above = ((1 - low) ** 2 + (1 - low) * (1 - high) + (1 - high) ** 2) / 3
    # The step cuts one cell in two: before it counts cdf², after it (1 - cdf)², each exactly for a cdf that is linear
    # there.
    middle = low + share * (high - low)
    part_below = (low**2 + low * middle + middle**2) / 3 * share
    part_above = ((1 - middle) ** 2 + (1 - middle) * (1 - high) + (1 - high) ** 2) / 3 * (1 - share)
    whole = np.where(share >= 1, below, np.where(share <= 0, above, part_below + part_above))
    # Beyond the grid the cdf is 0 or 1, so that the integrand is 1 as far as the true redshift.
    outside = np.maximum(z_spec - z_NZ[:, -1], 0.0) + np.maximum(z_NZ[:, 0] - z_spec, 0.0)
    # 0 times the cdf and not 0: a row of NaN stays NaN.
    score: Floats = np.where(steps > 0, whole * steps, 0.0 * cdf_NZ[:, 1:]).sum(axis=1) + outside
    return score


def _interpolate(pdf: npt.NDArray[np.float64], grid: npt.NDArray[np.float64], at: npt.NDArray[np.float64]) -> Floats:
    # The end cells also for what lies beyond: the last line makes those 0.
    upper = np.clip(np.searchsorted(grid, at), 1, len(grid) - 1)
    share = (at - grid[upper - 1]) / (grid[upper] - grid[upper - 1])
    rows = np.arange(len(pdf))
    values = (1 - share) * pdf[rows, upper - 1] + share * pdf[rows, upper]
    return np.where((at < grid[0]) | (at > grid[-1]), 0.0, values)
