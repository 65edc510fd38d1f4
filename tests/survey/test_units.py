"""Units of FITS tables: whatever the spelling, the same angle; what is no magnitude is refused with the remedy."""

import warnings

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import Angle
from hypothesis import given
from hypothesis import strategies as st

from photoz.errors import SurveyFileError
from photoz.survey.units import convert_to_degrees, parse_unit, require_magnitudes

DEGREES = ["deg", "DEG", "degrees", " degree ", "Deg"]


@pytest.mark.parametrize("spelling", DEGREES)
def test_degrees_however_they_are_spelt_keep_their_last_bit(spelling: str) -> None:
    values = np.array([359.99999999999994, np.nan, -0.1])
    assert convert_to_degrees(values, spelling, column="") is values


@pytest.mark.parametrize("nothing", ["", "   "])
def test_no_unit_counts_as_degrees(nothing: str) -> None:
    values = np.array([1.0, 2.0], np.float32)
    assert convert_to_degrees(values, nothing, column="", hours=True) is values


@given(st.floats(-1000, 1000), st.sampled_from(["rad", "arcmin", "arcsec", "mas", "hourangle"]))
def test_other_angles_are_converted_as_astropy_does(value: float, unit: str) -> None:
    found = convert_to_degrees(np.array([value]), unit, column="")
    assert found[0] == pytest.approx(Angle(value, unit).to_value("deg"), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("unit", ["h", "hour", "hours", "HOURS", "hr"])
def test_hours_are_an_angle_of_right_ascension_alone(unit: str) -> None:
    assert convert_to_degrees(np.array([23.5, np.nan]), unit, column="", hours=True)[0] == pytest.approx(
        352.5, rel=1e-14
    )
    with pytest.raises(SurveyFileError, match="no unit of an angle"):
        convert_to_degrees(np.array([23.5]), unit, column="DEC")


def test_float32_positions_are_not_converted_in_float32() -> None:
    # A float32 of radians holds 0.02 arcsec at 180 deg; the factor must not cost as much again.
    values = np.array([3.1], np.float32)
    found = convert_to_degrees(values, "rad", column="")
    assert found.dtype == np.float64
    assert found[0] == float(values[0]) * 180 / np.pi


@pytest.mark.parametrize(
    ("spelt", "unit"),
    [
        ("microJy", "uJy"),
        ("MicroJansky", "uJy"),
        ("\u03bcJy", "uJy"),
        ("\u00b5Jy", "uJy"),
        ("nanoJy", "nJy"),
        ("milliJanskies", "mJy"),
        ("nanomaggies", "nmgy"),
        ("jansky", "Jy"),
    ],
)
def test_fluxes_however_they_are_spelt(spelt: str, unit: str) -> None:
    assert parse_unit(spelt) == units.Unit(unit)


def test_what_astropy_warns_of_is_read_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_unit("erg/s/cm2/Hz") == units.erg / units.s / units.cm**2 / units.Hz


def test_no_rows_stay_no_rows() -> None:
    assert convert_to_degrees(np.empty(0), "rad", column="").shape == (0,)


@pytest.mark.parametrize("unit", ["pix", "furlong", "s", "mag", "K"])
def test_what_is_no_angle_is_refused_with_column_unit_and_remedy(unit: str) -> None:
    with pytest.raises(SurveyFileError) as caught:
        convert_to_degrees(np.array([1.0]), unit, column="cat.fits: column RA (survey.columns.ra)")
    message = str(caught.value)
    assert message.startswith(f"cat.fits: column RA (survey.columns.ra) is in {unit!r} (TUNIT)")
    assert message.endswith("write it in deg, or correct the TUNIT card")


@pytest.mark.parametrize(
    "unit", ["mag", "MAG", "mags", "mag(AB)", "", "  ", "dimensionless", "magnitude of some kind", "AB mag of SDSS"]
)
def test_magnitudes_and_words_that_say_nothing_pass(unit: str) -> None:
    require_magnitudes(unit, column="cat.fits: column MAG")


@pytest.mark.parametrize("unit", ["Jy", "nJy", "ct", "adu", "electron / s", "deg", "dB"])
def test_fluxes_and_counts_are_refused_with_the_remedy(unit: str) -> None:
    with pytest.raises(SurveyFileError, match=r"column MAG is in .*name the column that has them, or convert it"):
        require_magnitudes(unit, column="cat.fits: column MAG")


def test_case_tells_units_apart() -> None:
    assert parse_unit("Mpc") == units.Mpc
    assert parse_unit("mpc") == units.pc / 1000
    assert parse_unit("s") == units.s  # its plural's ending is all of it
    assert parse_unit("no such unit") is None
