"""Write a comparison's tables and its HTML page."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from photoz.comparison.run import Outcome, Result
from photoz.comparison.settings import Comparison
from photoz.metrics import STATISTICS, Bin, Metrics
from photoz.plots import Sample as Points
from photoz.plots import plot_binned, plot_redshifts, render_png
from photoz.plots.style import Z_SPEC
from photoz.report.tables import Row, describe_statistics
from photoz.report.template import encode_png, format_cell, render_template
from photoz.storage import join, open_atomic

COLUMNS = {
    "mean_dz": "bias_mean",
    "median_dz": "bias_median",
    "std_dz": "std",
    "smad": "smad",
    "out_005": "outlier_fraction_005",
    "out_015": "outlier_fraction_015",
    "r2": "r2",
    "mse": "mse",
    "mae": "mae",
}
"""Columns of ``metrics.csv`` that come from `photoz.metrics.STATISTICS`."""
# Three tables, since one would be wider than the page.
_ACCURACY = ("bias_mean", "bias_median", "std", "smad", "outlier_fraction_005")
_FURTHER = ("outlier_fraction_015", "r2", "mse", "mae")
_OF_DENSITIES = (
    ("crps", "CRPS", "continuous ranked probability score of p(z) [redshift], lower is better"),
    ("cde_loss", "CDE loss", "conditional density estimation loss of p(z), lower is better"),
    ("completeness", "Completeness", "share of the test galaxies with an estimate; the others count nowhere else"),
)
_PANELS = 3  # estimators side by side
_COLOURS = 256  # of a figure, which takes a third of the bytes then
_BINS_CAPTION = (
    "Each point lies at the median of its bin, estimators set apart sideways a little; bars are one sigma, from the "
    "bootstrap. bins.csv has the figures."
)
_REDSHIFTS_CAPTION = (
    "Above: the test galaxies, darker where there are more, with the 1:1 line (black), the running median and one SMAD "
    "to each side (orange). Below: Δz of the same galaxies. Triangles at the edge stand for galaxies beyond it."
)


def write_comparison(config: Comparison, outcome: Outcome) -> str:
    """Write ``metrics.csv``, ``resources.csv``, ``bins.csv``, ``without_band.csv`` (if measured) and ``index.html``.

    Returns
    -------
    str
        Location of the page.
    """
    rows = [make_row(result, outcome) for result in outcome.results]
    _write(config, "metrics.csv", format_csv(rows))
    _write(config, "resources.csv", format_csv([_make_resources(result) for result in outcome.results]))
    _write(config, "bins.csv", format_csv(_list_bins(outcome)))
    # No file where it was not asked for: an empty one would say that nothing changes.
    removed = list(_list_removed(outcome))
    if removed:
        _write(config, "without_band.csv", format_csv(removed))
    _write(config, "index.html", render_page(config, outcome))
    return join(config.output, "index.html")


def make_row(result: Result, outcome: Outcome) -> Row:
    """Return one row of ``metrics.csv``; a figure that does not apply is NaN."""
    row: Row = {"estimator": result.name, "n_train": outcome.train_rows, "n_test": len(outcome.test)}
    row |= {column: result.metrics[name].value for column, name in COLUMNS.items()}
    row |= {"crps": result.crps, "cde_loss": result.cde_loss, "train_s": result.train_s}
    # From the test galaxies: where they are few, what is done once counts for much.
    row["estimate_s_per_million"] = 1e6 * result.estimate_s / len(outcome.test)
    return row


def format_csv(rows: Sequence[Row]) -> str:
    """Format rows of the same keys as CSV; NaN becomes an empty cell.

    >>> format_csv([{"a": 1, "b": float("nan")}])
    'a,b\\n1,\\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    # The keys of the first row are the header, so all rows must have the same.
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(["" if isinstance(v, float) and not math.isfinite(v) else _shorten(v) for v in row.values()])
    return text.getvalue()


def render_page(config: Comparison, outcome: Outcome) -> str:
    """Render the comparison as one HTML page that needs no other file."""
    return render_template(
        "photoz.comparison",
        config=config,
        outcome=outcome,
        million=1e6 / len(outcome.test),
        accuracy=describe_statistics(_ACCURACY),
        further=describe_statistics(_FURTHER),
        densities=_OF_DENSITIES,
        cell=_format_cell,
        pictures=list(_draw(outcome)),
        is_known=math.isfinite,
    )


def _format_cell(result: Result, name: str) -> str:
    """Format a figure of a result, to break only before its error; a dash where it does not apply."""
    if name == "completeness":
        return f"{result.metrics.completeness:.2%}"
    if name in STATISTICS:
        return format_cell(name, result.metrics[name])
    value = {"crps": result.crps, "cde_loss": result.cde_loss}[name]
    return f"{value:.{4 if name == 'crps' else 2}f}".replace("-", "−") if math.isfinite(value) else "–"


def _draw(outcome: Outcome) -> Iterable[tuple[str, str, list[str]]]:
    """Title, caption and data URIs of each group of figures."""
    bins: dict[str, dict[str, Sequence[Bin]]] = {}
    for result in outcome.results:
        for label, found in result.bins.items():
            bins.setdefault(label, {})[result.name] = found
    # The label of a colour has a hyphen; on an axis it is a minus sign.
    labels = {label: Z_SPEC if label == "z_spec" else f"{label.replace('-', '−')} [mag]" for label in bins}
    yield "Accuracy in bins", _BINS_CAPTION, [encode_png(render_png(plot_binned(bins, labels), colours=_COLOURS))]
    z_spec = np.asarray(outcome.test.z_N, dtype=np.float64)
    # float64, as the figures take; an estimator gives float32.
    points = [Points(result.name, result.z_phot_N.astype(np.float64), z_spec) for result in outcome.results]
    groups = [points[start : start + _PANELS] for start in range(0, len(points), _PANELS)]
    figures = [encode_png(render_png(plot_redshifts(few), colours=_COLOURS)) for few in groups]
    yield "Photometric against spectroscopic redshift", _REDSHIFTS_CAPTION, figures


def _make_resources(result: Result) -> Row:
    usage = {"train_s": result.train_s, "train_mib": result.train_mib, "estimate_s": result.estimate_s}
    return {"estimator": result.name, **usage, "estimate_mib": result.estimate_mib}


def _list_bins(outcome: Outcome) -> list[Row]:
    return [
        # Where nothing varies enough to be binned the file has a header and no figures, rather than being absent.
        {"estimator": result.name, "quantity": label, "low": b.low, "high": b.high, **_flatten(b.metrics)}
        for result in outcome.results
        for label, found in result.bins.items()
        for b in found
    ] or [{"estimator": ""}]


def _list_removed(outcome: Outcome) -> Iterable[Row]:
    for result in outcome.results:
        if result.without:
            yield {"estimator": result.name, "removed": "", **_flatten(result.metrics)}
        for band, metrics in result.without.items():
            yield {"estimator": result.name, "removed": band, **_flatten(metrics)}


def _flatten(metrics: Metrics) -> Row:
    row: Row = {"count": metrics.count}
    for column, name in COLUMNS.items():
        row[column], row[f"{column}_error"] = metrics[name]
    return row


def _shorten(value: Any) -> Any:
    # Seven digits are all that float32 estimates hold.
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _write(config: Comparison, name: str, text: str) -> None:
    with open_atomic(join(config.output, name)) as file:
        file.write(text.encode())
