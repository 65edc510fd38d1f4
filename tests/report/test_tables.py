"""The accuracy table as text and as CSV."""

import csv

import pytest
from made_accuracy import make_accuracy

from photoz.metrics import STATISTICS, Measurement
from photoz.report.tables import (
    FURTHER,
    PAPER,
    describe_statistics,
    format_measurement,
    format_metrics,
    format_table,
    list_rows,
)


@pytest.mark.parametrize(
    ("name", "measurement", "text"),
    [
        ("smad", (0.0156, 0.00021), "0.01560 ± 0.00021"),
        ("bias_mean", (-0.00012, 0.0002), "−0.00012 ± 0.00020"),
        ("bias_mean", (0.0, 0.0), "+0.00"),
        ("outlier_fraction_005", (0.0, 0.0), "0.00 %"),
        ("outlier_fraction_005", (0.5, 0.25), "50 ± 25 %"),
        ("r2", (0.9, float("nan")), "0.9000"),
        ("mse", (float("nan"), float("nan")), "–"),
    ],
)
def test_figures_are_written_with_two_digits_of_their_error(
    name: str, measurement: tuple[float, float], text: str
) -> None:
    assert format_measurement(name, Measurement(*measurement)) == text


def test_columns_of_the_table_are_aligned_and_the_first_is_compared() -> None:
    lines = format_table(make_accuracy("mlp", "knn")).splitlines()
    assert lines[0].split() == ["mlp", "knn"]
    assert lines[2].split() == ["galaxies", "400", "400"]
    figures = [line for line in lines[2:] if not line.startswith("SMAD of")]
    assert len({len(line) for line in figures if line.endswith(tuple("0123456789"))}) == 1
    assert lines[-1].startswith("SMAD of mlp minus that of knn, same galaxies: −0.0")


def test_rows_hold_every_figure_of_every_bin_and_of_p_z() -> None:
    accuracy = make_accuracy("mlp", "knn", with_pdf=True)
    rows = list_rows(accuracy)
    assert [row["quantity"] for row in rows if row["catalogue"] == "knn"] == [
        "all",
        *["mag_auto"] * 2,
        *["colour_half"] * 2,
        "p(z), all",
        "p(z), all, before recalibration",
    ]
    assert (rows[0]["smad"], rows[0]["smad_error"]) == accuracy.results[0].metrics["smad"]
    assert rows[-1]["coverage_68"] == 0.67


def test_csv_reads_back_and_what_does_not_exist_is_empty() -> None:
    accuracy = make_accuracy("mlp", with_pdf=True)
    rows = list(csv.DictReader(format_metrics(accuracy).splitlines()))
    assert len(rows) == len(list_rows(accuracy))
    assert float(rows[0]["smad"]) == accuracy.results[0].metrics["smad"].value
    assert rows[0]["low"] == rows[0]["coverage_68"] == rows[-1]["smad"] == ""
    assert not any(value == "nan" for row in rows for value in row.values())


def test_statistics_are_described_in_the_order_asked_for() -> None:
    described = describe_statistics((*PAPER, *FURTHER))
    assert [name for name, _, _ in described] == [*PAPER, *FURTHER]
    assert set(PAPER) | set(FURTHER) == set(STATISTICS)
    assert all(symbol and text for _, symbol, text in described)
