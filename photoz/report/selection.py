"""The report's section on selections: redshifts against conditions, accuracy against the cut in training distance."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from photoz.evaluate.systematics import DistanceCut, Systematics, Trend
from photoz.metrics import FloatArray
from photoz.plots.selection import plot_conditions, plot_distance_cut
from photoz.report.figures import make_file_name
from photoz.report.numbers import format_measurement
from photoz.report.plates import Plate

Measured = Mapping[str, Systematics]


@dataclass(frozen=True)
class SelectionRows:
    """What the section's tables show of one catalogue, as text."""

    label: str
    tiles: int
    trends: Sequence[tuple[str, Sequence[str]]]
    uniformity: str
    equal: str
    """Conditions that are the same in all tiles."""
    absent: str
    cuts: Sequence[tuple[str, Sequence[str]]]


def draw_selection(measured: Measured, mag_auto_band: str) -> Iterator[Plate]:
    """Draw the section's figures, one at a time.

    Conditions known in several bands are drawn in that of the total magnitude, where it is among them.
    """
    for number, (label, each) in enumerate(measured.items(), 1):
        suffix = "" if len(measured) == 1 else f"-{number}-{make_file_name(label)}"
        yield Plate(
            f"conditions{suffix}",
            f"{label}: redshifts and observing conditions",
            "Each point is a tile, or above 40 tiles the mean of tiles with similar conditions. Error bars hold the "
            "number of galaxies alone: since galaxies cluster, tiles differ by more. Dashed: the weighted mean.",
            plot_conditions(
                _choose_conditions(each, mag_auto_band),
                each.scan.redshift,
                each.scan.difference,
            ),
        )
    cuts = {label: each.cuts for label, each in measured.items() if each.cuts}
    # A catalogue without p(z) has no training_distance, and one figure holds all that have it.
    if cuts:
        yield Plate(
            "training-distance",
            "Accuracy against the distance from the training sample",
            "Test galaxies are left out in the order of their distance, the farthest first. What a cut gains shows as "
            "a falling line.",
            plot_distance_cut(cuts),
        )


def make_selection_rows(measured: Measured) -> list[SelectionRows]:
    """Format what the section's tables show, a catalogue each."""
    return [
        SelectionRows(
            label=label,
            tiles=len(each.scan.tiles),
            trends=[_make_trend_row(name, *trends) for name, trends in each.trends.items()],
            uniformity=_format_chi_square(*each.uniformity),
            # A condition without a trend is one that does not vary: `measure_systematics` fits all others.
            equal=", ".join(name.split(" [")[0] for name in each.conditions.values if name not in each.trends),
            absent="; ".join(each.conditions.absent),
            cuts=[_make_cut_row(cut) for cut in each.cuts],
        )
        for label, each in measured.items()
    ]


def _choose_conditions(measured: Systematics, mag_auto_band: str) -> dict[str, FloatArray]:
    """The tile's place in the list, and what varies in one band: that of the total magnitude, or the first."""
    # KiDS names tiles by their position, so a drift across the survey shows along this axis.
    shown = {"tile, by name": np.arange(1.0, len(measured.scan.tiles) + 1)}
    # "seeing in r [arcsec]" is one condition in several bands, by the names that `collect_conditions` gives.
    for what in dict.fromkeys(name.split(" in ")[0] for name in measured.trends):
        # Of what varies: a condition that is the same in all tiles would be a column of points above each other.
        names = [name for name in measured.trends if name.startswith(what)]
        own = [name for name in names if f" in {mag_auto_band} " in name]
        shown[(own or names)[0]] = measured.conditions.values[(own or names)[0]]
    return shown


def _make_trend_row(name: str, redshift: Trend, difference: Trend) -> tuple[str, list[str]]:
    return name, [
        cell for trend in (redshift, difference) for cell in (_format_slope(trend), _format_significance(trend))
    ]


def _format_slope(trend: Trend) -> str:
    # Too few tiles for a jackknife: without its error a slope would pass for a finding.
    if not math.isfinite(trend.error):
        return "–"
    # Two digits of the error, as everywhere in the report.
    digits = max(2, 1 - math.floor(math.log10(trend.error))) if trend.error > 0 else 4
    # A minus sign, which is as wide as the plus above it, and a space that does not break.
    return f"{trend.slope:+.{digits}f} ±\u00a0{trend.error:.{digits}f}".replace("-", "−")


def _format_significance(trend: Trend) -> str:
    if not math.isfinite(trend.significance):
        return "–"
    return f"{trend.significance:+.1f} σ".replace("-", "−")


def _format_chi_square(value: float, freedom: int) -> str:
    return f"{value:.1f} for {freedom} degrees of freedom" if freedom else "–"


def _make_cut_row(cut: DistanceCut) -> tuple[str, list[str]]:
    cells = [f"{cut.largest:.2f}", f"{cut.metrics.count:,}"]
    cells += [format_measurement(name, cut.metrics[name]) for name in ("smad", "outlier_fraction_005", "bias_mean")]
    return f"{100 * cut.kept:.1f} %", cells
