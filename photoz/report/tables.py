"""The accuracy table as cells, as plain text and as CSV."""

import csv
import io
import math
from collections.abc import Sequence

from photoz.evaluate.calibration import Calibration
from photoz.evaluate.evaluation import Accuracy
from photoz.metrics import STATISTICS, Metrics
from photoz.report.numbers import format_measurement

Row = dict[str, str | int | float | None]
"""Of ``metrics.csv``, by column."""
PAPER = ("mean_difference", "bias_mean", "std", "smad")
"""The figures of the paper's table (arXiv 2312.08043)."""
BY_COLOUR = ("bias_mean", "std", "smad", "outlier_fraction_005")
FURTHER = (
    "bias_median",
    "sigma_iqr",
    "r2",
    "mse",
    "mae",
    "outlier_fraction_005",
    "outlier_fraction_015",
    "outlier_fraction_rail",
)
# ASCII, since a terminal or a log may not show the symbols of the page; RAIL's figures are left to the page.
_PLAIN = {
    "mean_difference": "mean(z_phot - z_spec)",
    "bias_mean": "mean(dz)",
    "std": "std(dz)",
    "smad": "SMAD(dz)",
    "r2": "R2",
    "mse": "MSE",
    "mae": "MAE",
    "outlier_fraction_005": "|dz| > 0.05",
    "outlier_fraction_015": "|dz| > 0.15",
}


def format_table(accuracy: Accuracy) -> str:
    """Format the accuracy table as aligned plain text for a terminal, one column a catalogue.

    Returns
    -------
    str
        Several lines; below them how the first catalogue's SMAD differs from that of each other one.
    """
    results = accuracy.results
    lines = [["", *(result.label for result in results)]]
    # Those with an estimate, on which the figures below rest.
    lines.append(["galaxies", *(f"{result.metrics.count:,}" for result in results)])
    for name, shown in _PLAIN.items():
        lines.append([shown, *(format_measurement(name, result.metrics[name]) for result in results)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join(_pad(cell, width, i) for i, (cell, width) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    ]
    text.insert(1, "-" * len(text[0]))
    for label, difference in accuracy.differences.items():
        # Under a name that begins with "bias", by which a difference gets its sign.
        shown = format_measurement("bias_smad", difference["smad"])
        text.append(f"SMAD of {results[0].label} minus that of {label}, same galaxies: {shown}")
    return "\n".join(line.rstrip() for line in text)


def format_metrics(accuracy: Accuracy) -> str:
    """Format every figure, overall and in bins, as CSV; a figure that does not exist is an empty field."""
    rows = list_rows(accuracy)
    buffer = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)  # of all rows, in the order they come
    # The line end is set, as csv's own is \r\n on every system.
    writer = csv.DictWriter(buffer, fieldnames=list(names), restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if _is_nothing(value) else value for key, value in row.items()})
    return buffer.getvalue()


def list_rows(accuracy: Accuracy) -> list[Row]:
    """List the metrics as flat rows, one for each catalogue and bin (``quantity`` is "all" for the whole sample).

    The rows of p(z) follow, with other keys: ``quantity`` is "p(z), all", "p(z), faintest fifth, before
    recalibration" and so on.
    """
    rows: list[Row] = []
    for result in accuracy.results:
        rows.append(_make_row(result.label, ("all", None, None, None), result.metrics))
        for quantity, bins in result.bins.items():
            rows += [_make_row(result.label, (quantity, b.low, b.high, b.centre), b.metrics) for b in bins]
    for result in accuracy.results:
        if result.calibration is not None:
            # After all bins, so that the rows before have the same columns as in a file without p(z).
            rows += [_make_pdf_row(result.label, group) for group in result.calibration.groups]
    return rows


def describe_statistics(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """List name, symbol and definition of figures of merit, in their order."""
    return [(name, STATISTICS[name].symbol, STATISTICS[name].description) for name in names]


def _make_pdf_row(label: str, group: Calibration) -> Row:
    quantity = f"p(z), {group.group}" + ("" if group.recalibrated else ", before recalibration")
    # Without low, high and median: a group is a share of the galaxies, not a range.
    row: Row = {"catalogue": label, "quantity": quantity, "rows": group.count, "count": group.count, "pit_ks": group.ks}
    names = ("coverage_68", "coverage_95", "crps", "cde_loss")
    return row | {name: getattr(group, name) for name in names}


def _make_row(label: str, place: tuple[str, float | None, float | None, float | None], metrics: Metrics) -> Row:
    quantity, low, high, centre = place
    row: Row = {"catalogue": label, "quantity": quantity, "low": low, "high": high, "median": centre}
    row |= {"rows": metrics.rows, "count": metrics.count, "completeness": metrics.completeness}
    for name in STATISTICS:
        row[name], row[f"{name}_error"] = metrics[name]
    return row


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def _is_nothing(value: object) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
