"""Images in nine bands, VISTA's on pixels of their own, from the simulator to an audited catalogue and its figures."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from conftest import save_untrained
from runs import change, read_all
from simulated import make_config, write_survey
from training_settings import nest

from cluster.audit import audit_catalogue
from cluster.inference.run import infer_catalogue
from cluster.ingest import ingest_survey
from cluster.training.networks import train_estimator
from cluster.training.set import build_training_set
from photoz.estimators import load_estimator
from photoz.evaluate.conditions import read_conditions
from photoz.schema import Flag
from photoz.settings import config_to_dict
from photoz.settings.config import Config, convert_config
from photoz.tiles import list_tiles, open_tile
from photoz.training.set import read_split

BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
VISTA, SCALE = BANDS[4:], 0.339
FIRST, LAST = ("KIDS_180.0_-0.5", "KIDS_180.1_-0.5")
"""Tiles; the latter lies beyond the footprint of Ks, and has no file of it."""


def make_nine(folder: Path) -> Config:
    """Make settings of a survey of two small tiles."""
    survey = {"image_bands": BANDS, "pixel_scales": dict.fromkeys(VISTA, SCALE), "optional_bands": VISTA}
    # The strip without Z (first tile) and Y (second) is a fifth of them, so that some sources lie in it.
    made = make_config(folder, survey=survey, galaxies_per_tile=60, missing_band_fraction=0.2)
    training = nest(batch_size=8, max_epochs=1, workers=1, shuffle_rows=32, members=2)
    extra = {"engine": {"name": "serial"}, "training": training, "tiles": {"chunk": 32, "shard": 128}}
    return convert_config({**config_to_dict(made), **extra})


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The survey, ingested."""
    config = make_nine(tmp_path_factory.mktemp("nine"))
    folder = write_survey(config)
    (folder / "KiDS_DR4.0_180.1_-0.5_Ks_sci.fits").unlink()
    assert ingest_survey(config) == 0
    return config


def test_vistas_images_have_their_own_pixels_and_footprint(survey: Config) -> None:
    own, other = (
        fits.open(f"{survey.locations.survey}/KiDS_DR4.0_180.0_-0.5_{band}_sci.fits")[0] for band in ("r", "Z")
    )
    assert own.shape == (300, 300)
    assert other.shape == (177, 177)
    assert other.header["CD2_2"] == pytest.approx(SCALE / 3600)
    assert (other.header["TELESCOP"], other.header["INSTRUME"]) == ("VISTA", "VIRCAM")
    assert np.isnan(other.data).any(axis=0).mean() == pytest.approx(0.2, abs=0.01)
    assert np.isfinite(own.data).all()


def test_the_store_holds_all_bands_on_the_pixels_of_the_first(survey: Config) -> None:
    assert list_tiles(survey.locations.tiles) == [FIRST, LAST]
    first, last = (open_tile(survey.locations.tiles, name) for name in (FIRST, LAST))
    for tile in (first, last):
        assert (tile.bands, tile.shape) == (BANDS, (300, 300))
    pixels = first.read_window(0, 300, 0, 300)
    lacking = np.isnan(pixels).mean(axis=(1, 2))
    assert lacking[4] == pytest.approx(0.2, abs=0.02)
    assert (lacking[[0, 1, 2, 3, 5, 6, 7, 8]] == 0).all()
    assert np.isnan(last.read_window(0, 300, 0, 300)[8]).all()
    assert last.attributes["cover"] == dict.fromkeys(VISTA, 1.0) | {"Ks": 0.0}


def test_a_galaxy_is_as_bright_in_resampled_pixels_as_in_the_catalogue(survey: Config) -> None:
    sources = read_all(survey.locations.sources).filter(pa.compute.field("tile") == FIRST)
    tile = open_tile(survey.locations.tiles, FIRST)
    pixels = np.nan_to_num(tile.read_window(0, 300, 0, 300))
    x_N, y_N = tile.wcs.all_world2pix(sources["ra"], sources["dec"], 0)
    y, x = np.mgrid[:300, :300]
    ratios = []
    for band in ("r", "Y", "J", "H", "Ks"):
        image, expected = pixels[BANDS.index(band)], sources[f"flux_{band}"].to_numpy()
        found = np.array([image[np.hypot(x - a, y - b) < 7].sum() for a, b in zip(x_N, y_N, strict=True)])
        # A circle of 1.4 arcsec for GAaP's aperture: not the same, but alike in all bands.
        # 0 is what was not detected.
        ratios.append(np.median((found * 3.631e12)[expected > 0] / expected[expected > 0]))
    assert np.array(ratios[1:]) / ratios[0] == pytest.approx(1.0, abs=0.15)


def test_galaxies_beyond_a_band_are_learnt_from_and_estimated(survey: Config) -> None:
    summary = build_training_set(survey)
    assert summary.rows > 40
    parts = [table for split in ("train", "test") for table in read_split(survey.locations.training, split, ["cutout"])]
    cutouts = np.concatenate([table["cutout"].combine_chunks().to_numpy_ndarray() for table in parts if len(table)])
    seen_NB = np.isfinite(cutouts).any(axis=(2, 3))
    assert cutouts.shape[1:] == (9, 36, 36)
    assert seen_NB[:, :4].all()
    assert 0.3 < (~seen_NB[:, 8]).mean() < 0.7
    save_untrained(survey, "hybrid")
    infer_catalogue(survey)
    rows = read_all(survey.locations.catalogue)
    flags = rows["flags"].to_numpy()
    assert np.isfinite(rows["z_phot"].to_numpy()).all()
    beyond = np.array(rows["tile"].to_pylist()) == LAST
    assert ((flags[beyond] & Flag.EMPTY_CUTOUT) != 0).all()
    assert not (flags & (Flag.OFF_IMAGE | Flag.TILE_UNREADABLE | Flag.ESTIMATE_FAILED)).any()
    assert audit_catalogue(survey).clean


def test_the_report_tells_seeing_and_depth_of_every_band(survey: Config) -> None:
    found = read_conditions([FIRST, LAST], survey.locations, survey.survey, survey.evaluation).values
    for band in BANDS:
        assert found[f"seeing in {band} [arcsec]"][0] == pytest.approx(survey.simulation.seeing[band], rel=0.13)
        # By the pixels that the file has, whatever the store's are; but for the homogenisation offset.
        assert found[f"5-sigma depth in {band} [mag]"][0] == pytest.approx(survey.simulation.depth[band], abs=0.1)
    assert np.isnan(found["seeing in Ks [arcsec]"][1])


@pytest.mark.slow
def test_the_network_of_nine_bands_is_trained(survey: Config, tmp_path: Path, ray_cluster: None) -> None:
    build_training_set(survey)
    train_estimator(change(survey, locations__models=str(tmp_path)))
    estimator = load_estimator(str(tmp_path / "hybrid"))
    assert estimator.image_bands == BANDS
    assert estimator.layout.unimaged == VISTA


def test_the_survey_without_their_images_is_the_same_sky(tmp_path: Path, survey: Config) -> None:
    folders = (
        write_survey(make_config(tmp_path, galaxies_per_tile=60, missing_band_fraction=0.2)),
        survey.locations.survey,
    )
    for band in ("u", "r"):
        name = f"KiDS_DR4.0_180.0_-0.5_{band}_sci.fits"
        alone, beside = (fits.getdata(Path(folder) / name) for folder in folders)
        np.testing.assert_array_equal(alone, beside)
    alone, beside = (fits.getdata(Path(each) / "KiDS_DR4.0_180.0_-0.5_ugriZYJHKs_cat.fits") for each in folders)
    np.testing.assert_array_equal(alone["FLUX_GAAP_r"], beside["FLUX_GAAP_r"])
    # Measured on the pixels now, and drawn without: other noise of the same sky.
    bright = alone["MAG_GAAP_J"] < 20
    assert np.median(beside["FLUX_GAAP_J"][bright] / alone["FLUX_GAAP_J"][bright]) == pytest.approx(1, abs=0.05)
