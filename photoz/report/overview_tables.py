"""What an overview's tables show, as text, and all its figures as JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from photoz.nz.distribution import Floats
from photoz.overview.examples import QUANTILES, Choice, Examples, choose_shown
from photoz.overview.overview import Overview
from photoz.overview.sums import DISTANCE_EDGES, Z_EDGES, CatalogueSums, Counts, Kind
from photoz.ranges import MAGNITUDE_EDGES, list_quantities
from photoz.report.flags import MEANINGS
from photoz.report.provenance import list_versions
from photoz.schema import LEVELS, Flag

_PER_MAGNITUDE = 4  # bins of `MAGNITUDE_EDGES`
_LETTERS = "abcdefghi"


@dataclass(frozen=True)
class RangeRow:
    """A magnitude or colour of the target beside the training sample's.

    Parameters
    ----------
    name : str
    low, high : float
        [mag] 1 and 99 % quantile of the training sample; NaN where it has none.
    measured : int
        Galaxies with a value.
    below, above : int
        Those beyond the quantiles.
    """

    name: str
    low: float
    high: float
    measured: int
    below: int
    above: int


@dataclass(frozen=True)
class MagnitudeRow:
    """A bin of total magnitude, as text but for the number of galaxies."""

    limits: str
    galaxies: int
    estimated: str
    outside: str


@dataclass(frozen=True)
class FlagRow:
    """A flag: its name and meaning, how many rows have it, and their share as text."""

    name: str
    meaning: str
    count: int
    share: str


def choose_examples(sums: CatalogueSums) -> Examples:
    """Choose the galaxies whose p(z) is shown: those at three quantiles of z_phot, and one outside."""
    return choose_shown(sums.examples, find_redshift_quantiles(sums, QUANTILES))


def find_redshift_quantiles(sums: CatalogueSums, levels: Sequence[float]) -> Floats:
    """Find quantiles of z_phot to a cell of `Z_EDGES`; NaN where none was counted."""
    below = np.cumsum(sums.by_redshift_LZ[Kind.ROWS])
    if below[-1] == 0:
        return np.full(len(levels), np.nan)
    cell = np.searchsorted(below, below[-1] * np.asarray(levels))
    return np.asarray(0.5 * (Z_EDGES[cell] + Z_EDGES[cell + 1]))


def compute_mean(weights_Z: Floats | Counts) -> float | None:
    """Compute the mean redshift of what lies in the cells of `Z_EDGES`; None where nothing does."""
    total = float(weights_Z.sum())
    return float(weights_Z @ (0.5 * (Z_EDGES[1:] + Z_EDGES[:-1])) / total) if total else None


def make_main_rows(overview: Overview) -> list[tuple[str, str]]:
    """List the main figures, by label."""
    sums = overview.sums
    low, median, high = find_redshift_quantiles(sums, (0.05, 0.5, 0.95))
    redshifts = f"{median:.2f}; 90\u00a0% lie from {low:.2f} to {high:.2f}" if np.isfinite(median) else "none"
    return [
        ("Galaxies", f"{sums.rows:,}"),
        ("With a redshift", format_share(sums.estimated, sums.rows)),
        ("Median z_phot", redshifts),
        ("Outside the training sample", describe_outside(sums)),
    ]


def describe_outside(sums: CatalogueSums) -> str:
    """Say how many galaxies are outside the training sample, or that it is not known."""
    if sums.outside and not sums.measured:
        return f"{sums.outside:,} galaxies are far from its magnitudes or colours; distances from it were not measured"
    if not sums.measured:
        return "not measured: the catalogue has no distances from the training sample"
    return f"{sums.outside:,} galaxies, {_format_percent(sums.outside, sums.measured)} of those whose distance is known"


def make_range_rows(overview: Overview) -> list[RangeRow]:
    """List the target's magnitudes and colours against the training sample's; empty where they cannot be compared."""
    ranges, counts = overview.model.ranges, overview.counts
    if ranges is None or counts is None:
        return []
    return [
        RangeRow(
            quantity.name,
            float(ranges.low_K[k]),
            float(ranges.high_K[k]),
            int(counts.measured_K[k]),
            int(counts.below_K[k]),
            int(counts.above_K[k]),
        )
        for k, quantity in enumerate(list_quantities(ranges.bands))
    ]


def make_magnitude_rows(sums: CatalogueSums) -> list[MagnitudeRow]:
    """List whole magnitudes with galaxies in them: shares with a redshift and outside the training sample."""
    merged_LM = sums.by_magnitude_LM.reshape(len(Kind), -1, _PER_MAGNITUDE).sum(axis=2)
    edges = MAGNITUDE_EDGES[::_PER_MAGNITUDE]
    return [
        MagnitudeRow(
            limits=f"{edges[m]:.0f} to {edges[m + 1]:.0f}",
            galaxies=int(merged_LM[Kind.ROWS, m]),
            estimated=_format_percent(merged_LM[Kind.ESTIMATED, m], merged_LM[Kind.ROWS, m]),
            outside=_format_percent(merged_LM[Kind.OUTSIDE, m], merged_LM[Kind.MEASURED, m]),
        )
        for m in np.flatnonzero(merged_LM[Kind.ROWS])
    ]


def make_nz_rows(overview: Overview) -> list[tuple[str, str]]:
    """List the figures of n(z), by label."""
    sums = overview.sums
    counts_Z = sums.by_redshift_LZ[Kind.ROWS]
    counted = int(counts_Z.sum())
    rows = [("z_phot", f"{counted:,} galaxies, mean {_format_mean(counts_Z)}")]
    if sums.estimated > counted:
        rows.append(("z_phot below 0 or above 6.5", f"{sums.estimated - counted:,} galaxies, counted in no cell"))
    if sums.with_pdf:
        rows.append(("Stacked p(z)", f"{sums.stacked:,} galaxies, mean {_format_mean(sums.shares_Z)}"))
    if overview.plan.algorithm and sums.with_pdf < sums.rows:
        rows.append(("Without p(z)", format_share(sums.rows - sums.with_pdf, sums.rows)))
    return rows


def _format_mean(weights_Z: Floats | Counts) -> str:
    mean = compute_mean(weights_Z)
    return "–" if mean is None else f"{mean:.3f}"


def make_titles(shown: Examples) -> list[str]:
    """Make the titles of the panels of p(z): a letter, and why the galaxy was chosen."""
    reasons = (Choice(int(choice)).name.lower() for choice in shown.choice_K)
    return [f"{letter}: {reason}" for letter, reason in zip(_LETTERS, reasons, strict=False)]


def make_example_rows(shown: Examples) -> list[dict[str, str]]:
    """List the galaxies whose p(z) is shown, by column."""
    low, high = LEVELS.index(0.16), LEVELS.index(0.84)
    return [
        {
            "panel": _LETTERS[k],
            "object_id": str(shown.object_id_K[k]),
            "reason": Choice(int(shown.choice_K[k])).name.lower(),
            "z_phot": f"{shown.z_phot_K[k]:.4f}",
            "limits": f"{shown.quantiles_KQ[k, low]:.4f}\u00a0to\u00a0{shown.quantiles_KQ[k, high]:.4f}",
            "distance": f"{shown.distance_K[k]:.2f}" if np.isfinite(shown.distance_K[k]) else "–",
            "position": f"{shown.ra_K[k]:.5f}, {shown.dec_K[k]:+.5f}",
        }
        for k in range(len(shown))
    ]


def make_flag_rows(sums: CatalogueSums) -> list[FlagRow]:
    """List the flags that some row has."""
    return [
        FlagRow(flag.name or "", MEANINGS.get(flag, ""), int(count), _format_percent(count, sums.rows))
        for flag, count in zip(Flag, sums.flags_F, strict=True)
        if count
    ]


def make_run_rows(overview: Overview) -> list[tuple[str, str]]:
    """List what is known of the run and of the model, by label."""
    run, model = overview.run, overview.model
    of_model = model.manifest.get("record")
    rows_trained = of_model.get("training_rows") if isinstance(of_model, dict) else None
    rows: list[tuple[str, object]] = [
        ("Catalogue", overview.plan.catalogue),
        ("Run", run.name),
        ("Started", run.started),
        # Of the last run on this output, which may have found most partitions done.
        ("Seconds", f"{run.seconds:,.0f}" if run.started else None),
        ("Estimator", model.manifest.get("estimator")),
        ("Model", model.location),
        ("Bands", ", ".join(str(band) for band in model.manifest.get("bands", []))),
        ("Training galaxies", f"{rows_trained:,}" if isinstance(rows_trained, int) else None),
        ("Estimated with", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
        ("Described with", list_versions()),
    ]
    return [(name, str(value)) for name, value in rows if value]


def summarize_overview(overview: Overview, shown: Examples) -> dict[str, object]:
    """Collect all figures as JSON holds them; what does not exist is None."""
    sums = overview.sums
    return {
        "catalogue": overview.plan.catalogue,
        "algorithm": overview.plan.algorithm,
        "rows": sums.rows,
        "estimated": sums.estimated,
        "completeness": sums.estimated / sums.rows if sums.rows else None,
        "flags": {flag.name or "": int(count) for flag, count in zip(Flag, sums.flags_F, strict=True)},
        "training": _summarize_distances(sums),
        "by_mag_auto": _summarize_bins(MAGNITUDE_EDGES, sums.by_magnitude_LM),
        "by_z_phot": _summarize_bins(Z_EDGES, sums.by_redshift_LZ),
        "photometry": _summarize_photometry(overview),
        "nz": _summarize_nz(sums),
        "examples": make_example_rows(shown),
        "run": {
            "name": overview.run.name,
            "started": overview.run.started,
            "seconds": overview.run.seconds,
            "estimator": overview.run.estimator,
            "versions": overview.run.versions,
        },
    }


def _summarize_distances(sums: CatalogueSums) -> dict[str, object]:
    return {
        "measured": sums.measured,
        "outside": sums.outside,
        "share_outside": sums.outside / sums.measured if sums.measured else None,
        "distance_edges": DISTANCE_EDGES.tolist(),
        "distance_counts": sums.distances_D.tolist(),
    }


def _summarize_photometry(overview: Overview) -> dict[str, object]:
    return {
        "problem": overview.problem,
        "training_galaxies": overview.model.ranges.rows if overview.model.ranges else None,
        "galaxies": overview.counts.rows if overview.counts else None,
        "quantities": {row.name: _summarize_range(row) for row in make_range_rows(overview)},
    }


def _summarize_nz(sums: CatalogueSums) -> dict[str, object]:
    return {
        "mean_z_phot": compute_mean(sums.by_redshift_LZ[Kind.ROWS]),
        "with_pdf": sums.with_pdf,
        "stacked": sums.stacked,
        "mean_stacked": compute_mean(sums.shares_Z),
        # In the cells of by_z_phot.
        "stacked_shares": sums.shares_Z.tolist(),
    }


def _summarize_bins(edges: Floats, counts_LB: Counts) -> dict[str, object]:
    return {"edges": edges.tolist()} | {kind.name.lower(): counts_LB[kind].tolist() for kind in Kind}


def _summarize_range(row: RangeRow) -> dict[str, object]:
    limits = {"training_low": row.low, "training_high": row.high}
    # JSON has no NaN.
    finite = {name: value if math.isfinite(value) else None for name, value in limits.items()}
    return {**finite, "measured": row.measured, "below": row.below, "above": row.above}


def format_share(count: int, total: int) -> str:
    """Format a number of galaxies and their share of a total."""
    return f"{count:,} ({_format_percent(count, total)})" if total else f"{count:,}"


def _format_percent(count: Any, total: Any) -> str:
    # A number and its sign are not to be parted by the end of a line.
    return f"{100 * count / total:.2f}\u00a0%" if total else "–"
