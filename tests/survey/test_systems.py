"""Frames that tables state of their positions: ICRS and its like are taken, all else is refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table as AstropyTable
from tiny_survey import write_survey

from photoz.errors import SurveyFileError
from photoz.survey.settings import Selection, Survey
from photoz.survey.sources import read_catalogue
from photoz.survey.spectra import read_redshifts
from photoz.survey.systems import describe_frame
from photoz.tables import load_survey, open_survey_table, read_sources
from photoz.training.settings import Crossmatch

VOTABLE = """<?xml version="1.0"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>{systems}<TABLE>
<FIELD name="object_id" datatype="long"/><FIELD name="ra" datatype="double" unit="deg" {ra}/>
<FIELD name="dec" datatype="double" unit="deg" {ra}/><FIELD name="glon" datatype="double" unit="deg" {glon}/>
<FIELD name="mag_r" datatype="double"/><FIELD name="magerr_r" datatype="double"/>
<DATA><TABLEDATA><TR><TD>1</TD><TD>10</TD><TD>-3</TD><TD>5</TD><TD>20</TD><TD>0.1</TD></TR></TABLEDATA></DATA>
</TABLE></RESOURCE></VOTABLE>"""
FK4 = '<COOSYS ID="old" system="eq_FK4" equinox="B1950"/>'
FK5 = '<COOSYS ID="new" system="eq_FK5" equinox="J2000"/>'
GALACTIC = '<COOSYS ID="gal" system="galactic"/>'


@pytest.mark.parametrize(
    ("system", "equinox", "told"),
    [
        (None, None, ""),
        ("ICRS", 2000.0, ""),
        ("ICRS", 1991.25, ""),
        ("FK5", None, ""),
        ("FK5", "J2000", ""),
        (None, 2000, ""),
        (None, "n/a", ""),
        ("FK5", 1975.0, "FK5 of equinox 1975"),
        (None, 1950.0, "FK4 of equinox 1950"),
        ("FK4-NO-E", "B1950.0", "FK4-NO-E of equinox 1950"),
        ("galactic", None, "GALACTIC"),
        ("ecl_FK5", "J2000", "ECL_FK5 of equinox 2000"),
        ("eq_FK4", None, "FK4"),
    ],
)
def test_frames_are_named_where_they_are_not_icrs(system: Any, equinox: Any, told: str) -> None:
    assert describe_frame(system, equinox) == told


def read(location: Path) -> list[float]:
    survey = load_survey("plain")
    table = open_survey_table(str(location), survey)
    found = [each.table for part in table.parts for each in read_sources(table, part, survey, ["r"])]
    return [ra for each in found for ra in each["ra"].to_pylist()]


@pytest.mark.parametrize(
    ("systems", "ra", "glon", "told"),
    [
        ("", "", "", ""),
        (FK5 + GALACTIC, 'ref="new"', 'ref="gal"', ""),
        (FK5, "", "", ""),
        (FK4, "", "", "FK4 of equinox 1950"),
        (FK5 + FK4, 'ref="old"', "", "FK4 of equinox 1950"),
        (GALACTIC, 'ref="gal"', "", "GALACTIC"),
    ],
)
def test_a_votable_states_the_frame_of_each_column(tmp_path: Path, systems: str, ra: str, glon: str, told: str) -> None:
    location = tmp_path / "t.vot"
    location.write_text(VOTABLE.format(systems=systems, ra=ra, glon=glon))
    if not told:
        assert read(location) == [10.0]
        return
    with pytest.raises(SurveyFileError, match=f"positions that they are in {told} .*convert them"):
        read(location)


@pytest.mark.parametrize(
    ("cards", "told"),
    [({"RADESYS": "FK5"}, ""), ({"RADECSYS": "FK4"}, "FK4"), ({"EQUINOX": 1950.0}, "FK4 of equinox 1950")],
)
def test_a_fits_table_states_it_in_its_header(tmp_path: Path, cards: dict[str, Any], told: str) -> None:
    location = tmp_path / "t.fits"
    columns = {"object_id": [1], "ra": [10.0], "dec": [-3.0], "mag_r": [20.0], "magerr_r": [0.1]}
    unit = fits.table_to_hdu(AstropyTable(columns))
    unit.header.update(cards)
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(location)
    if not told:
        assert read(location) == [10.0]
        return
    with pytest.raises(SurveyFileError, match=f"they are in {told} "):
        read(location)


def test_a_catalogue_of_a_tile_and_a_spectroscopic_table_are_refused_in_another_frame(tmp_path: Path) -> None:
    survey = write_survey(tmp_path, ("180.0_-0.5",))
    path = survey.path("180.0_-0.5", "ugriZYJHKs_cat")
    read_catalogue(str(path), Survey(), Selection())
    with fits.open(path, mode="update") as units:
        units[1].header["RADESYS"] = "FK4"
        for key in ("CHECKSUM", "DATASUM"):
            units[1].header.remove(key, ignore_missing=True)
    with pytest.raises(SurveyFileError, match="in FK4 "):
        read_catalogue(str(path), Survey(), Selection())
    unit = fits.table_to_hdu(AstropyTable({"a": [10.0], "d": [0.0], "Z": [0.3], "NQ": [4]}))
    unit.header["EQUINOX"] = 1950.0
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(tmp_path / "spectra.fits")
    match = Crossmatch(file="spectra.fits", ra="a", dec="d", redshift="Z", quality="NQ", duplicate="")
    with pytest.raises(SurveyFileError, match=r"spectra.fits says .* FK4 of equinox 1950"):
        read_redshifts(str(tmp_path), match)


def test_a_spectroscopic_row_without_a_place_on_the_sky_is_left_out(tmp_path: Path) -> None:
    ra, dec = [10.0, -999.0, 20.0, np.nan, 400.0], [0.0, -999.0, 99.0, 0.0, 0.0]
    table = AstropyTable({"a": ra, "d": dec, "Z": [0.3] * 5, "NQ": [4] * 5})
    table.write(tmp_path / "spectra.fits")
    match = Crossmatch(file="spectra.fits", ra="a", dec="d", redshift="Z", quality="NQ", duplicate="")
    assert read_redshifts(str(tmp_path), match)["ra"].to_pylist() == [10.0]
