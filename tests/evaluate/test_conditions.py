"""Seeing, depth and extinction of tiles, from what their headers say and do not say."""

import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from photoz.errors import ConfigError
from photoz.evaluate.conditions import collect_conditions, compute_depth
from photoz.evaluate.seeing import read_seeing
from photoz.evaluate.settings import Evaluation
from photoz.survey.settings import Survey

SURVEY = Survey(bands=("g", "r"), image_bands=("g", "r"), pixel_scale=0.2, zeropoint=25.0, mag_auto_band="r")


def make_tile(**headers: dict[str, object]) -> dict[str, object]:
    return {"headers": {band: fits.Header(values).tostring(sep="\n") for band, values in headers.items()}}


def test_conditions_are_by_band_and_nan_where_a_tile_does_not_say() -> None:
    tiles = [make_tile(g={"SEEING": 0.9}, r={"SEEING": 0.7, "SKYNOISE": 0.1}), make_tile(r={"SEEING": 0.6}), {}]
    found = collect_conditions(tiles, np.array([0.05, np.nan, np.nan]), SURVEY, Evaluation())
    assert list(found.values) == [
        "seeing in g [arcsec]",
        "seeing in r [arcsec]",
        "5-sigma depth in r [mag]",
        "extinction in r [mag]",
    ]
    np.testing.assert_allclose(found.values["seeing in r [arcsec]"], [0.7, 0.6, np.nan])
    assert found.absent == []


def test_depth_is_by_the_zero_point_of_the_files_whatever_the_store_holds() -> None:
    tile = make_tile(r={"SKYNOISE": 0.1})
    in_njy = {"zero_points": {"r": 31.4}, "file_zero_points": {"r": 27.0}}
    told = [tile, {**tile, "zero_points": {"r": 26.0}}, {**tile, **in_njy}]
    depth = collect_conditions(told, np.full(3, np.nan), SURVEY, Evaluation()).values["5-sigma depth in r [mag]"]
    np.testing.assert_allclose(depth - depth[0], [0, 1, 2])


def test_what_no_tile_says_is_told_in_words() -> None:
    found = collect_conditions(
        [{}, make_tile(r={"SEEING": "good"})], np.full(2, np.nan), SURVEY, Evaluation(noise_key="")
    )
    assert not found.values
    assert found.absent == [
        "no image header has SEEING (seeing)",
        "no image header has a keyword (5-sigma depth)",
        "ingest recorded no extinction",
    ]


def test_seeing_is_that_of_the_table_then_of_the_header_then_of_the_setting(tmp_path: Path) -> None:
    (tmp_path / "psf.csv").write_text("field,psf_r\n1,0.65\n2,\n4,0.8\n")
    settings = Evaluation(
        seeing_table=str(tmp_path / "psf.csv"),
        seeing_tile="field",
        seeing_column="psf_{band}",
        seeing={"r": 0.9, "g": 1.1},
    )
    table = read_seeing(["1", "2", "3"], ("g", "r"), settings)
    np.testing.assert_array_equal(table["r"], [0.65, np.nan, np.nan])
    tiles = [make_tile(r={"SEEING": 0.7}), make_tile(r={"SEEING": 0.75}), {}]
    values = collect_conditions(tiles, np.full(3, np.nan), SURVEY, settings, table=table).values
    np.testing.assert_array_equal(values["seeing in r [arcsec]"], [0.65, 0.75, 0.9])
    np.testing.assert_array_equal(values["seeing in g [arcsec]"], [1.1, 1.1, 1.1])


def test_a_table_without_a_seeing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "psf.csv").write_text("tile,seeing_r\n1,good\n")
    settings = Evaluation(seeing_table=str(tmp_path / "psf.csv"))
    with pytest.raises(ConfigError, match=r"none of the columns \['seeing_g'\]"):
        read_seeing(["1"], ("g",), settings)
    with pytest.raises(ConfigError, match="column seeing_r holds string"):
        read_seeing(["1"], ("r",), settings)


def test_a_truth_value_is_no_seeing() -> None:
    found = collect_conditions([make_tile(r={"SEEING": True})], np.array([0.1]), SURVEY, Evaluation())
    assert "seeing in r [arcsec]" not in found.values


def test_depth_falls_by_the_noise_and_grows_with_larger_pixels() -> None:
    depth = compute_depth(np.array([0.1, 0.2, np.nan]), pixel_scale=0.2, zeropoint=25.0)
    assert depth[0] - depth[1] == pytest.approx(2.5 * math.log10(2))
    assert math.isnan(depth[2])
    # Twice the side, a quarter of the pixels in the aperture: half the noise there.
    wide = compute_depth(np.array([0.1]), pixel_scale=0.4, zeropoint=25.0)
    assert wide[0] - depth[0] == pytest.approx(2.5 * math.log10(2))
