"""Files that ESO's archive has renamed are found by what their headers say they were called."""

import logging
from pathlib import Path

import pytest
from astropy.io import fits
from ingested import NAME, TILE, find_survey, ingest
from tiny_survey import IMAGE_BANDS, TinySurvey, make_config, write_survey

from photoz.survey.archive import restore_names
from photoz.survey.settings import Survey


@pytest.fixture
def archived(tmp_path: Path) -> TinySurvey:
    """A tiny survey whose files are all called as in the archive."""
    survey = write_survey(tmp_path, (TILE,), shape=(40, 48), count=6)
    for number, path in enumerate(sorted(survey.folder.glob("*.fits"))):
        with fits.open(path) as units:
            units[0].header["ORIGFILE"] = path.name
            units.writeto(survey.folder / f"ADP.2019-02-11T13:02:26.{number:03d}.fits", checksum=True)
        path.unlink()
    return survey


def test_renamed_files_are_the_survey(archived: TinySurvey) -> None:
    (tile,) = find_survey(archived.config)
    assert (tile.name, tile.missing, tile.doubled) == (NAME, (), ())
    assert list(tile.images) == list(IMAGE_BANDS)
    assert Path(tile.catalogue).name.startswith("ADP.")
    outcome = ingest(archived.config)
    assert (outcome.status, outcome.problem) == ("done", "")


def test_a_renamed_file_beside_the_same_one_by_its_own_name_is_told(archived: TinySurvey) -> None:
    (tile,) = find_survey(archived.config)
    archived.path(TILE, "r_sci").write_bytes(Path(tile.images["r"]).read_bytes())
    assert "are the same image of one band" in ingest(archived.config).problem


def test_files_that_tell_no_name_are_passed_over_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fits.PrimaryHDU().writeto(tmp_path / "ADP.1.fits")
    (tmp_path / "ADP.2.fits").write_bytes(b"no FITS")
    paths = [(f"a/{name}", str(tmp_path / name)) for name in ("ADP.1.fits", "ADP.2.fits")]
    with caplog.at_level(logging.WARNING):
        assert restore_names([*paths, ("b.fits", "nowhere")], Survey()) == [*paths, ("b.fits", "nowhere")]
    assert "2 files of an archive, a/ADP.1.fits first" in caplog.text
    assert "ADP.2.fits is no valid FITS file" in caplog.text
    assert restore_names(paths, Survey(archive_file="")) == paths


def test_the_folder_and_the_key_are_the_files_own(tmp_path: Path) -> None:
    unit = fits.PrimaryHDU()
    unit.header["FILENAME"] = "deep/x.fits"
    unit.writeto(tmp_path / "renamed.fits")
    survey = Survey(archive_file="ren*.fits", archive_key="FILENAME")
    assert restore_names([("a/b/renamed.fits", str(tmp_path / "renamed.fits"))], survey) == [
        ("a/b/x.fits", str(tmp_path / "renamed.fits"))
    ]
    assert make_config(tmp_path).survey.archive_file == "ADP.*.fits*"
