"""The simulated survey as a whole: names, headers, columns, reproducibility."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from simulated import BANDS, make_config, make_recipe, plan, read_catalogue, write_survey

from photoz.errors import ConfigError
from photoz.settings.config import Config
from photoz.simulate.render import compute_sky_noise
from photoz.simulate.sky import draw_offsets, make_sources


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return make_config(tmp_path_factory.mktemp("simulated"))


@pytest.fixture(scope="module")
def folder(config: Config) -> Path:
    return write_survey(config)


def test_files_have_the_releases_names(folder: Path) -> None:
    expected = {"KiDS_DR4_brightsample.fits", "gkvScienceCatv02.fits"}
    for tile in ("180.0_-0.5", "180.1_-0.5"):
        expected.add(f"KiDS_DR4.0_{tile}_ugriZYJHKs_cat.fits")
        expected |= {f"KiDS_DR4.0_{tile}_{b}_{kind}.fits" for b in "ugri" for kind in ("sci", "wei", "msk")}
    assert {path.name for path in folder.iterdir()} == expected


def test_images_say_what_they_are_and_carry_valid_checksums(folder: Path) -> None:
    for kind, bitpix in (("sci", -32), ("wei", -32), ("msk", 8)):
        with fits.open(folder / f"KiDS_DR4.0_180.1_-0.5_r_{kind}.fits", checksum=True) as hdus:
            header = hdus[0].header
            assert hdus[0].verify_checksum() == hdus[0].verify_datasum() == 1
        assert header["BITPIX"] == bitpix
        assert header["SIMULATE"] is True
        assert header["OBJECT"] == "KIDS_180.1_-0.5"
        assert header["PHOTZP"] == 0.0
        assert header["SEEING"] == pytest.approx(0.7, rel=0.15)
        assert (header["CTYPE1"], header["CTYPE2"]) == ("RA---TAN", "DEC--TAN")
        assert header["CD2_2"] * 3600 == pytest.approx(0.2)


def test_catalogue_has_the_releases_columns(folder: Path) -> None:
    with fits.open(folder / "KiDS_DR4.0_180.0_-0.5_ugriZYJHKs_cat.fits") as hdus:
        names = set(hdus[1].columns.names)
        assert {f"DMAG_{band}" for band in "UGRI"} <= set(hdus[0].header)
    per_band = {
        f"{kind}_{b}" for b in BANDS for kind in ("FLUX_GAAP", "MAG_GAAP", "MAGERR_GAAP", "MAG_LIM", "EXTINCTION")
    }
    single = "ID KIDS_TILE RAJ2000 DECJ2000 ALPHA_J2000 DELTA_J2000 Xpos Ypos MAG_AUTO MAGERR_AUTO FLUX_RADIUS"
    single += " FWHM_IMAGE CLASS_STAR SG2DPHOT SG_FLAG IMAFLAGS_ISO MASK"
    assert names == per_band | set(single.split())
    table = read_catalogue(folder)
    assert len(set(table["ID"])) == len(table)
    assert all(len(name) == 29 and name.startswith("KiDSDR4 J") for name in table["ID"])
    assert set(table["KIDS_TILE"]) == {"KIDS_180.0_-0.5"}


def test_positions_agree_with_the_images_projection(folder: Path) -> None:
    table = read_catalogue(folder)
    wcs = WCS(fits.getheader(folder / "KiDS_DR4.0_180.0_-0.5_r_sci.fits"))
    x, y = wcs.all_world2pix(table["RAJ2000"], table["DECJ2000"], 1)
    # 0.02 arcsec of astrometric noise is a tenth of a pixel
    assert np.abs(x - table["Xpos"]).max() < 0.5
    assert np.abs(y - table["Ypos"]).max() < 0.5
    assert np.median(np.hypot(x - table["Xpos"], y - table["Ypos"])) < 0.2


def test_a_seed_gives_the_same_bytes_in_any_order(config: Config, folder: Path, tmp_path: Path) -> None:
    again = write_survey(make_config(tmp_path), backwards=True)
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_another_seed_gives_another_sky(folder: Path, tmp_path: Path) -> None:
    config = make_config(tmp_path, seed=2)
    assert not np.isin(make_sources(make_recipe(config), (180.0, -0.5)).ra, read_catalogue(folder)["RAJ2000"]).any()


def test_noise_is_that_of_the_depth(config: Config, folder: Path) -> None:
    for band in "ugri":
        image = fits.getdata(folder / f"KiDS_DR4.0_180.0_-0.5_{band}_sci.fits")
        weight, header = fits.getdata(folder / f"KiDS_DR4.0_180.0_-0.5_{band}_wei.fits", header=True)
        sigma = compute_sky_noise(config.simulation.depth[band], 0.2)
        # Pixel differences cancel the light of sources but for their own photon noise.
        measured = 1.4826 * np.median(np.abs(np.diff(image.astype(np.float64), axis=1))) / np.sqrt(2)
        assert measured == pytest.approx(sigma, rel=0.15)
        assert weight == pytest.approx(1 / header["SKYNOISE"] ** 2, rel=1e-5)


def test_the_homogenisation_offsets_lack_in_images_and_in_mag_auto(config: Config, folder: Path) -> None:
    recipe = make_recipe(config)
    bright = fits.getdata(folder / "KiDS_DR4_brightsample.fits", 1)
    calibrated = dict(zip(bright["ID"], bright["MAG_AUTO_CALIB"], strict=True))
    for centre in ((180.0, -0.5), (180.1, -0.5)):
        tile = f"{centre[0]:.1f}_-0.5"
        offsets = draw_offsets(recipe, centre)
        header, table = fits.getheader(folder / f"KiDS_DR4.0_{tile}_ugriZYJHKs_cat.fits"), read_catalogue(folder, tile)
        assert {band: header[f"DMAG_{band.upper()}"] for band in "ugri"} == offsets
        assert all(0.0 < abs(offset) < 0.15 for offset in offsets.values())
        own = [row for row in table if row["ID"] in calibrated]
        # Bilicki et al. 2021: MAG_AUTO + DMAG_R - EXTINCTION_r.
        expected = [row["MAG_AUTO"] + offsets["r"] - row["EXTINCTION_r"] for row in own]
        assert [calibrated[row["ID"]] for row in own] == pytest.approx(expected, abs=1e-5)
        noise = compute_sky_noise(config.simulation.depth["r"], 0.2)
        image = fits.getheader(folder / f"KiDS_DR4.0_{tile}_r_sci.fits")
        assert image["SKYNOISE"] == pytest.approx(noise * 10 ** (0.4 * offsets["r"]))


def test_bright_sample_and_spectra(config: Config, folder: Path) -> None:
    bright = fits.getdata(folder / "KiDS_DR4_brightsample.fits", 1)
    names = ["ID", "RAJ2000", "DECJ2000", "MAG_AUTO_CALIB", "MAGERR_AUTO", "zphot_ANNz2", "MASK", "masked"]
    assert bright.names == names
    assert (bright["MAG_AUTO_CALIB"] < 20).all()
    assert ((bright["MASK"] & 28668 > 0) == bright["masked"].astype(bool)).all()
    assert np.isnan(bright["zphot_ANNz2"]).all()
    spectra = fits.getdata(folder / "gkvScienceCatv02.fits", 1)
    columns = ["uberID", "RAcen", "Deccen", "mag", "R50", "Z", "NQ", "SC", "starmask", "duplicate", "uberclass"]
    assert spectra.names == columns
    assert len(set(spectra["uberID"])) == len(spectra)
    assert set(spectra["NQ"]) <= {1, 2, 3, 4}


def test_the_job_writes_the_same_survey(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = str(Path(__file__).parents[2] / "jobs" / "simulate_survey.py")
    small = "pixels=300 galaxies_per_tile=25 faint_per_tile=10 stars_per_tile=8 centres=[[180.0,-0.5],[180.1,-0.5]]"
    values = [f"simulation.{setting}" for setting in small.split()]
    values += ["engine.name=serial", f"locations.survey={tmp_path / 'survey'}"]
    options = [part for value in values for part in ("--set", value)]
    monkeypatch.setattr(sys, "argv", [script, *options])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    assert ended.value.code == 0
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (tmp_path / "survey" / path.name).read_bytes(), path.name


def test_centres_that_share_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"180\.0_-0\.5"):
        plan(make_config(tmp_path, centres=[[180.0, -0.5], [180.01, -0.5]]))


def test_a_band_without_a_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="depth"):
        plan(make_config(tmp_path, depth={"u": 24.0}))


@pytest.mark.parametrize(
    ("survey", "told"),
    [
        ({"bands": [*BANDS, "W1"]}, r"survey\.bands has \['W1'\], which cannot be simulated: take some of \['u', 'g'"),
        ({"bands": ["u", "g", "i"], "image_bands": ["g"]}, r"survey\.bands = \['u', 'g', 'i'\] lacks r"),
    ],
)
def test_bands_that_cannot_be_simulated_are_refused_before_a_tile_is_begun(
    tmp_path: Path, survey: dict[str, list[str]], told: str
) -> None:
    """Whatever depth, seeing and response are given: sky brightness and exposure are no settings."""
    given = dict.fromkeys([*BANDS, "W1"], 24.0)
    with pytest.raises(ConfigError, match=told):
        plan(make_config(tmp_path, survey=survey, depth=given, seeing=given))


def test_the_seeing_of_r_is_asked_for_whatever_has_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"simulation\.seeing lacks the bands \['r'\]"):
        plan(make_config(tmp_path, survey={"image_bands": ["g"]}, seeing={"g": 0.9}))
