"""The report's section on selections: redshifts against observing conditions, accuracy against the coverage cut."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from photoz.evaluate.evaluation import Evaluation
from photoz.evaluate.metrics import FloatArray
from photoz.evaluate.systematics import LEAST_TILES, Systematics, TileMeans, Trend, measure_systematics
from photoz.plots.selection import plot_conditions, plot_distance_cut
from photoz.report.figures import Plate, make_file_name
from photoz.report.tables import format_measurement
from photoz.settings.config import Config

Measured = Mapping[str, Systematics]


def measure_selection(config: Config, evaluation: Evaluation) -> dict[str, Systematics]:
    """Measure every catalogue; by label."""
    return {result.label: measure_systematics(config, evaluation, result) for result in evaluation.results}


def draw_selection(config: Config, measured: Measured) -> Iterator[Plate]:
    """Draw the section's figures, one at a time."""
    for number, (label, each) in enumerate(measured.items(), 1):
        suffix = "" if len(measured) == 1 else f"-{number}-{make_file_name(label)}"
        yield Plate(
            f"conditions{suffix}",
            f"{label}: redshifts and observing conditions",
            "Each point is a tile, or above 40 tiles the mean of tiles with similar conditions. Error bars hold the "
            "number of galaxies alone: since galaxies cluster, tiles differ by more. Dashed: the weighted mean.",
            plot_conditions(
                _choose_conditions(config, each), _to_arrays(each.scan.redshift), _to_arrays(each.scan.difference)
            ),
        )
    cuts = {label: each.cuts for label, each in measured.items() if each.cuts}
    if cuts:
        yield Plate(
            "training-distance",
            "Accuracy against the distance from the training sample",
            "Test galaxies are left out in the order of their distance, the farthest first. What a cut gains shows as "
            "a falling line.",
            plot_distance_cut(cuts),
        )


def make_selection_context(measured: Measured) -> dict[str, Any]:
    """Collect what the template shows."""
    return {
        "catalogues": [
            {
                "label": label,
                "tiles": len(each.scan.tiles),
                "trends": [_make_trend_row(name, *trends) for name, trends in each.trends.items()],
                "uniformity": _format_chi_square(*each.uniformity),
                "equal": ", ".join(name.split(" [")[0] for name in each.conditions if name not in each.trends),
                "absent": "; ".join(each.absent),
                "cuts": [_make_cut_row(*cut) for cut in each.cuts],
            }
            for label, each in measured.items()
        ],
        "least_tiles": LEAST_TILES,
    }


def summarize_selection(measured: Measured) -> dict[str, Any]:
    """Collect the figures as plain values for the report's JSON; what does not exist is None."""
    return {
        label: {
            "tiles": {
                name: {
                    "galaxies": int(each.scan.redshift.count[i]),
                    "mean_z_phot": _plain(each.scan.redshift.mean[i]),
                    "mean_z_phot_error": _plain(each.scan.redshift.error[i]),
                    "test_galaxies": int(each.scan.difference.count[i]),
                    "bias_mean": _plain(each.scan.difference.mean[i]),
                    "bias_mean_error": _plain(each.scan.difference.error[i]),
                    **{condition: _plain(values[i]) for condition, values in each.conditions.items()},
                }
                for i, name in enumerate(each.scan.tiles)
            },
            "trends": {
                name: {
                    what: {"slope": _plain(trend.slope), "error": _plain(trend.error), "tiles": trend.tiles}
                    for what, trend in zip(("z_phot", "dz"), trends, strict=True)
                }
                for name, trends in each.trends.items()
            },
            "chi_square_of_bias": {"value": _plain(each.uniformity[0]), "degrees_of_freedom": each.uniformity[1]},
            "training_distance_cuts": [
                {"kept": share, "largest_distance": limit, "galaxies": metrics.count}
                | {name: _plain(metrics[name].value) for name in ("smad", "outlier_fraction_005", "bias_mean")}
                for share, limit, metrics in each.cuts
            ],
            "absent": list(each.absent),
        }
        for label, each in measured.items()
    }


def _choose_conditions(config: Config, measured: Systematics) -> dict[str, FloatArray]:
    """The tile's place in the list, and what varies in one band: that of the total magnitude, or the first."""
    shown = {"tile, by name": np.arange(1.0, len(measured.scan.tiles) + 1)}
    for what in dict.fromkeys(name.split(" in ")[0] for name in measured.trends):
        names = [name for name in measured.trends if name.startswith(what)]
        own = [name for name in names if f" in {config.survey.mag_auto_band} " in name]
        shown[(own or names)[0]] = measured.conditions[(own or names)[0]]
    return shown


def _to_arrays(means: TileMeans) -> tuple[FloatArray, FloatArray, FloatArray]:
    return means.count, means.mean, means.error


def _make_trend_row(name: str, redshift: Trend, difference: Trend) -> tuple[str, list[str]]:
    return name, [
        cell for trend in (redshift, difference) for cell in (_format_slope(trend), _format_significance(trend))
    ]


def _format_slope(trend: Trend) -> str:
    if not math.isfinite(trend.error):
        return "–"
    digits = max(2, 1 - math.floor(math.log10(trend.error))) if trend.error > 0 else 4
    return f"{trend.slope:+.{digits}f} ±\u00a0{trend.error:.{digits}f}".replace("-", "−")


def _format_significance(trend: Trend) -> str:
    if not math.isfinite(trend.significance):
        return "–"
    return f"{trend.significance:+.1f} σ".replace("-", "−")


def _format_chi_square(value: float, freedom: int) -> str:
    return f"{value:.1f} for {freedom} degrees of freedom" if freedom else "–"


def _make_cut_row(share: float, limit: float, metrics: Any) -> tuple[str, list[str]]:
    cells = [f"{limit:.2f}", f"{metrics.count:,}"]
    cells += [format_measurement(name, metrics[name]) for name in ("smad", "outlier_fraction_005", "bias_mean")]
    return f"{100 * share:.1f} %", cells


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
