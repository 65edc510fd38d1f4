"""Two planted galaxies whose cutouts show them, whatever the files say of their frames, units and extensions."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from ingested import ingest
from tiny_survey import IMAGE_BANDS, SCALE, TinySurvey, make_wcs, write_catalogue, write_survey

from photoz.cutouts import extract_cutouts
from photoz.ingest.staging import read_staged, staged_location
from photoz.tiles import open_tile

TILE = "180.0_-0.5"
NAME = f"KIDS_{TILE}"
SHAPE = (120, 140)
PLACES = {3: (37, 41), 4: (88, 101)}
"""Row of the catalogue -> row and column of the pixel that its galaxy fills."""
CENTRE = SkyCoord(180.0, -0.5, unit="deg")


def make_images() -> dict[str, np.ndarray]:
    """Make one image a band, 0 but for the galaxies; each has a value of its own in each band."""
    images = {}
    for index, band in enumerate(IMAGE_BANDS):
        images[band] = np.zeros(SHAPE, np.float32)
        for row, (y, x) in PLACES.items():
            images[band][y, x] = 100 * row + index
    return images


def plant(survey: TinySurvey, sky: SkyCoord) -> Table:
    """Put the galaxies of the catalogue where they are on the sky."""
    table = survey.catalogues[TILE].copy()
    for row, place in zip(PLACES, sky, strict=True):
        table["RAJ2000"][row], table["DECJ2000"][row] = place.icrs.ra.deg, place.icrs.dec.deg
        table["MAG_AUTO"][row] = 18.0
    write_catalogue(survey.path(TILE, "ugriZYJHKs_cat"), table)
    return table


def write_units(path: Path, *units: fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU) -> None:
    fits.HDUList(list(units)).writeto(path, checksum=True, overwrite=True)


def assert_found(survey: TinySurvey) -> None:
    """Assert that the middle of each cutout is its galaxy and nothing else of it is."""
    outcome = ingest(survey.config)
    assert outcome.problem == ""
    rows = read_rows(survey)
    positions = [rows[str(survey.catalogues[TILE]["ID"][row])] for row in PLACES]
    tile = open_tile(survey.config.locations.tiles, NAME)
    cutouts, _ = extract_cutouts(tile, *np.transpose(positions), 21, bands=IMAGE_BANDS)
    middle = cutouts[:, :, 10, 10]
    expected = [[100 * row + index for index in range(len(IMAGE_BANDS))] for row in PLACES]
    np.testing.assert_array_equal(middle, expected)
    assert (np.nan_to_num(cutouts) != 0).sum() == middle.size


def read_rows(survey: TinySurvey) -> dict[str, tuple[float, float]]:
    location = staged_location(survey.config.locations.sources, NAME)
    assert read_staged(location) is not None
    return {row["object_id"]: (row["ra"], row["dec"]) for row in pq.read_table(location).to_pylist()}


@pytest.fixture
def survey(tmp_path: Path) -> TinySurvey:
    survey = write_survey(tmp_path, (TILE,), shape=SHAPE, count=12)
    for band in IMAGE_BANDS:
        survey.path(TILE, f"{band}_msk").unlink()
    return survey


def write_images(survey: TinySurvey, header: fits.Header) -> None:
    for band, image in make_images().items():
        write_units(survey.path(TILE, f"{band}_sci"), fits.PrimaryHDU(image, header))


# Frames ------------------------------------------------------------------------------------------------------------


def make_header(axes: tuple[str, str], reference: tuple[float, float], **cards: Any) -> fits.Header:
    """Make a TAN projection turned by 30 degrees; ``axes`` without the projection's name."""
    turn = np.deg2rad(30)
    cd = SCALE * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    keys = {f"CTYPE{n}": f"{axis}TAN" for n, axis in enumerate(axes, 1)}
    keys |= {f"CRVAL{n}": value for n, value in enumerate(reference, 1)}
    keys |= {"CRPIX1": 60.0, "CRPIX2": 55.0, "CUNIT1": "deg", "CUNIT2": "deg"}
    keys |= {f"CD{i}_{j}": cd[i - 1, j - 1] for i in (1, 2) for j in (1, 2)}
    return fits.Header(keys | cards)


GALACTIC, FK4, FK5 = CENTRE.galactic, CENTRE.transform_to("fk4"), CENTRE.transform_to("fk5")
FRAMES = {
    "icrs": make_header(("RA---", "DEC--"), (180.0, -0.5)),
    "fk5": make_header(("RA---", "DEC--"), (FK5.ra.deg, FK5.dec.deg), RADESYS="FK5", EQUINOX=2000.0),
    "fk4": make_header(("RA---", "DEC--"), (FK4.ra.deg, FK4.dec.deg), RADESYS="FK4", EQUINOX=1950.0),
    "fk4 by its equinox": make_header(("RA---", "DEC--"), (FK4.ra.deg, FK4.dec.deg), EQUINOX=1950.0),
    "galactic": make_header(("GLON-", "GLAT-"), (GALACTIC.l.deg, GALACTIC.b.deg)),
    "declination first": make_header(("DEC--", "RA---"), (-0.5, 180.0)),
    "latitude first": make_header(("GLAT-", "GLON-"), (GALACTIC.b.deg, GALACTIC.l.deg)),
}


@pytest.mark.parametrize("header", FRAMES.values(), ids=FRAMES)
def test_images_in_any_frame_and_order_of_axes(survey: TinySurvey, header: fits.Header) -> None:
    write_images(survey, header)
    y, x = np.transpose(list(PLACES.values()))
    plant(survey, WCS(header).pixel_to_world(x, y))  # where astropy finds them in the file as it is
    assert_found(survey)
    assert open_tile(survey.config.locations.tiles, NAME).wcs.wcs.ctype[0] == "RA---TAN"


def test_radesys_means_nothing_for_galactic_axes(survey: TinySurvey) -> None:
    header = FRAMES["galactic"].copy()
    y, x = np.transpose(list(PLACES.values()))
    sky = WCS(header).pixel_to_world(x, y)
    header["RADESYS"] = "ICRS"  # which astropy would believe
    write_images(survey, header)
    plant(survey, sky)
    assert_found(survey)


def test_sip_survives_the_conversion(survey: TinySurvey) -> None:
    header = FRAMES["galactic"].copy()
    header.update({"CTYPE1": "GLON-TAN-SIP", "CTYPE2": "GLAT-TAN-SIP", "A_ORDER": 2, "B_ORDER": 2})
    header.update({"A_2_0": 3e-4, "B_0_2": -4e-4, "A_1_1": 1e-4})
    write_images(survey, header)
    y, x = np.transpose(list(PLACES.values()))
    plant(survey, WCS(header).pixel_to_world(x, y))
    assert_found(survey)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (make_header(("ELON-", "ELAT-"), (180.0, -0.5)), r"u_sci\.fits has a WCS in a frame that cannot be converted"),
        (
            fits.Header(dict(FRAMES["galactic"]) | {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR"}),
            r"u_sci\.fits has its positions in GALACTIC \(CTYPE1 = 'GLON-CAR', .*reproject the image",
        ),
    ],
    ids=["ecliptic", "galactic plate carree"],
)
def test_a_frame_that_cannot_be_converted_is_refused(survey: TinySurvey, header: fits.Header, text: str) -> None:
    write_images(survey, header)
    outcome = ingest(survey.config)
    assert outcome.parts["images"].status == "failed"
    assert re.search(text, outcome.problem)


# Bands and extensions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "lost"), [("u", (7, 3)), ("r", (5, 11))])
def test_a_band_offset_by_whole_pixels(survey: TinySurvey, first: str, lost: tuple[int, int]) -> None:
    wcs, images = make_wcs(180.0, -0.5, SHAPE), make_images()
    for band in IMAGE_BANDS:
        y0, x0 = lost if band == first else (0, 0)
        header = wcs[y0:, x0:].to_header()
        write_units(survey.path(TILE, f"{band}_sci"), fits.PrimaryHDU(images[band][y0:, x0:], header))
    y, x = np.transpose(list(PLACES.values()))
    plant(survey, wcs.pixel_to_world(x, y))
    assert_found(survey)


def _weight_first(image: np.ndarray, header: fits.Header) -> list[Any]:
    return [
        fits.PrimaryHDU(),
        fits.ImageHDU(np.ones(SHAPE, np.float32), header, name="WHT"),
        fits.ImageHDU(image, header, name="SCI"),
    ]


def _thumbnail_first(image: np.ndarray, header: fits.Header) -> list[Any]:
    return [fits.PrimaryHDU(np.zeros((16, 16), np.uint8)), fits.ImageHDU(image, header, name="sci")]


def _like_hsc(image: np.ndarray, header: fits.Header) -> list[Any]:
    others = [fits.ImageHDU(np.ones(SHAPE, np.float32), name=name) for name in ("MASK", "VARIANCE")]
    return [fits.PrimaryHDU(), others[1], fits.ImageHDU(image, header, name="IMAGE"), others[0]]


def _unnamed_beside_its_mask(image: np.ndarray, header: fits.Header) -> list[Any]:
    return [fits.PrimaryHDU(), fits.ImageHDU(np.ones(SHAPE, np.uint8), name="MSK"), fits.ImageHDU(image, header)]


def _packed_weight_first(image: np.ndarray, header: fits.Header) -> list[Any]:
    packing = {"compression_type": "GZIP_2", "quantize_level": 0}
    weight = fits.CompImageHDU(np.ones(SHAPE, np.float32), name="WGT", **packing)
    return [fits.PrimaryHDU(), weight, fits.CompImageHDU(image, header, name="SCI", **packing)]


def _numbered(image: np.ndarray, header: fits.Header) -> list[Any]:
    return [
        fits.PrimaryHDU(),
        fits.ImageHDU(np.ones(SHAPE, np.float32), header, name="WHT_1"),
        fits.ImageHDU(image, header, name="SCI-1"),
    ]


def _odd_name_beside_background(image: np.ndarray, header: fits.Header) -> list[Any]:
    others = [fits.ImageHDU(np.ones(SHAPE, np.float32), header, name=name) for name in ("BACKGROUND", "NEXP")]
    return [fits.PrimaryHDU(), *others, fits.ImageHDU(image, header, name="COADD")]


@pytest.mark.parametrize(
    "make",
    [
        _weight_first,
        _thumbnail_first,
        _like_hsc,
        _unnamed_beside_its_mask,
        _packed_weight_first,
        _numbered,
        _odd_name_beside_background,
    ],
)
def test_the_image_among_several_extensions(
    survey: TinySurvey, make: Callable[[np.ndarray, fits.Header], list[Any]]
) -> None:
    wcs = make_wcs(180.0, -0.5, SHAPE)
    for band, image in make_images().items():
        write_units(survey.path(TILE, f"{band}_sci"), *make(image, wcs.to_header()))
    y, x = np.transpose(list(PLACES.values()))
    plant(survey, wcs.pixel_to_world(x, y))
    assert_found(survey)


def test_extensions_of_which_none_is_the_image_are_refused(survey: TinySurvey) -> None:
    header = make_wcs(180.0, -0.5, SHAPE).to_header()
    # Of two names that nobody knows either may be the image.
    for names in (["WHT", "MSK"], ["COADD", "HALO"]):
        others = [fits.ImageHDU(np.ones(SHAPE, np.float32), header, name=name) for name in names]
        write_units(survey.path(TILE, "g_sci"), fits.PrimaryHDU(), *others)
        problem = ingest(survey.config).problem
        assert f"g_sci.fits holds several images, in the extensions {names}, of which none is the image" in problem


def test_the_mask_is_taken_from_the_extension_of_that_name(survey: TinySurvey) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[30, 50] = 4
    science = fits.ImageHDU(np.ones(SHAPE, np.float32), name="SCI")
    write_units(survey.path(TILE, "r_msk"), fits.PrimaryHDU(), science, fits.ImageHDU(mask, name="MSK"))
    assert ingest(survey.config).problem == ""
    stored = open_tile(survey.config.locations.tiles, NAME).read_mask_window(0, SHAPE[0], 0, SHAPE[1])
    assert (stored[30, 50], np.count_nonzero(stored)) == (1 << IMAGE_BANDS.index("r"), 1)


# Units -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ra_unit", "dec_unit", "ra_factor", "dec_factor"),
    [
        ("deg", "deg", 1.0, 1.0),
        ("", "Degrees", 1.0, 1.0),
        ("rad", "rad", u.deg.to(u.rad), u.deg.to(u.rad)),
        ("arcsec", "arcmin", 3600.0, 60.0),
        ("hours", "deg", 1 / 15, 1.0),
        ("hourangle", "deg", 1 / 15, 1.0),
    ],
)
def test_positions_in_any_unit(
    survey: TinySurvey, ra_unit: str, dec_unit: str, ra_factor: float, dec_factor: float
) -> None:
    wcs = make_wcs(180.0, -0.5, SHAPE)
    write_images(survey, wcs.to_header())
    y, x = np.transpose(list(PLACES.values()))
    table = plant(survey, wcs.pixel_to_world(x, y))
    table["RAJ2000"] = table["RAJ2000"] * ra_factor
    table["DECJ2000"] = table["DECJ2000"] * dec_factor
    state_units(survey, table, RAJ2000=ra_unit, DECJ2000=dec_unit)
    assert_found(survey)


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        (
            {"DECJ2000": "hours"},
            r"DECJ2000 \(survey\.columns\.dec\) is in 'hours' \(TUNIT\), which is no unit",
        ),
        ({"RAJ2000": "pixel"}, r"RAJ2000 \(survey\.columns\.ra\) is in 'pixel' \(TUNIT\)"),
        ({"RAJ2000": "H:M:S"}, r"RAJ2000 \(survey\.columns\.ra\) is in 'H:M:S' \(TUNIT\)"),
        (
            {"MAG_GAAP_g": "Jy"},
            r"MAG_GAAP_g \(survey\.columns\.mag, band g of survey\.bands\) is in 'Jy'",
        ),
        ({"MAGERR_AUTO": "mmag"}, r"MAGERR_AUTO \(survey\.columns\.magerr_auto\) is in 'mmag'"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_a_unit_of_something_else_is_refused(survey: TinySurvey, stated: dict[str, str], text: str) -> None:
    state_units(survey, survey.catalogues[TILE], **stated)
    outcome = ingest(survey.config)
    assert outcome.parts["catalogue"].status == "failed"
    assert re.search(text, outcome.problem)


def test_units_of_magnitudes_pass(survey: TinySurvey) -> None:
    stated = {"MAG_AUTO": "mag", "MAG_GAAP_u": "mag(AB)", "MAG_GAAP_g": "magnitudes of ours", "EXTINCTION_r": "mag"}
    state_units(survey, survey.catalogues[TILE], **stated)
    assert ingest(survey.config).problem == ""


def state_units(survey: TinySurvey, table: Table, **stated: str) -> None:
    """Write the catalogue with units as its maker spells them."""
    path = survey.path(TILE, "ugriZYJHKs_cat")
    write_catalogue(path, table)
    with fits.open(path) as units:
        copies = fits.HDUList([unit.copy() for unit in units])
    for name, unit in stated.items():
        if unit:
            copies[1].header[f"TUNIT{copies[1].columns.names.index(name) + 1}"] = unit
    copies.writeto(path, overwrite=True, checksum=True)
