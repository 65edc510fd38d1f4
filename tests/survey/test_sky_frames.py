"""A WCS brought to ICRS places every pixel where the file's own does, wherever on the sky and however turned."""

import numpy as np
import pytest
from astropy.coordinates import FK4, FK5, BaseCoordinateFrame, Galactic
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from photoz.errors import SurveyFileError
from photoz.survey.frames import LARGEST_ERROR, convert_to_icrs, measure_error

SHAPE, SCALE = (2000, 2400), 0.2 / 3600
FRAMES: dict[str, tuple[BaseCoordinateFrame, tuple[str, str], dict[str, object]]] = {
    "galactic": (Galactic(), ("GLON", "GLAT"), {}),
    "fk5 of 1975": (FK5(equinox="J1975"), ("RA--", "DEC-"), {"RADESYS": "FK5", "EQUINOX": 1975.0}),
    "fk4": (FK4(equinox="B1950"), ("RA--", "DEC-"), {"RADESYS": "FK4", "EQUINOX": 1950.0}),
}


def make_wcs(axes: tuple[str, str], centre: tuple[float, float], turn: float, cards: dict[str, object]) -> WCS:
    """Make a TAN projection about a centre [deg], turned by an angle [deg]."""
    c, s = SCALE * np.cos(np.deg2rad(turn)), SCALE * np.sin(np.deg2rad(turn))
    keys = {f"CTYPE{n}": f"{axis}-TAN" for n, axis in enumerate(axes, 1)}
    keys |= {"CRVAL1": centre[0], "CRVAL2": centre[1], "CRPIX1": 900.0, "CRPIX2": 1300.0}
    return WCS(fits.Header({**keys, "CD1_1": -c, "CD1_2": s, "CD2_1": s, "CD2_2": c, **cards}))


@pytest.mark.parametrize("name", FRAMES)
@settings(max_examples=30, deadline=None)
@given(longitude=st.floats(0, 359.99), latitude=st.floats(-89.9, 89.9), turn=st.floats(-180, 180))
@example(longitude=122.93, latitude=27.13, turn=0.0)  # the celestial pole in galactic coordinates
@example(longitude=0.0, latitude=0.0, turn=90.0)
@example(longitude=62.0, latitude=-62.0, turn=0.0)
def test_places_are_those_of_the_file(name: str, longitude: float, latitude: float, turn: float) -> None:
    # Within some degrees of FK4's poles the aberration, and the refusal of what it leaves, are another matter.
    assume(name != "fk4" or abs(latitude) < 80)
    frame, axes, cards = FRAMES[name]
    wcs = make_wcs(axes, (longitude, latitude), turn, cards)
    converted = convert_to_icrs(wcs, SHAPE, name="a.fits")
    # FK4 is no pure rotation: aberration of some 0.3 arcsec changes over the image, by 0.010 pixels at (62, -62) and
    # by 0.020 at (53, -78) deg.
    assert measure_error(wcs, converted, frame, SHAPE) < (0.03 if name == "fk4" else 1e-5)
    assert (converted.wcs.radesys, converted.wcs.lng) == ("ICRS", 0)


@settings(max_examples=20, deadline=None)
@given(declination=st.floats(-85, 85), turn=st.floats(-180, 180))
def test_axes_are_exchanged_on_the_sky_and_not_on_the_image(declination: float, turn: float) -> None:
    swapped = make_wcs(("DEC-", "RA--"), (declination, 200.0), turn, {})
    converted = convert_to_icrs(swapped, SHAPE, name="a.fits")
    dec, ra = swapped.all_pix2world([10.0, 2000.0], [500.0, 30.0], 0)
    np.testing.assert_allclose(converted.all_pix2world([10.0, 2000.0], [500.0, 30.0], 0), [ra, dec], atol=1e-9)


@pytest.mark.parametrize(
    "cards", [{}, {"RADESYS": "ICRS"}, {"RADESYS": "icrs"}, {"RADESYS": "fk5", "EQUINOX": 2000.0}, {"EQUINOX": 2000.0}]
)
def test_what_is_in_icrs_stays_the_same_object(cards: dict[str, object]) -> None:
    wcs = make_wcs(("RA--", "DEC-"), (10.0, 20.0), 5.0, cards)
    assert convert_to_icrs(wcs, SHAPE, name="a.fits") is wcs


def test_an_image_too_large_for_one_rotation_is_refused() -> None:
    wcs = make_wcs(("RA--", "DEC-"), (10.0, 20.0), 0.0, {"RADESYS": "FK4", "EQUINOX": 1950.0})
    with pytest.raises(SurveyFileError, match=rf"a\.fits has its positions in FK4 .*within {LARGEST_ERROR} pixels"):
        convert_to_icrs(wcs, (100_000, 100_000), name="a.fits")
