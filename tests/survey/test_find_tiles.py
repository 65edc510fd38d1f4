"""Survey files are found by the release's naming."""

import shutil
from pathlib import Path

import fsspec
import pytest
from ingested import find_survey
from tiny_survey import make_config, write_survey

from photoz.errors import SurveyFileError
from photoz.survey.files import find_tiles
from photoz.survey.settings import Survey


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")


def test_finds_every_file_of_every_tile(tmp_path: Path) -> None:
    survey = write_survey(tmp_path, ("180.0_-0.5", "9.5_-28.2"), shape=(40, 40), count=4)
    north, south = find_survey(survey.config)
    assert (north.name, north.places) == ("KIDS_180.0_-0.5", {"ra": "180.0", "dec": "-0.5"})
    assert south.name == "KIDS_9.5_-28.2"
    assert list(north.images) == ["u", "g", "r", "i"]
    assert north.images["r"] == str(survey.path("180.0_-0.5", "r_sci"))
    assert north.masks["u"].endswith("u_msk.fits")
    assert north.catalogue.endswith("ugriZYJHKs_cat.fits")
    assert north.missing == ()


def test_newer_catalogue_is_preferred(tmp_path: Path) -> None:
    touch(tmp_path / "survey", *(f"KiDS_DR4.{n}_10.0_0.5_ugriZYJHKs_cat.fits" for n in (0, 1)))
    (tile,) = find_survey(make_config(tmp_path))
    assert tile.catalogue.endswith("KiDS_DR4.1_10.0_0.5_ugriZYJHKs_cat.fits")


def test_of_several_catalogues_it_is_told_which_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"KiDS_DR4.0_180.0_-0.5_{what}.fits" for what in ("r_sci", "cat_1", "cat_2")]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    survey = Survey(image_bands=("r",), catalogue_file="KiDS_DR4.0_{ra}_{dec}_cat_*.fits")
    with caplog.at_level("INFO"):
        (tile,) = find_tiles(survey, str(tmp_path))
    assert tile.catalogue.endswith("cat_2.fits")
    assert "in 1 tiles: the highest name is read, " in caplog.text
    assert "cat_1.fits" in caplog.text


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    for name in ("A_r.fits", "._A_r.fits", ".B_r.fits"):
        (tmp_path / name).write_bytes(b"")
    survey = Survey(
        image_bands=("r",), tile="{field}", image_file="{field}_{band}.fits", mask_file="", catalogue_file=""
    )
    (tile,) = find_tiles(survey, str(tmp_path))
    assert tile.name == "A"


def test_fpacked_name_is_found(tmp_path: Path) -> None:
    touch(tmp_path / "survey", "KiDS_DR4.0_10.0_0.5_r_sci.fits.fz")
    (tile,) = find_survey(make_config(tmp_path))
    assert tile.images["r"].endswith("r_sci.fits.fz")


def test_missing_files_are_listed_by_name(tmp_path: Path) -> None:
    survey = write_survey(tmp_path, ("180.0_-0.5",), shape=(40, 40), count=4)
    survey.path("180.0_-0.5", "i_sci").unlink()
    (tile,) = find_survey(survey.config)
    assert tile.missing == ("KiDS_DR4.0_180.0_-0.5_i_sci.fits",)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    touch(tmp_path / "survey", "KiDS_DR4.0_10.0_0.5_r_sci.fits", "KiDS_DR4.0_10.0_0.5_r_sci.fits.part", "readme.txt")
    (tile,) = find_survey(make_config(tmp_path))
    assert list(tile.images) == ["r"]


def test_another_surveys_names_are_a_setting(tmp_path: Path) -> None:
    touch(tmp_path / "survey" / "frames", "g.fits", "Ks.fits")
    naming = {"tile": "frame", "image_file": "frames/{band}.fits", "mask_file": "", "catalogue_file": "cat*.fits"}
    (tile,) = find_survey(make_config(tmp_path, survey={"image_bands": ["g", "Ks"], **naming}))
    assert (tile.name, tile.places, sorted(tile.images)) == ("frame", {}, ["Ks", "g"])


def test_finds_files_in_an_object_store(tmp_path: Path) -> None:
    survey = write_survey(tmp_path, ("180.0_-0.5",), shape=(40, 40), count=4)
    fsspec.filesystem("memory").put(str(survey.folder), "/bucket/survey", recursive=True)
    config = make_config(tmp_path, locations={"survey": "memory://bucket/survey"})
    (tile,) = find_survey(config)
    assert tile.images["u"] == "memory://bucket/survey/KiDS_DR4.0_180.0_-0.5_u_sci.fits"


def test_empty_and_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(SurveyFileError, match=r"survey' is missing or empty"):
        find_survey(make_config(tmp_path))
    touch(tmp_path / "survey", "readme.txt")
    with pytest.raises(SurveyFileError, match=r"names like 'KiDS_DR4.0_180.0_-0.5_u_sci.fits'"):
        find_survey(make_config(tmp_path))
    shutil.rmtree(tmp_path / "survey")
