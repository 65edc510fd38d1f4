"""Bands on pixels of their own lie on the tile's after ingest: fluxes, places, masks, weights, edges, missing files."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zarr
from astropy.io import fits
from astropy.wcs import WCS
from ingested import find_survey
from numpy.typing import NDArray
from tiny_survey import make_config, make_wcs, write_image, write_survey

from photoz.errors import ConfigError, SurveyFileError
from photoz.ingest.bands import inspect_images
from photoz.ingest.resample import ResampledRows
from photoz.ingest.tile import ingest_tile
from photoz.photometry import AB_ZEROPOINT
from photoz.settings.config import Config
from photoz.survey.fits import RowReader, inspect_image
from photoz.survey.settings import OtherImages
from photoz.survey.warp import make_warp
from photoz.survey.wcs import align_bands
from photoz.tiles import Tile, open_tile

SHAPE, SCALE = (200, 240), 0.339
TILE, PLACE = "KIDS_180.0_-0.5", "180.0_-0.5"
STARS = np.array([[60.3, 50.8], [150.1, 90.4], [200.7, 160.2]])
"""[pixel] columns and rows on the tile."""
SEEING, BETA = 0.9, 3.5


def make_other_wcs(shape: tuple[int, int], *, scale: float = SCALE, turn: float = 0.3) -> WCS:
    """Make a grid about the tile's centre that is turned by some degrees and not quite centred."""
    wcs = make_wcs(180.0, -0.5, shape)
    angle = np.radians(turn)
    matrix = np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cdelt, wcs.wcs.pc = [scale / 3600] * 2, matrix
    wcs.wcs.crpix = [wcs.wcs.crpix[0] + 0.37, wcs.wcs.crpix[1] - 0.21]
    wcs.wcs.set()
    return wcs


def draw_stars(wcs: WCS, shape: tuple[int, int], scale: float) -> NDArray[np.float32]:
    """Draw stars of flux 1 at the same places of the sky, as pixels of a scale [arcsec] see them."""
    image, (y, x) = np.zeros(shape), np.mgrid[: shape[0], : shape[1]]
    core = (SEEING / 2) ** 2 / (2 ** (1 / BETA) - 1)
    for ra, dec in make_wcs(180.0, -0.5, SHAPE).all_pix2world(STARS, 0):
        place = wcs.all_world2pix(ra, dec, 0)
        square = ((x - place[0]) ** 2 + (y - place[1]) ** 2) * scale**2
        image += (BETA - 1) / np.pi / core * (1 + square / core) ** -BETA * scale**2
    return image.astype(np.float32)


@dataclass
class Other:
    """A tiny survey whose Z images lie on pixels of their own."""

    config: Config
    folder: Path
    wcs: WCS
    pixels: NDArray[np.float32]

    def ingest(self) -> Tile:
        (tile,) = find_survey(self.config)
        outcome = ingest_tile(self.config, tile)
        assert outcome.problem == "", outcome.problem
        return open_tile(self.config.locations.tiles, TILE)

    def write(self, kind: str, pixels: NDArray[np.generic]) -> None:
        write_image(self.folder / f"KiDS_DR4.0_{PLACE}_Z_{kind}.fits", pixels, self.wcs)


@pytest.fixture
def other(tmp_path: Path) -> Other:
    return make_other(tmp_path)


def make_other(folder: Path, shape: tuple[int, int] = (160, 180), *, turn: float = 0.3) -> Other:
    folder.mkdir(exist_ok=True)
    folder = write_survey(folder, (PLACE,)).folder
    config = make_config(
        folder.parent,
        survey={"image_bands": ["g", "r", "Z"], "pixel_scales": {"Z": SCALE}},
        tiles={"store_weights": True},
    )
    wcs = make_other_wcs(shape, turn=turn)
    made = Other(config, folder, wcs, draw_stars(wcs, shape, SCALE))
    made.write("sci", made.pixels)
    return made


@pytest.mark.parametrize("turn", [0.3, 180.2])
def test_stars_keep_their_place_and_their_flux(tmp_path: Path, turn: float) -> None:
    tile = make_other(tmp_path, turn=turn).ingest()
    assert (tile.bands, tile.shape) == (("g", "r", "Z"), SHAPE)
    found = tile.read_window(0, *SHAPE[:1], 0, SHAPE[1])[2]
    expected = draw_stars(make_wcs(180.0, -0.5, SHAPE), SHAPE, 0.2)
    assert np.isfinite(found).all()
    # Peaks lose 2 to 3 %, with 2.7 pixels of 0.339 arcsec across.
    np.testing.assert_allclose(found, expected, atol=0.04 * expected.max())
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for column, row in STARS:
        circle = np.hypot(x - column, y - row) < 3 / 0.2
        assert found[circle].sum() == pytest.approx(expected[circle].sum(), rel=2e-3)
        centre = (found * x)[circle].sum() / found[circle].sum(), (found * y)[circle].sum() / found[circle].sum()
        assert centre == pytest.approx((column, row), abs=0.02)
    assert tile.attributes["cover"] == {"Z": 1.0}
    assert list(tile.attributes["offsets_pixel"]) == ["g", "r"]


def test_a_band_that_ends_within_the_tile_is_nan_beyond_its_edge(tmp_path: Path) -> None:
    tile = make_other(tmp_path, (160, 70)).ingest()
    found = tile.read_window(0, SHAPE[0], 0, SHAPE[1])
    covered = np.isfinite(found[2])
    # 70 of its pixels are 118.7 of the tile's.
    assert covered.mean() == pytest.approx(118.7 / SHAPE[1], abs=0.01)
    assert tile.attributes["cover"]["Z"] == pytest.approx(covered.mean(), abs=0.01)
    assert np.isfinite(found[:2]).all()


def test_what_was_not_observed_stays_so(other: Other) -> None:
    other.pixels[60:70, 40:60] = np.nan
    other.pixels[:, 100:120] = 0.0  # no exposure, as coadds write it
    other.write("sci", other.pixels)
    found = other.ingest().read_window(0, SHAPE[0], 0, SHAPE[1])[2]
    lost = np.isnan(found)
    expected = (10 * 20 / (SHAPE[0] * SHAPE[1]) * (SCALE / 0.2) ** 2) + 20 * SCALE / 0.2 / SHAPE[1]
    # Each edge loses the pixels that a bad one has a share in.
    assert lost.mean() == pytest.approx(expected, rel=0.2)
    assert lost.mean() > expected
    assert (found != 0).all()


def test_masks_and_weights_come_along(other: Other) -> None:
    mask = np.zeros(other.pixels.shape, np.uint8)
    mask[80, 90] = 4
    other.write("msk", mask)
    other.write("wei", np.full(other.pixels.shape, 25, np.float32))
    tile = other.ingest()
    masked = tile.read_mask_window(0, *SHAPE[:1], 0, SHAPE[1]) & 4 > 0
    place = make_wcs(180.0, -0.5, SHAPE).all_world2pix(*other.wcs.all_pix2world(90, 80, 0), 0)
    rows, columns = np.nonzero(masked)
    # A pixel of 1.7 of the tile's has a share in all within 1.7 of its middle.
    assert 6 <= masked.sum() <= 16
    assert np.hypot(rows - place[1], columns - place[0]).max() < 1.7 * np.sqrt(2)
    stored = zarr.open_group(f"{other.config.locations.tiles}/{TILE}.zarr", mode="r")["weight"]
    # The inverse of a variance goes with the fourth power of the scale.
    np.testing.assert_allclose(stored[2], 25 * (SCALE / 0.2) ** 4, rtol=1e-5)


@pytest.mark.parametrize("height", [1, 37, 64, 150])
def test_stripes_of_any_height_give_the_same(other: Other, height: int) -> None:
    infos = {"g": inspect_image(str(other.folder / f"KiDS_DR4.0_{PLACE}_g_sci.fits"))}
    grid = align_bands(infos, pixel_scale=0.2)
    info = inspect_image(str(other.folder / f"KiDS_DR4.0_{PLACE}_Z_sci.fits"))
    warp = make_warp(info, grid, pixel_scale=SCALE, setting="")
    found = []
    for step in (height, SHAPE[0]):
        with ExitStack() as stack:
            rows = ResampledRows(stack.enter_context(RowReader(info)), warp, SHAPE[1], factor=warp.area)
            found.append(np.concatenate([read_rows(rows, y0, step) for y0 in range(0, SHAPE[0], step)]))
            assert len(rows.finish()) == 64
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-9)


def read_rows(rows: ResampledRows, y0: int, step: int) -> NDArray[np.float32]:
    values = rows.read(y0, min(step, SHAPE[0] - y0)).values_YX
    assert values.dtype == np.float32
    return np.array(values)


def test_a_band_without_a_file_is_nan_where_that_is_allowed(other: Other) -> None:
    (other.folder / f"KiDS_DR4.0_{PLACE}_Z_sci.fits").unlink()
    with pytest.raises(SurveyFileError, match=r"Z_sci\.fits is missing"):
        inspect_images(find_survey(other.config)[0], other.config.survey)
    other.config = replace_survey(other.config, optional_bands=("Z",))
    tile = other.ingest()
    found = tile.read_window(0, SHAPE[0], 0, SHAPE[1])
    assert np.isnan(found[2]).all()
    assert np.isfinite(found[:2]).all()
    assert tile.attributes["cover"] == {"Z": 0.0}
    assert any("Z_sci.fits" in name for name in tile.attributes["missing_files"])


def test_a_band_of_another_survey_has_names_units_and_variances_of_its_own(other: Other) -> None:
    path = other.folder / "viking" / "180.0_-0.5_z.fits"
    path.parent.mkdir()
    header = other.wcs.to_header()
    header["MAGZPT"] = 27.0
    variance = np.full(other.pixels.shape, 4, np.float32)
    units = [fits.PrimaryHDU(), fits.ImageHDU(other.pixels, header), fits.ImageHDU(variance, header)]
    fits.HDUList(units).writeto(path)
    viking = OtherImages(
        bands=("Z",), image_file="viking/{ra}_{dec}_{lower}.fits", weight_file="viking/{ra}_{dec}_{lower}.fits",
        mask_file="", image_hdu="1", weight_hdu="2", weight_kind="variance", zeropoint_key="MAGZPT",
    )  # fmt: skip
    other.config = replace_survey(other.config, other_images=(viking,), stored_unit="nJy", zeropoint=22.5)
    tile = other.ingest()
    assert tile.attributes["file_zero_points"] == {"g": 22.5, "r": 22.5, "Z": 27.0}
    count = 10 ** (0.4 * (AB_ZEROPOINT - 27))  # nJy
    found = tile.read_window(0, SHAPE[0], 0, SHAPE[1])[2]
    expected = draw_stars(make_wcs(180.0, -0.5, SHAPE), SHAPE, 0.2) * count
    np.testing.assert_allclose(found, expected, atol=0.04 * expected.max())
    assert not (tile.read_mask_window(0, *SHAPE[:1], 0, SHAPE[1]) & 4).any()
    stored = zarr.open_group(f"{other.config.locations.tiles}/{TILE}.zarr", mode="r")["weight"]
    np.testing.assert_allclose(stored[2], (SCALE / 0.2) ** 4 / 4 / count**2, rtol=1e-5)
    # Another meaning makes another tile.
    other.config = replace_survey(other.config, other_images=(msgspec.structs.replace(viking, zeropoint_key=""),))
    assert other.ingest().attributes["file_zero_points"]["Z"] == 22.5


def replace_survey(config: Config, **changes: object) -> Config:
    return msgspec.structs.replace(config, survey=msgspec.structs.replace(config.survey, **changes))


def test_another_scale_than_the_setting_is_named_by_its_band(other: Other) -> None:
    config = replace_survey(other.config, pixel_scales={"Z": 0.3})
    with pytest.raises(SurveyFileError, match=r"0\.3390 arcsec/pixel and survey\.pixel_scales\.Z is 0\.3000"):
        inspect_images(find_survey(config)[0], config.survey)


@pytest.mark.parametrize(
    ("scales", "message"), [({"g": 0.2, "r": 0.2, "Z": 0.3}, "names all image bands"), ({"Z": 0.0}, "must be positive")]
)
def test_scales_that_make_no_sense_are_refused(other: Other, scales: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace_survey(other.config, pixel_scales=scales).check()
