"""The files of a report: histories that can be read, figures as PNG and PDF, and a page that comes last."""

import base64
import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from photoz.report.plates import Plate, write_plate
from photoz.report.writer import read_histories

EPOCHS = [{"epoch": 1, "valid_loss": 2.0}, {"epoch": 2, "valid_loss": 1.0}]


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def make_plate(width: float = 4.0, height: float = 3.0) -> Plate:
    figure = Figure(figsize=(width, height))
    figure.subplots().plot([0, 1], [0, 1])
    return Plate("redshifts", "Redshifts", "caption", figure)


def test_histories_are_named_by_their_files_and_come_in_both_forms(tmp_path: Path) -> None:
    write(tmp_path, "history-mlp.json", {"epochs": EPOCHS, "seed": 1})
    write(tmp_path, "history-my-own.json", EPOCHS)
    assert read_histories(str(tmp_path)) == {"mlp": EPOCHS, "my-own": EPOCHS}


@pytest.mark.parametrize(
    "content", [[], {}, {"epochs": []}, {"epochs": "many"}, [1, 2], [{"epoch": 1}, None], 5, "null"]
)
def test_what_holds_no_epochs_has_no_curve(tmp_path: Path, content: object) -> None:
    write(tmp_path, "history-mlp.json", content)
    write(tmp_path, "history-knn.json", EPOCHS)
    assert list(read_histories(str(tmp_path))) == ["knn"]


def test_a_damaged_history_costs_its_curve_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "history-mlp.json", "{")
    write(tmp_path, "history-knn.json", EPOCHS)
    assert list(read_histories(str(tmp_path))) == ["knn"]
    (message,) = caplog.messages
    assert message.startswith("the report has no training curve of mlp: ")
    assert "history-mlp.json" in message


def test_other_files_and_a_folder_that_is_not_there_are_no_histories(tmp_path: Path) -> None:
    write(tmp_path, "metrics.json", EPOCHS)
    (tmp_path / "set").mkdir()
    write(tmp_path / "set", "history-deep.json", EPOCHS)
    assert read_histories(str(tmp_path)) == {}
    assert read_histories(str(tmp_path / "nowhere")) == {}


def test_a_plate_is_written_as_png_and_stands_in_the_page_as_the_same_bytes(tmp_path: Path) -> None:
    picture = write_plate(str(tmp_path / "figures"), make_plate(), as_pdf=False)
    content = (tmp_path / "figures" / "redshifts.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["redshifts.png"]

    assert base64.b64decode(str(picture.source).rpartition(",")[2]) == content
    assert (picture.name, picture.title, picture.caption) == ("redshifts", "Redshifts", "caption")


def test_width_and_height_have_the_figures_ratio(tmp_path: Path) -> None:
    picture = write_plate(str(tmp_path), make_plate(7.1, 2.9), as_pdf=False)
    assert (picture.width, picture.height) == (710, 290)


def test_a_pdf_comes_beside_it_where_it_is_asked_for_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "redshifts.pdf").write_text("of an earlier report")
    write_plate(str(tmp_path), make_plate(), as_pdf=True)
    first = (tmp_path / "redshifts.pdf").read_bytes()
    assert first.startswith(b"%PDF")
    write_plate(str(tmp_path), make_plate(), as_pdf=True)
    assert (tmp_path / "redshifts.pdf").read_bytes() == first
