"""The figures of a report: their names, their captions and what they are drawn from."""

import pytest
from made_accuracy import make_accuracy
from matplotlib.figure import Figure

from photoz.plots import Sample
from photoz.report.figures import _draw_calibration, _draw_catalogue, _draw_redshifts, label_quantities
from photoz.report.figures import make_file_name as name_file
from photoz.report.plates import Plate


def make_samples(*labels: str) -> list[Sample]:
    accuracy = make_accuracy(*labels)
    return [Sample(each.label, each.scan.z_phot, accuracy.galaxies.z_spec) for each in accuracy.results]


def check(plates: list[Plate]) -> list[str]:
    assert all(isinstance(plate.figure, Figure) and plate.title and plate.caption for plate in plates)
    assert len({plate.name for plate in plates}) == len(plates)
    return [plate.name for plate in plates]


def test_more_than_three_estimators_go_into_further_figures() -> None:
    assert check(list(_draw_redshifts(make_samples("a", "b", "c", "d")))) == [
        "redshifts",
        "residuals",
        "redshifts-2",
        "residuals-2",
    ]


def test_calibration_is_drawn_for_catalogues_with_p_z_and_numbered_where_several() -> None:
    assert list(_draw_calibration(make_accuracy("knn"))) == []
    [plate] = _draw_calibration(make_accuracy("mlp", with_pdf=True))
    assert check([plate]) == ["calibration"]
    assert "Orange: p(z) as the estimator gave it" in plate.caption
    several = list(_draw_calibration(make_accuracy("mlp", "The second", with_pdf=True)))
    assert check(several) == ["calibration-1-mlp", "calibration-2-the-second"]


def test_the_whole_catalogue_is_that_of_the_first_label() -> None:
    accuracy = make_accuracy("mlp")
    samples = make_samples("mlp")
    distribution, sky = _draw_catalogue(accuracy, samples)
    assert "of all 900 galaxies with a redshift in the catalogue “mlp”" in distribution.caption
    assert "HEALPix cells of order 5" in sky.caption
    assert "1 partition," in sky.caption


def test_labels_name_the_bands_of_the_colour() -> None:
    assert label_quantities(("g", "i"))["colour"] == "$g - i$ [mag]"


@pytest.mark.parametrize(("label", "name"), [("mlp", "mlp"), ("A/B: ü!", "a-b"), ("…", "catalogue")])
def test_labels_become_names_of_files(label: str, name: str) -> None:
    assert name_file(label) == name
