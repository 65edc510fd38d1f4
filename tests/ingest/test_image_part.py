"""The image part of a tile: factors of calibration, headers that are refused, and what the key depends on."""

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from ingested import find_survey
from tiny_survey import IMAGE_BANDS, TinySurvey, make_wcs, write_catalogue, write_image, write_survey

from photoz.errors import SurveyFileError
from photoz.ingest.bands import inspect_images
from photoz.ingest.catalogue import ingest_catalogue
from photoz.ingest.images import compute_flux_scales, ingest_images
from photoz.ingest.staging import staged_location
from photoz.tiles.reader import open_tile, read_attributes

TILE = "180.0_-0.5"
SHAPE = (40, 48)


@pytest.fixture
def survey(tmp_path: Path) -> TinySurvey:
    return write_survey(tmp_path, (TILE,), shape=SHAPE, count=6)


def run(survey: TinySurvey, *, catalogue: bool = True, **changes: object):
    """Ingest both parts of the tile; return what came of the images."""
    config, (tile,) = survey.config, find_survey(survey.config)
    described = msgspec.structs.replace(config.survey, **changes)
    staged = staged_location(config.locations.sources, tile.name)
    if catalogue:
        ingest_catalogue(tile, described, config.selection, folder=config.locations.survey, staged=staged)
    return ingest_images(tile, described, config.tiles, store=config.locations.tiles, staged=staged)


@given(st.floats(-3, 3), st.sampled_from([-1, 0, 1]))
def test_factors_turn_magnitudes_by_the_offset(offset: float, sign: int) -> None:
    (scale,) = compute_flux_scales({"g": offset}, sign).values()
    # A flux f has the magnitude -2.5 log10 f.
    assert -2.5 * np.log10(scale) == pytest.approx(sign * offset, abs=1e-6)
    assert scale == np.float32(scale)


def test_no_offset_and_no_sign_leave_the_pixels_to_the_last_bit() -> None:
    assert compute_flux_scales({"g": None, "r": 0.0}, 1) == {"g": 1.0, "r": 1.0}
    assert compute_flux_scales({"g": 0.3}, 0) == {"g": 1.0}


def test_images_are_inspected_in_the_order_of_the_settings(survey: TinySurvey) -> None:
    (tile,) = find_survey(survey.config)
    images = inspect_images(tile, survey.config.survey)
    assert images.bands == IMAGE_BANDS
    assert images.grid.shape == SHAPE
    assert sorted(images.files["mask"]) == sorted(IMAGE_BANDS)
    assert images.files["weight"] == {}


def test_a_missing_image_is_named_as_it_should_be(survey: TinySurvey) -> None:
    (tile,) = find_survey(survey.config)
    without = replace(tile, images={band: path for band, path in tile.images.items() if band != "r"})
    with pytest.raises(SurveyFileError, match=r"the image KiDS_DR4\.0_180\.0_-0\.5_r_sci\.fits is missing"):
        inspect_images(without, survey.config.survey)


@pytest.mark.parametrize("kind", ["mask", "weight"])
def test_what_lies_beside_an_image_has_its_shape(survey: TinySurvey, kind: str) -> None:
    (tile,) = find_survey(survey.config)
    path = survey.path(TILE, f"g_{'msk' if kind == 'mask' else 'wei'}")
    dtype = np.uint8 if kind == "mask" else np.float32
    write_image(path, np.ones((10, 12), dtype), make_wcs(180.0, -0.5, (10, 12)))
    files = {"g": str(path)}
    changed = replace(tile, masks=files) if kind == "mask" else replace(tile, weights=files)
    with pytest.raises(SurveyFileError, match=r"has 10 x 12 pixels and its image .*g_sci\.fits has 40 x 48"):
        inspect_images(changed, survey.config.survey)


def test_a_mask_of_a_band_without_images_is_not_looked_at(survey: TinySurvey) -> None:
    (tile,) = find_survey(survey.config)
    stray = replace(tile, masks={**tile.masks, "Ks": "/nowhere.fits"})
    assert "Ks" not in inspect_images(stray, survey.config.survey).files["mask"]


def test_offsets_are_recorded_where_they_are_not_applied(survey: TinySurvey) -> None:
    assert run(survey).status == "done"
    attributes = read_attributes(survey.config.locations.tiles, f"KIDS_{TILE}")
    assert attributes["zero_point_offsets"] == dict.fromkeys(IMAGE_BANDS, 0.03)
    assert attributes["flux_scales"] == dict.fromkeys(IMAGE_BANDS, 1.0)
    assert attributes["missing_files"] == []
    assert set(attributes["sha256"]) == {f"{kind}/{band}" for kind in ("image", "mask") for band in IMAGE_BANDS}


def test_without_a_catalogue_images_are_stored_unless_they_need_its_offsets(survey: TinySurvey) -> None:
    assert run(survey, catalogue=False).status == "done"
    offsets = read_attributes(survey.config.locations.tiles, f"KIDS_{TILE}")["zero_point_offsets"]
    assert offsets == dict.fromkeys(IMAGE_BANDS)
    with pytest.raises(SurveyFileError, match=r"offset DMAG_\{BAND\} of \['u', 'g', 'r', 'i'\].*offset_sign=0 leaves"):
        run(survey, catalogue=False, zeropoint_offset_sign=1)
    # What was stored without calibration fits the settings no more.
    assert read_attributes(survey.config.locations.tiles, f"KIDS_{TILE}")["complete"] is False


def test_bytes_read_are_those_of_the_files(survey: TinySurvey) -> None:
    files = [survey.path(TILE, f"{band}_{kind}") for band in IMAGE_BANDS for kind in ("sci", "msk")]
    assert run(survey).bytes_read == sum(file.stat().st_size for file in files)
    assert run(survey).bytes_read == 0


def test_offsets_of_a_catalogue_that_changes_touch_no_image_unless_they_are_applied(survey: TinySurvey) -> None:
    run(survey)
    path = survey.path(TILE, "ugriZYJHKs_cat")
    path.unlink()
    write_catalogue(path, survey.catalogues[TILE], dict.fromkeys("UGRI", 0.5))
    assert run(survey).status == "skipped"
    assert run(survey, zeropoint_offset_sign=-1).status == "done"
    path.unlink()
    write_catalogue(path, survey.catalogues[TILE], dict.fromkeys("UGRI", 0.6))
    assert run(survey, zeropoint_offset_sign=-1).status == "done"
    assert read_attributes(survey.config.locations.tiles, f"KIDS_{TILE}")["zero_point_offsets"]["g"] == 0.6


def test_the_checksum_is_of_contents_and_not_of_names_and_times(survey: TinySurvey) -> None:
    run(survey)
    first = open_tile(survey.config.locations.tiles, f"KIDS_{TILE}").checksum
    for band in IMAGE_BANDS:
        path = survey.path(TILE, f"{band}_sci")
        path.write_bytes(path.read_bytes())
        os.utime(path, (1, 1))
    assert run(survey).status == "done"  # looked at again
    assert open_tile(survey.config.locations.tiles, f"KIDS_{TILE}").checksum == first


@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_weights_stay_the_inverse_variances_of_the_stored_pixels(survey: TinySurvey, sign: int) -> None:
    """Signal to noise is the file's, whatever the offset does to the fluxes."""
    for band in IMAGE_BANDS:
        weight = np.full(SHAPE, 4.0, np.float32)
        write_image(survey.path(TILE, f"{band}_wei"), weight, make_wcs(180.0, -0.5, SHAPE))
    config = msgspec.structs.replace(
        survey.config, tiles=msgspec.structs.replace(survey.config.tiles, store_weights=True)
    )
    run(replace(survey, config=config), zeropoint_offset_sign=sign)
    stored = zarr.open_group(f"{config.locations.tiles}/KIDS_{TILE}.zarr", mode="r")
    for place, band in enumerate(IMAGE_BANDS):
        ratio = np.asarray(stored["image"][place]) * np.sqrt(np.asarray(stored["weight"][place]))
        np.testing.assert_allclose(ratio, 2 * survey.images[TILE, band], rtol=1e-5)
    attributes = read_attributes(config.locations.tiles, f"KIDS_{TILE}")
    # Weights that were stored before they were scaled are not taken for these; without an offset all stay as they were.
    assert ("weights_scaled" in attributes["key"]) == bool(sign)
    assert run(replace(survey, config=config), zeropoint_offset_sign=sign).status == "skipped"
