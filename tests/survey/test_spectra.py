"""The spectroscopic table after its cuts."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table
from tiny_survey import make_config

from photoz.errors import SurveyFileError
from photoz.settings.config import Config
from photoz.survey.spectra import SPECTROSCOPIC_SCHEMA, read_redshifts


def read(config: Config) -> pa.Table:
    return read_redshifts(config.locations.survey, config.crossmatch)


@pytest.fixture
def gama(tmp_path: Path) -> Path:
    (tmp_path / "survey").mkdir()
    table = Table({"RAcen": np.arange(6) + 180.0, "Deccen": np.zeros(6)})
    table["Z"] = np.array([0.1, 0.2, 0.3, 0.0005, np.nan, 0.6], np.float32)
    table["NQ"] = np.array([4, 2, 3, 4, 4, 4], np.int32)
    table["duplicate"] = np.array([0, 0, 0, 0, 0, 1], np.int32)
    table.write(tmp_path / "survey" / "gkvScienceCatv02.fits")
    return tmp_path


def test_keeps_reliable_redshifts_of_galaxies_once(gama: Path) -> None:
    spectra = read(make_config(gama))
    assert spectra.schema.equals(SPECTROSCOPIC_SCHEMA, check_metadata=True)
    assert spectra["ra"].to_pylist() == [180.0, 182.0]
    np.testing.assert_allclose(spectra["z_spec"].to_numpy(), [0.1, 0.3], rtol=1e-6)


def test_table_without_a_column_of_duplicates(gama: Path) -> None:
    assert len(read(make_config(gama, crossmatch={"duplicate": ""}))) == 3


def test_what_is_no_redshift_is_left_out_and_told(gama: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = Table({"RAcen": np.linspace(180, 190, 400), "Deccen": np.zeros(400)})
    table["Z"] = np.linspace(0.1, 0.5, 400)
    table["Z"][:3], table["Z"][3:23] = [9999.0, 30000.0, np.inf], 9.9999
    table["NQ"], table["duplicate"] = np.full(400, 4), np.zeros(400, int)
    table.write(gama / "survey" / "gkvScienceCatv02.fits", overwrite=True)
    spectra = read(make_config(gama))
    assert len(spectra) == 397
    assert "Z is above 15 in 2 reliable rows, up to 30000, which are left out" in caplog.text
    assert "20 of 397 rows have exactly the redshift 9.9999, column Z: is it one?" in caplog.text


def test_errors_name_file_column_and_setting(gama: Path) -> None:
    with pytest.raises(
        SurveyFileError, match=r"gkvScienceCatv02\.fits lacks the column REDSHIFT \(crossmatch\.redshift\)"
    ):
        read(make_config(gama, crossmatch={"redshift": "REDSHIFT"}))
    with pytest.raises(SurveyFileError, match=r"none of 6 rows has NQ >= 9"):
        read(make_config(gama, crossmatch={"min_quality": 9}))
    with pytest.raises(SurveyFileError, match=r"other\.fits is missing"):
        read(make_config(gama, crossmatch={"file": "other.fits"}))


def test_a_quality_that_is_tnull_is_none(gama: Path) -> None:
    path = gama / "survey" / "gkvScienceCatv02.fits"
    with fits.open(path) as units:
        columns = [
            fits.Column("NQ", "J", array=[99, 2, 3, 4, 4, 4], null=99) if column.name == "NQ" else column
            for column in units[1].columns
        ]
        fits.BinTableHDU.from_columns(columns).writeto(path, overwrite=True)
    assert read(make_config(gama))["ra"].to_pylist() == [182.0]


@pytest.mark.parametrize(("column", "value"), [("Z", "0.3"), ("NQ", "A"), ("duplicate", "0"), ("RAcen", "12:00")])
def test_text_where_numbers_are_due_is_refused(gama: Path, column: str, value: str) -> None:
    path = gama / "survey" / "gkvScienceCatv02.fits"
    table = Table.read(path)
    table[column] = [value] * len(table)
    table.write(path, overwrite=True)
    with pytest.raises(SurveyFileError, match=rf"column {column} \(crossmatch\..* holds <U.*, not a number a row"):
        read(make_config(gama))
