"""What an n(z) was made from, and the figures of each of its tomographic bins."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from photoz.nz.distribution import Distribution
from photoz.nz.settings import Nz


@dataclass(frozen=True)
class BinFigures:
    """Figures of one tomographic bin; None where there are no galaxies, or no error.

    Parameters
    ----------
    tomographic_bin : int
        From 1, in order of z_phot.
    z_phot_low, z_phot_high : float
        Its limits.
    galaxies : int
    mean_z, mean_z_err : float or None
        Mean redshift of the bin's n(z), and its bootstrap error.
    share_beyond_grid : float or None
        Of the stacked p(z), beyond the cells that n(z) is given on.
    """

    tomographic_bin: int
    z_phot_low: float
    z_phot_high: float
    galaxies: int
    mean_z: float | None
    mean_z_err: float | None
    share_beyond_grid: float | None


@dataclass(frozen=True)
class NzDescription:
    """What an n(z) was made from; its fields are the keys of the JSON in the table's metadata, in their order.

    Parameters
    ----------
    catalogue : str
        Location.
    method : str
        Stacked p(z), and whose, or a histogram of z_phot.
    selected_rows, rows_without_pdf : int
        Galaxies selected; those of them that were left out for want of p(z).
    excluded_flags : sequence of str
    step : float
        [redshift] width of a cell.
    resamples, seed : int
        Of the bootstrap.
    bins : sequence of BinFigures
    """

    catalogue: str
    method: str
    selected_rows: int
    rows_without_pdf: int
    excluded_flags: Sequence[str]
    step: float
    resamples: int
    seed: int
    bins: Sequence[BinFigures]


@dataclass(frozen=True)
class Stacked:
    """What was stacked: galaxies selected, those of them without p(z), and whose p(z) it is ("": none)."""

    rows: int
    without_pdf: int
    algorithm: str


def describe_nz(
    distribution: Distribution, stacked: Stacked, *, edges: Sequence[float], catalogue: str, nz: Nz, seed: int
) -> NzDescription:
    """Collect what an n(z) was made from, and the figures of each bin.

    Parameters
    ----------
    distribution : Distribution
    stacked : Stacked
    edges : sequence of float
        Of the bins, in z_phot.
    catalogue : str
        Location.
    nz : Nz
        The settings.
    seed : int
        Of the bootstrap.

    Returns
    -------
    NzDescription
    """
    algorithm = stacked.algorithm
    return NzDescription(
        catalogue=catalogue,
        method=f"stacked p(z) of {algorithm}" if algorithm else "histogram of z_phot: the catalogue has no p(z)",
        selected_rows=stacked.rows,
        rows_without_pdf=stacked.without_pdf,
        # By name, since a bit's number says nothing to whoever reads the file without this package.
        excluded_flags=list(nz.exclude_flags),
        step=nz.step,
        resamples=nz.resamples,
        seed=seed,
        bins=[
            BinFigures(
                # From 1, as in the table: 0 stands for a galaxy in no bin.
                tomographic_bin=number + 1,
                z_phot_low=low,
                z_phot_high=high,
                galaxies=int(distribution.count_B[number]),
                mean_z=_plain(distribution.mean_B[number]),
                mean_z_err=_plain(distribution.mean_error_B[number]),
                share_beyond_grid=_plain(distribution.outside_B[number]),
            )
            for number, (low, high) in enumerate(pairwise(edges))
        ],
    )


def format_nz(description: NzDescription) -> str:
    """Format the figures of each bin as lines of text."""
    lines = [f"n(z): {description.method}; {description.selected_rows:,} galaxies selected"]
    for each in description.bins:
        mean = "no galaxies" if each.mean_z is None else f"mean z {each.mean_z:.4f}"
        error = "" if each.mean_z_err is None else f" ± {each.mean_z_err:.4f}"
        # Four digits, to which edges of equally full bins are found (`photoz.nz.distribution.FINE_STEP`).
        limits = f"{each.z_phot_low:.4f} to {each.z_phot_high:.4f}"
        lines.append(f"bin {each.tomographic_bin}: z_phot {limits}, {each.galaxies:,} galaxies, {mean}{error}")
    return "\n".join(lines)


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None
