"""Several images of a band that tell by their place alone on which tiles they lie: merged where they do."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from ingested import find_survey
from tiny_survey import make_config, make_wcs, write_survey

from photoz.errors import ConfigError, SurveyFileError
from photoz.ingest.bands import inspect_images
from photoz.ingest.tile import ingest_tile
from photoz.photometry import AB_ZEROPOINT
from photoz.settings.config import Config
from photoz.tiles import Tile, open_tile

SHAPE, SCALE = (200, 240), 0.339
PLACE, TILE = "180.0_-0.5", "KIDS_180.0_-0.5"
LEFT, RIGHT, FAR = (2, 80), (66, 144), (4000, 4078)
"""Columns of a grid of 0.339 arcsec about the tile, of which 142 columns and 118 rows cover it."""
VIKING = {
    "bands": ["Z"],
    "image_file": "viking/*_{lower}.fits",
    "mask_file": "viking/*_{lower}.fits",
    "image_hdu": "1",
    "mask_hdu": "2",
    "zeropoint_key": "MAGZPT",
}


def make_viking_wcs(first: int) -> WCS:
    wcs = make_wcs(180.0, -0.5, (130, 146), SCALE / 3600)
    wcs.wcs.crpix = [wcs.wcs.crpix[0] - first, wcs.wcs.crpix[1]]
    return wcs


def write_part(folder: Path, name: str, columns: tuple[int, int], zeropoint: float, flux: float = 1000.0) -> Path:
    """Write an image of a flux [nJy] a pixel, whose 10th row and column is masked."""
    header = make_viking_wcs(columns[0]).to_header()
    header["MAGZPT"] = zeropoint
    pixels = np.full((130, columns[1] - columns[0]), flux / 10 ** (0.4 * (AB_ZEROPOINT - zeropoint)), np.float32)
    mask = np.zeros(pixels.shape, np.uint8)
    mask[65, 40] = 1
    path = folder / "viking" / f"{name}_z.fits"
    path.parent.mkdir(exist_ok=True)
    planes = [fits.PrimaryHDU(), fits.ImageHDU(pixels, header), fits.ImageHDU(mask, header)]
    fits.HDUList(planes).writeto(path, overwrite=True)
    return path


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A survey of one tile, with two images that share a fifth of it and one that lies elsewhere."""
    folder = write_survey(tmp_path, (PLACE,)).folder
    write_part(folder, "a", LEFT, 25.0)
    write_part(folder, "b", RIGHT, 27.5, flux=3000.0)
    write_part(folder, "c", FAR, 27.5)
    survey = {
        "image_bands": ["r", "Z"],
        "pixel_scales": {"Z": SCALE},
        "other_images": [VIKING],
        "stored_unit": "nJy",
    }
    return make_config(tmp_path, survey=survey)


def change_survey(config: Config, **changes: object) -> Config:
    return msgspec.structs.replace(config, survey=msgspec.structs.replace(config.survey, **changes))


def ingest(config: Config) -> Tile:
    (tile,) = find_survey(config)
    outcome = ingest_tile(config, tile)
    assert outcome.problem == "", outcome.problem
    return open_tile(config.locations.tiles, TILE)


def test_images_are_merged_where_they_lie_in_one_unit(config: Config) -> None:
    tile = ingest(config)
    found = tile.read_window(0, SHAPE[0], 0, SHAPE[1])[1] * (SCALE / 0.2) ** 2
    # Columns of the tile on those of the images.
    columns = make_viking_wcs(0).all_world2pix(
        *make_wcs(180.0, -0.5, SHAPE).all_pix2world(np.arange(SHAPE[1]), SHAPE[0] / 2, 0), 0
    )[0]
    for low, high, flux in ((LEFT[0], RIGHT[0] - 1, 1000.0), (RIGHT[0], LEFT[1] - 1, 2000.0), (LEFT[1], 200, 3000.0)):
        within = (columns > low) & (columns < high) & (columns < RIGHT[1] - 1)
        assert within.any()
        np.testing.assert_allclose(found[:, within], flux, rtol=1e-4)
    beyond = columns < LEFT[0] - 0.5
    assert np.isnan(found[:, beyond]).all()
    assert tile.attributes["cover"]["Z"] == pytest.approx(1 - beyond.mean(), abs=0.01)
    assert tile.attributes["file_zero_points"] == {"r": 0.0, "Z": 25.0}
    # The masks of both.
    masked = np.flatnonzero((tile.read_mask_window(0, SHAPE[0], 0, SHAPE[1]) & 2).any(axis=0))
    assert {round(float(columns[place])) for place in masked} >= {LEFT[0] + 40, RIGHT[0] + 40}
    assert len(masked) < 10


def test_an_image_that_is_replaced_makes_another_tile(config: Config) -> None:
    first = ingest(config).attributes
    write_part(Path(config.locations.survey), "b", RIGHT, 27.5, flux=5000.0)
    second = ingest(config).attributes
    assert second["checksum"] != first["checksum"]
    # One that lies elsewhere does not.
    write_part(Path(config.locations.survey), "d", FAR, 27.5, flux=5000.0)
    assert ingest(config).attributes["checksum"] == second["checksum"]


def test_a_tile_on_which_none_lies_is_told(config: Config) -> None:
    for name in "ab":
        write_part(Path(config.locations.survey), name + name, FAR, 27.5)
        Path(config.locations.survey, "viking", f"{name}_z.fits").unlink()
    with pytest.raises(SurveyFileError, match=r"none of the 3 images of band 'Z' lies on the tile KIDS_180\.0_-0\.5"):
        inspect_images(find_survey(config)[0], config.survey)
    tile = ingest(change_survey(config, optional_bands=("Z",)))
    assert np.isnan(tile.read_window(0, SHAPE[0], 0, SHAPE[1])[1]).all()
    assert tile.attributes["cover"] == {"Z": 0.0}


def test_masks_in_files_of_their_own_are_refused(config: Config) -> None:
    viking = msgspec.structs.replace(config.survey.other_images[0], mask_file="viking/*_{lower}.fit*")
    config = change_survey(config, other_images=(viking,))
    Path(config.locations.survey, "viking", "z_z.fit").write_bytes(b"")
    with pytest.raises(ConfigError, match="several images of band 'Z' are merged"):
        inspect_images(find_survey(config)[0], config.survey)


@pytest.mark.parametrize(("columns", "costs"), [(RIGHT, True), (FAR, False)])
def test_a_damaged_one_costs_the_tiles_on_which_it_lies(config: Config, columns: tuple[int, int], costs: bool) -> None:
    path = write_part(Path(config.locations.survey), "d", columns, 27.5)
    path.write_bytes(path.read_bytes()[:9000])
    (tile,) = find_survey(config)
    assert ("d_z.fits is truncated" in ingest_tile(config, tile).problem) == costs


def test_images_in_another_frame_are_found(config: Config) -> None:
    first = ingest(config).read_window(0, SHAPE[0], 0, SHAPE[1])[1]
    for path in Path(config.locations.survey, "viking").iterdir():
        with fits.open(path) as planes:
            for unit in planes[1:]:
                # The same grid, said in galactic coordinates: turned about the same pixel.
                unit.header.update(turn_to_galactic(WCS(unit.header)).to_header())
            planes.writeto(path, overwrite=True)
    second = ingest(config).read_window(0, SHAPE[0], 0, SHAPE[1])[1]
    np.testing.assert_array_equal(np.isnan(second), np.isnan(first))
    np.testing.assert_allclose(second, first, rtol=1e-3)


def turn_to_galactic(wcs: WCS) -> WCS:
    centre = SkyCoord(*wcs.wcs.crval, unit="deg")
    north = centre.directional_offset_by(0 * units.deg, 1 * units.arcsec)
    angle = centre.galactic.position_angle(north.galactic).rad
    turned = WCS(naxis=2)
    turned.wcs.ctype, turned.wcs.crpix = ["GLON-TAN", "GLAT-TAN"], wcs.wcs.crpix
    turned.wcs.crval = [centre.galactic.l.deg, centre.galactic.b.deg]
    cos, sin, scale = np.cos(angle), np.sin(angle), SCALE / 3600
    turned.wcs.cd = np.array([[cos, sin], [-sin, cos]]) @ np.diag([-scale, scale])
    return turned
