"""Ingest: one tile from survey files to the store and the staged sources; a bad file costs its part and no more."""

import errno
import gzip
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr
from astropy.io import fits
from fsspec.implementations.memory import MemoryFileSystem
from ingested import NAME, SHAPE, TILE, find_survey, ingest, read_report, report, truncate
from runs import change
from tiny_survey import IMAGE_BANDS, TinySurvey, make_config, make_wcs, write_catalogue, write_image, write_survey

from photoz.cutouts import extract_cutouts
from photoz.errors import TileError
from photoz.ingest.staging import METADATA_KEY, staged_location
from photoz.ingest.tile import ingest_tile
from photoz.settings.config import Config
from photoz.tiles import open_tile


@pytest.fixture
def survey(tmp_path: Path) -> TinySurvey:
    return write_survey(tmp_path, (TILE,))


def count_staged(config: Config) -> int:
    return pq.read_metadata(staged_location(config.locations.sources, NAME)).num_rows


def test_tile_holds_the_pixels_and_all_that_is_known_of_them(survey: TinySurvey) -> None:
    result = ingest(survey.config)
    assert (result.status, result.problem, result.sum_counts("sources")) == ("done", "", 30)
    tile = open_tile(survey.config.locations.tiles, NAME)
    for index, band in enumerate(IMAGE_BANDS):
        np.testing.assert_array_equal(tile.read_window(0, 200, 0, 240)[index], survey.images[TILE, band])
    assert (tile.read_mask_window(0, 200, 0, 240) != 0).sum() == 400
    known = tile.attributes
    assert fits.Header.fromstring(known["headers"]["g"], sep="\n")["OBJECT"] == f"KiDS_DR4.0_{TILE}_g_sci"
    assert known["zero_points"] == dict.fromkeys(IMAGE_BANDS, 0.0)
    assert known["zero_point_offsets"] == dict.fromkeys(IMAGE_BANDS, 0.03)
    assert known["sha256"]["image/u"] != known["sha256"]["image/g"]
    assert known["key"]["sources"]["image"]["r"]["size"] == survey.path(TILE, "r_sci").stat().st_size


@pytest.mark.parametrize("names", ["*", "*_cat.fits", "*_sci.fits"])
def test_files_packed_by_gzip_give_the_same_tile(survey: TinySurvey, names: str) -> None:
    for path in survey.path(TILE, "r_sci").parent.glob(names):
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    result = ingest(survey.config)
    assert (result.status, result.problem, result.sum_counts("sources")) == ("done", "", 30)
    tile = open_tile(survey.config.locations.tiles, NAME)
    for index, band in enumerate(IMAGE_BANDS):
        np.testing.assert_array_equal(tile.read_window(0, 200, 0, 240)[index], survey.images[TILE, band])


def test_an_image_packed_by_gzip_and_cut_short_is_named(survey: TinySurvey) -> None:
    path = survey.path(TILE, "r_sci")
    Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes())[:-1000])
    path.unlink()
    assert re.search(r"r_sci\.fits\.gz .*; fetch it again", ingest(survey.config).problem)


def test_an_image_whose_last_block_is_not_filled_up_is_read(survey: TinySurvey) -> None:
    path = survey.path(TILE, "r_sci")
    with fits.open(path) as units:
        end = units[0].fileinfo()["datLoc"] + units[0].size
    path.write_bytes(path.read_bytes()[:end])
    assert ingest(survey.config).problem == ""
    path.write_bytes(path.read_bytes()[: end - 1])
    assert "r_sci.fits is truncated" in ingest(survey.config).problem


def test_source_positions_find_their_pixels(survey: TinySurvey) -> None:
    survey.images[TILE, "r"][120, 77] = 1e6
    wcs = make_wcs(180.0, -0.5, SHAPE)
    write_image(survey.path(TILE, "r_sci"), survey.images[TILE, "r"], wcs)
    table = survey.catalogues[TILE]
    table["RAJ2000"][3], table["DECJ2000"][3] = wcs.all_pix2world(77.2, 119.9, 0)
    write_catalogue(survey.path(TILE, "ugriZYJHKs_cat"), table)
    ingest(survey.config)
    rows = pq.read_table(staged_location(survey.config.locations.sources, NAME)).to_pylist()
    (row,) = [row for row in rows if row["object_id"] == str(table["ID"][3])]
    tile = open_tile(survey.config.locations.tiles, NAME)
    cut, _ = extract_cutouts(tile, [row["ra"]], [row["dec"]], 36, bands=("r",))
    assert cut[0, 0, 18, 18] == 1e6


def test_fpacked_survey_gives_the_same_tile(survey: TinySurvey) -> None:
    ingest(survey.config)
    plain = open_tile(survey.config.locations.tiles, NAME)
    pixels, mask = plain.read_window(0, 200, 0, 240), plain.read_mask_window(0, 200, 0, 240)
    for path in [*survey.folder.glob("*_sci.fits"), *survey.folder.glob("*_msk.fits")]:
        data = fits.getdata(path)
        fits.CompImageHDU(
            data,
            fits.getheader(path),
            compression_type="GZIP_2" if data.dtype.kind == "f" else "RICE_1",
            quantize_level=0,
        ).writeto(path.with_name(path.name + ".fz"), checksum=True)
        path.unlink()
    assert ingest(survey.config).parts["images"].status == "done"
    packed = open_tile(survey.config.locations.tiles, NAME)
    np.testing.assert_array_equal(packed.read_window(0, 200, 0, 240), pixels)
    np.testing.assert_array_equal(packed.read_mask_window(0, 200, 0, 240), mask)
    assert packed.checksum != plain.checksum


def test_bands_of_different_sizes_are_aligned(survey: TinySurvey) -> None:
    data = survey.images[TILE, "r"]
    wcs = make_wcs(180.0, -0.5, SHAPE)
    write_image(survey.path(TILE, "r_sci"), data[7:, 3:-2], wcs[7:, 3:-2])
    survey.path(TILE, "r_msk").unlink()
    assert ingest(survey.config).problem == ""
    tile = open_tile(survey.config.locations.tiles, NAME)
    assert tile.shape == SHAPE
    pixels = tile.read_window(0, 200, 0, 240)
    np.testing.assert_array_equal(pixels[2, 7:, 3:-2], data[7:, 3:-2])
    assert np.isnan(pixels[2, :7]).all()
    assert np.isnan(pixels[2, :, -2:]).all()
    np.testing.assert_array_equal(pixels[3], survey.images[TILE, "i"])
    assert tile.attributes["offsets_pixel"]["r"] == [7, 3]


def test_first_band_may_be_the_smaller_one(survey: TinySurvey) -> None:
    data = survey.images[TILE, "u"]
    write_image(survey.path(TILE, "u_sci"), data[5:, 4:], make_wcs(180.0, -0.5, SHAPE)[5:, 4:])
    survey.path(TILE, "u_msk").unlink()
    ingest(survey.config)
    tile = open_tile(survey.config.locations.tiles, NAME)
    np.testing.assert_array_equal(tile.read_window(0, 200, 0, 240)[1], survey.images[TILE, "g"])
    ra, dec = make_wcs(180.0, -0.5, SHAPE).all_pix2world(50, 60, 0)
    np.testing.assert_allclose(np.ravel(tile.wcs.all_world2pix(ra, dec, 0)), [50, 60], atol=1e-6)


def test_weights_are_stored_when_asked_for(survey: TinySurvey, tmp_path: Path) -> None:
    for band in IMAGE_BANDS:
        write_image(survey.path(TILE, f"{band}_wei"), np.full(SHAPE, 2, np.float32), make_wcs(180.0, -0.5, SHAPE))
    config = make_config(tmp_path, tiles={"store_weights": True})
    assert ingest(config).problem == ""
    weight = zarr.open_group(f"{config.locations.tiles}/{NAME}.zarr", mode="r")["weight"]
    assert (weight[:] == 2).all()


@pytest.mark.parametrize("sign", [-1, 1])
def test_zero_point_offset_scales_the_flux(survey: TinySurvey, tmp_path: Path, sign: int) -> None:
    config = make_config(tmp_path, survey={"zeropoint_offset_sign": sign})
    assert ingest(config).problem == ""
    pixels = open_tile(config.locations.tiles, NAME).read_window(0, 200, 0, 240)
    magnitudes = -2.5 * np.log10(pixels[0] / survey.images[TILE, "u"])
    np.testing.assert_allclose(magnitudes, sign * 0.03, atol=1e-5)


# Restart -----------------------------------------------------------------------------------------------------------


def test_second_run_skips(survey: TinySurvey) -> None:
    ingest(survey.config)
    again = ingest(survey.config)
    assert (again.status, again.sum_counts("sources"), again.sum_counts("bytes_read")) == ("skipped", 30, 0)


@pytest.mark.parametrize(
    ("sections", "images", "catalogue"),
    [
        ({"tiles": {"shard": 64}}, "done", "skipped"),
        ({"selection": {"mag_auto_below": 19.0}}, "skipped", "done"),
        ({"survey": {"zeropoint_offset_sign": 1}}, "done", "skipped"),
        ({"engine": {"estimators": 7}}, "skipped", "skipped"),
        ({"ingest": {"min_completeness": 0.5}}, "skipped", "skipped"),
    ],
)
def test_other_settings_redo_what_depends_on_them(
    survey: TinySurvey, tmp_path: Path, sections: dict[str, Any], images: str, catalogue: str
) -> None:
    ingest(survey.config)
    again = ingest(make_config(tmp_path, **sections))
    assert (again.parts["images"].status, again.parts["catalogue"].status) == (images, catalogue)


def test_changed_image_is_ingested_again(survey: TinySurvey) -> None:
    ingest(survey.config)
    old = open_tile(survey.config.locations.tiles, NAME).checksum
    write_image(survey.path(TILE, "g_sci"), np.ones(SHAPE, np.float32), make_wcs(180.0, -0.5, SHAPE))
    again = ingest(survey.config)
    assert (again.parts["images"].status, again.parts["catalogue"].status) == ("done", "skipped")
    tile = open_tile(survey.config.locations.tiles, NAME)
    assert tile.checksum != old
    assert (tile.read_window(0, 200, 0, 240)[1] == 1).all()


def test_interrupted_tile_is_unreadable_and_redone(survey: TinySurvey, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    ingest(survey.config)
    write_image(survey.path(TILE, "g_sci"), np.ones(SHAPE, np.float32), make_wcs(180.0, -0.5, SHAPE))
    with monkeypatch.context() as patch:
        patch.setattr("photoz.tiles.TileWriter.finish", die)
        with pytest.raises(KeyboardInterrupt):
            ingest(survey.config)
    with pytest.raises(TileError, match="unfinished"):
        open_tile(survey.config.locations.tiles, NAME)
    assert ingest(survey.config).parts["images"].status == "done"
    assert open_tile(survey.config.locations.tiles, NAME).shape == SHAPE


# Bad files ---------------------------------------------------------------------------------------------------------


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-6000] ^= 1
    path.write_bytes(bytes(content))


def strip_wcs(path: Path) -> None:
    write_image(path, fits.getdata(path), None)


def rescale(path: Path) -> None:
    write_image(path, fits.getdata(path), make_wcs(180.0, -0.5, SHAPE, scale=0.214 / 3600))


def move(path: Path) -> None:
    write_image(path, fits.getdata(path), make_wcs(180.0, -0.4, SHAPE))


BAD_IMAGES: list[tuple[Callable[[Path], None], str]] = [
    (Path.unlink, r"g_sci\.fits is missing"),
    (truncate, r"g_sci\.fits is truncated"),
    (corrupt, r"g_sci\.fits is corrupt"),
    (strip_wcs, r"g_sci\.fits has no celestial WCS"),
    (rescale, r"g_sci\.fits has 0\.2140 arcsec/pixel and survey\.pixel_scale is 0\.2000 arcsec/pixel"),
    (move, r"g_sci\.fits does not lie on the pixels of .*u_sci\.fits"),
]


@pytest.mark.parametrize(("damage", "problem"), BAD_IMAGES, ids=[d.__name__ for d, _ in BAD_IMAGES])
@pytest.mark.parametrize("before", [False, True], ids=["fresh", "was-there"])
def test_bad_image_costs_the_tile_and_not_its_sources(
    survey: TinySurvey, damage: Callable[[Path], None], problem: str, before: bool
) -> None:
    if before:
        ingest(survey.config)
    damage(survey.path(TILE, "g_sci"))
    result = ingest(survey.config)
    assert (result.status, result.parts["images"].status, result.sum_counts("sources")) == ("failed", "failed", 30)
    assert re.search(problem, result.problem)
    assert count_staged(survey.config) == 30
    with pytest.raises(TileError):
        open_tile(survey.config.locations.tiles, NAME)


def test_mask_of_another_shape_is_refused(survey: TinySurvey) -> None:
    write_image(survey.path(TILE, "r_msk"), np.zeros((10, 10), np.uint8), make_wcs(180.0, -0.5, (10, 10)))
    assert "r_msk.fits has 10 x 10 pixels" in ingest(survey.config).problem


def test_missing_mask_costs_the_mask_only(survey: TinySurvey) -> None:
    for band in IMAGE_BANDS:
        survey.path(TILE, f"{band}_msk").unlink()
    assert ingest(survey.config).status == "done"
    tile = open_tile(survey.config.locations.tiles, NAME)
    assert not tile.read_mask_window(0, 200, 0, 240).any()
    assert f"KiDS_DR4.0_{TILE}_u_msk.fits" in tile.attributes["missing_files"]


@pytest.mark.parametrize("damage", [Path.unlink, truncate, corrupt])
@pytest.mark.parametrize("before", [False, True], ids=["fresh", "was-there"])
def test_bad_catalogue_costs_the_sources_and_not_the_tile(
    survey: TinySurvey, damage: Callable[[Path], None], before: bool
) -> None:
    if before:
        ingest(survey.config)
    damage(survey.path(TILE, "ugriZYJHKs_cat"))
    result = ingest(survey.config)
    assert (result.status, result.parts["catalogue"].status, result.sum_counts("sources")) == ("failed", "failed", 0)
    assert f"{TILE}_ugriZYJHKs_cat.fits" in result.problem
    assert not Path(staged_location(survey.config.locations.sources, NAME)).exists()
    assert open_tile(survey.config.locations.tiles, NAME).shape == SHAPE


def test_bright_sample_selects(survey: TinySurvey, tmp_path: Path) -> None:
    survey.catalogues[TILE][:3].write(survey.folder / "bright.fits")
    config = make_config(tmp_path, selection={"bright_sample": "bright.fits"})
    assert ingest(config).sum_counts("sources") == 3
    assert ingest(config).parts["catalogue"].status == "skipped"


def test_rows_staged_in_another_format_are_staged_again(survey: TinySurvey) -> None:
    ingest(survey.config)
    location = staged_location(survey.config.locations.sources, NAME)
    table = pq.read_table(location)
    record = json.loads(table.schema.metadata[METADATA_KEY])
    del record["key"]["format"]
    pq.write_table(table.drop_columns(["flux_u"]).replace_schema_metadata({METADATA_KEY: json.dumps(record)}), location)
    assert ingest(survey.config).parts["catalogue"].status == "done"
    assert "flux_u" in pq.read_schema(location).names


def test_values_that_are_no_measurement_are_told_by_band(survey: TinySurvey, caplog: pytest.LogCaptureFixture) -> None:
    table = survey.catalogues[TILE]
    table["MAG_GAAP_g"][4:6], table["MAGERR_GAAP_r"][7] = -3.4e38, 0.0
    write_catalogue(survey.path(TILE, "ugriZYJHKs_cat"), table)
    ingest(survey.config)
    (said,) = (record.getMessage() for record in caplog.records if "no measurement" in record.getMessage())
    assert said == f"{NAME}: values that are no measurement, taken for missing, sources by band: g 2, r 1"


# Rows without a position, and the run's completeness -----------------------------------------------------------------


def test_rows_without_a_position_are_told_and_counted(
    survey: TinySurvey, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    table = survey.catalogues[TILE]
    table["DECJ2000"][4] = -999.0
    table["RAJ2000"][9] = np.nan
    write_catalogue(survey.path(TILE, "ugriZYJHKs_cat"), table)
    result = ingest(survey.config)
    assert (result.status, result.sum_counts("sources"), result.sum_counts("rejected")) == ("done", 28, 2)
    (said,) = (record.getMessage() for record in caplog.records if "no position" in record.getMessage())
    assert said.startswith(f"{NAME}: 2 selected rows have no position")
    assert f"the first {table['ID'][4]} with {table['RAJ2000'][4]} deg, -999.0 deg" in said
    again = ingest(survey.config)
    assert (again.status, again.sum_counts("sources"), again.sum_counts("rejected")) == ("skipped", 28, 2)
    other = replace(again, tile="KIDS_other")
    assert report(survey.config, [again, other]) == 0
    assert read_report(survey.config)["rejected"] == 4
    staged = pq.read_table(staged_location(survey.config.locations.sources, NAME))
    assert not {str(table["ID"][row]) for row in (4, 9)} & set(staged["object_id"].to_pylist())


def test_rows_staged_before_positions_were_checked_are_staged_again(survey: TinySurvey) -> None:
    ingest(survey.config)
    location = staged_location(survey.config.locations.sources, NAME)
    table = pq.read_table(location)
    record = json.loads(table.schema.metadata[METADATA_KEY])
    assert record.pop("rejected") == 0
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(record)}), location)
    assert ingest(survey.config).parts["catalogue"].status == "done"
    assert ingest(survey.config).parts["catalogue"].status == "skipped"


def test_a_header_or_column_that_is_no_number_costs_the_sources_alone(survey: TinySurvey) -> None:
    path = survey.path(TILE, "ugriZYJHKs_cat")
    table = survey.catalogues[TILE]
    write_catalogue(path, table, {"R": "n/a"})  # type: ignore[dict-item]
    result = ingest(survey.config)
    assert (result.parts["catalogue"].status, result.parts["images"].status) == ("failed", "done")
    assert f"{TILE}_ugriZYJHKs_cat.fits: its header has DMAG_R = 'n/a'" in result.problem
    table["MAG_AUTO"] = ["bright"] * len(table)
    write_catalogue(path, table)
    result = ingest(survey.config)
    assert (result.parts["catalogue"].status, result.parts["images"].status) == ("failed", "skipped")
    assert "column MAG_AUTO (survey.columns.mag_auto) holds <U6" in result.problem


@pytest.mark.parametrize(("ending", "part"), [("_cat.fits", "catalogue"), ("g_sci.fits", "images")])
def test_a_store_that_does_not_answer_is_no_bad_file(
    survey: TinySurvey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, part: str
) -> None:
    fsspec.filesystem("memory").put(str(survey.folder), f"/{tmp_path.name}/survey", recursive=True)
    places = {name: f"memory://{tmp_path.name}/{name}" for name in ("survey", "tiles", "sources")}
    config = make_config(tmp_path, locations=places)
    assert ingest(config).status == "done"
    really_open = MemoryFileSystem._open

    def open_unless_busy(self: MemoryFileSystem, path: str, *args: Any, **options: Any) -> Any:
        if path.endswith(ending):
            raise OSError(errno.EBUSY, "Service Unavailable")
        return really_open(self, path, *args, **options)

    other = change(config, selection__mag_auto_below=19.0, survey__zeropoint=1.0)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "_open", open_unless_busy)
        with pytest.raises(OSError, match="Service Unavailable"):
            ingest(other)
        (tile,) = find_survey(other)
        result = ingest_tile(other, tile, give_up=True)
    assert (result.status, result.parts[part].status) == ("failed", "failed")
    assert f"{part}: OSError: [Errno 16] Service Unavailable" in result.problem
    assert ingest(config).parts[part].status == "skipped"  # what had been made of that part still stands


def test_ingest_between_object_stores(survey: TinySurvey, tmp_path: Path) -> None:
    root = f"memory://{tmp_path.name}"
    fsspec.filesystem("memory").put(str(survey.folder), f"/{tmp_path.name}/survey", recursive=True)
    places = {name: f"{root}/{name}" for name in ("survey", "tiles", "sources")}
    config = make_config(tmp_path, locations=places)
    assert ingest(config).problem == ""
    assert ingest(config).status == "skipped"
    tile = open_tile(config.locations.tiles, NAME)
    np.testing.assert_array_equal(tile.read_window(0, 200, 0, 240)[0], survey.images[TILE, "u"])
    with fsspec.open(staged_location(config.locations.sources, NAME), "rb") as file:
        assert pq.read_table(file).num_rows == 30
