"""The figures as plain values: what metrics.json holds."""

import json

import numpy as np
import pytest
from made_accuracy import make_accuracy

from photoz.evaluate.conditions import Conditions
from photoz.evaluate.systematics import DistanceCut, Systematics, TileMeans, TileScan, Trend
from photoz.metrics import STATISTICS, compute_metrics
from photoz.report.selection import draw_selection, make_selection_rows
from photoz.report.summary import make_summary
from photoz.settings.run import Run

NAN = float("nan")


def make_systematics() -> Systematics:
    count, mean, error = np.array([10.0, 0.0]), np.array([0.2, NAN]), np.array([0.01, NAN])
    means = TileMeans(count, mean, error)
    scan = TileScan(["tile a", "tile b"], means, means, np.array([0.5, 1.5]))
    conditions = Conditions(
        {"seeing in r [arcsec]": np.array([0.7, NAN]), "seeing in g [arcsec]": np.array([0.8, 0.9])}, ["no noise"]
    )
    trends = {"seeing in g [arcsec]": (Trend(0.012, 0.004, 5), Trend(NAN, NAN, 2))}
    cut = DistanceCut(0.9, 0.71, compute_metrics([0.1, 0.2, 0.3], [0.1, 0.21, 0.3], resamples=10))
    return Systematics(scan, conditions, trends, (3.2, 1), [cut])


@pytest.fixture(scope="module")
def summary() -> dict:
    accuracy = make_accuracy("mlp", "knn", with_pdf=True)
    made = make_summary(accuracy, {"mlp": make_systematics()}, Run("dr4", 3), sample="Ours.", resamples=10)
    return json.loads(json.dumps(made, allow_nan=False))


def test_every_catalogue_has_every_figure_with_its_error(summary: dict) -> None:
    assert [each["label"] for each in summary["catalogues"]] == ["mlp", "knn"]
    assert set(summary["catalogues"][0]["metrics"]) == set(summary["definitions"]) == set(STATISTICS)
    assert summary["catalogues"][0]["metrics"]["smad"]["error"] > 0
    assert set(summary["differences_from_first"]) == {"knn"}
    assert (summary["run"], summary["seed"], summary["sample"], summary["test_galaxies"]) == ("dr4", 3, "Ours.", 400)


def test_what_does_not_exist_is_none(summary: dict) -> None:
    selection = summary["selection"]["mlp"]
    assert selection["tiles"]["tile b"]["mean_z_phot"] is None
    assert selection["tiles"]["tile b"]["seeing in r [arcsec]"] is None
    assert selection["trends"]["seeing in g [arcsec]"]["dz"] == {"slope": None, "error": None, "tiles": 2}
    assert selection["chi_square_of_bias"] == {"value": 3.2, "degrees_of_freedom": 1}
    assert selection["training_distance_cuts"][0]["kept"] == 0.9
    assert selection["absent"] == ["no noise"]


def test_rows_of_the_page_are_written_with_the_digits_of_their_error() -> None:
    [row] = make_selection_rows({"mlp": make_systematics()})
    assert row.trends == [("seeing in g [arcsec]", ["+0.0120 ±\u00a00.0040", "+3.0 σ", "–", "–"])]
    assert (row.tiles, row.uniformity, row.equal) == (2, "3.2 for 1 degrees of freedom", "seeing in r")
    assert row.cuts[0][0] == "90.0 %"
    assert row.cuts[0][1][:2] == ["0.71", "3"]


def test_conditions_are_drawn_in_the_band_of_the_total_magnitude_or_the_one_there_is() -> None:
    plates = list(draw_selection({"mlp": make_systematics()}, "r"))
    assert [plate.name for plate in plates] == ["conditions", "training-distance"]
    assert [axes.get_xlabel() for axes in plates[0].figure.axes[2:4]] == ["tile, by name", "seeing in g [arcsec]"]
