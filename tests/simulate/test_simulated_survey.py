"""The files of a simulated survey: names, headers, columns, pixels, reproducibility."""

import runpy
import sys
from pathlib import Path

import galsim
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from photoz.errors import ConfigError
from photoz.settings.config import Config, convert_config
from photoz.simulate.catalogue import find_unobserved, format_id
from photoz.simulate.render import Psf, compute_halo_radius, compute_sky_noise, draw_sources, make_psf, make_view
from photoz.simulate.sky import compute_extinction, find_owner, make_sources, make_wcs
from photoz.simulate.survey import TilePlan, make_recipe, plan_survey, simulate_tile, write_survey_tables

CENTRES = [[180.0, -0.5], [180.1, -0.5]]
BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")


def make_config(folder: Path, *, seed: int = 1, survey: dict | None = None, **simulation) -> Config:
    small = {"centres": CENTRES, "pixels": 300, "galaxies_per_tile": 25, "faint_per_tile": 10, "stars_per_tile": 8}
    names = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
    return convert_config(
        {
            "run": {"name": "simulated", "seed": seed},
            "locations": {name: str(folder / name) for name in names},
            "survey": survey or {},
            "simulation": small | simulation,
        }
    )


def plan(config: Config) -> list[TilePlan]:
    return plan_survey(config.simulation, config.survey)


def write_survey(config: Config, *, backwards: bool = False) -> Path:
    plans = plan(config)
    for tile in reversed(plans) if backwards else plans:
        simulate_tile(config, tile)
    write_survey_tables(config, plans)
    return Path(config.locations.survey)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return make_config(tmp_path_factory.mktemp("simulated"))


@pytest.fixture(scope="module")
def folder(config: Config) -> Path:
    return write_survey(config)


def read_catalogue(folder: Path, tile: str = "180.0_-0.5") -> fits.FITS_rec:
    return fits.getdata(folder / f"KiDS_DR4.0_{tile}_ugriZYJHKs_cat.fits", 1)


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
    per_band = {f"{kind}_{b}" for b in BANDS for kind in ("FLUX_GAAP", "MAG_GAAP", "MAGERR_GAAP", "EXTINCTION")}
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


def test_images_hold_the_flux_the_catalogue_says(tmp_path: Path) -> None:
    config = make_config(tmp_path, pixels=1200, galaxies_per_tile=40, faint_per_tile=0, stars_per_tile=6)
    simulate_tile(config, plan(config)[0])
    folder = Path(config.locations.survey)
    table = read_catalogue(folder)
    image = fits.getdata(folder / "KiDS_DR4.0_180.0_-0.5_r_sci.fits").astype(np.float64)
    y, x = np.mgrid[1:1201, 1:1201]
    difference = []
    for row in table:
        distance = np.sort(np.hypot(table["Xpos"] - row["Xpos"], table["Ypos"] - row["Ypos"]))[1]
        edge = min(row["Xpos"], row["Ypos"], 1200 - row["Xpos"], 1200 - row["Ypos"])
        if distance < 70 or edge < 50 or row["MASK"] or row["FLUX_RADIUS"] > 6:
            continue  # the aperture must hold all of the source and nothing else
        flux = image[np.hypot(x - row["Xpos"], y - row["Ypos"]) < 40].sum()
        difference.append(-2.5 * np.log10(flux) - row["MAG_AUTO"])
    assert len(difference) >= 8
    assert np.median(difference) == pytest.approx(0.0, abs=0.04)
    assert np.mean(np.abs(difference) < 0.1) > 0.7  # the rest has a large neighbour's outskirts in the aperture


def test_no_light_is_lost_in_drawing(tmp_path: Path) -> None:
    config = make_config(tmp_path, pixels=1024, galaxies_per_tile=400, stars_per_tile=0, faint_per_tile=0)
    sources = make_sources(make_recipe(config), (180.0, -0.5))
    x, y = make_wcs((180.0, -0.5), 1024, 0.2).all_world2pix(sources.ra, sources.dec, 1)
    central = np.flatnonzero(np.maximum(np.abs(x - 512), np.abs(y - 512)) < 200)
    assert len(central) > 20
    view = make_view(make_recipe(config), (180.0, -0.5), "r")
    psf = make_psf(Psf(0.7, (0.0, 0.0)))
    for number in central[:20]:
        one = sources.select(np.arange(len(sources)) == number)
        image = galsim.ImageF(1024, 1024, init_value=0.0)
        draw_sources(image, view, one, psf)
        dimmed = one.magnitude[0, 2] + compute_extinction(one.ra, one.dec, ("r",))[0, 0]
        assert -2.5 * np.log10(image.array.sum(dtype=np.float64)) == pytest.approx(dimmed, abs=0.03)


def test_noise_is_that_of_the_depth(config: Config, folder: Path) -> None:
    for band in "ugri":
        image = fits.getdata(folder / f"KiDS_DR4.0_180.0_-0.5_{band}_sci.fits")
        weight = fits.getdata(folder / f"KiDS_DR4.0_180.0_-0.5_{band}_wei.fits")
        sigma = compute_sky_noise(config.simulation.depth[band], 0.2)
        # Pixel differences cancel the light of sources but for their own photon noise.
        measured = 1.4826 * np.median(np.abs(np.diff(image.astype(np.float64), axis=1))) / np.sqrt(2)
        assert measured == pytest.approx(sigma, rel=0.15)
        assert weight == pytest.approx(1 / sigma**2, rel=1e-5)


def test_sentinels_are_distinct_and_stand_in_both_columns(tmp_path: Path) -> None:
    config = make_config(tmp_path, faint_per_tile=150, missing_band_fraction=0.2, failed_fraction=0.02)
    simulate_tile(config, plan(config)[0])
    table = read_catalogue(Path(config.locations.survey))
    magnitude = np.stack([table[f"MAG_GAAP_{band}"] for band in BANDS], axis=1)
    error = np.stack([table[f"MAGERR_GAAP_{band}"] for band in BANDS], axis=1)
    for sentinel in (99.0, -99.0):
        assert ((magnitude == sentinel) == (error == sentinel)).all()
        assert (magnitude == sentinel).any()
    missing = find_unobserved(make_recipe(config), (180.0, -0.5), table["Xpos"].astype(np.float64))
    assert ((magnitude == -99) == missing).all()
    assert missing.any(0).sum() == 1
    measured = np.abs(magnitude) < 90
    assert ((magnitude[measured] > 10) & (magnitude[measured] < 30)).all()
    assert (error[measured] >= config.simulation.photometry_floor * 0.5).all()


def test_haloes_cover_the_bright_stars(tmp_path: Path) -> None:
    config = make_config(tmp_path, pixels=400, stars_per_tile=60)
    simulate_tile(config, plan(config)[0])
    folder = Path(config.locations.survey)
    sources = make_sources(make_recipe(config), (180.0, -0.5))
    table = read_catalogue(folder)
    mask = fits.getdata(folder / "KiDS_DR4.0_180.0_-0.5_r_msk.fits")
    bright = sources.star & (sources.magnitude[:, 2] < 14.5)
    assert bright.any()
    assert (table["MASK"][bright] & 28668 > 0).all()
    x, y = np.round(table["Xpos"][bright]).astype(int) - 1, np.round(table["Ypos"][bright]).astype(int) - 1
    assert (mask[y.clip(0, 399), x.clip(0, 399)] == 3).all()
    assert 0 < (mask > 0).mean() < 1
    assert (np.diff(compute_halo_radius(np.array([14.0, 12.0, 10.0]))) > 0).all()


def test_catalogues_are_excised_where_images_overlap(tmp_path: Path) -> None:
    # Coarse pixels make small images overlap: 300 of 1.25 arcsec span 0.104 deg.
    config = make_config(tmp_path, survey={"pixel_scale": 1.25}, galaxies_per_tile=200, stars_per_tile=0)
    one, other = (make_sources(make_recipe(config), tuple(centre)) for centre in CENTRES)
    assert one.ra.max() < 180.05
    assert other.ra.min() >= 180.05 - 1e-9
    assert (find_owner(one.ra, one.dec, config.simulation.centres) == 0).all()
    assert plan(config)[0].neighbours == ((180.1, -0.5),)
    assert plan(make_config(tmp_path))[0].neighbours == ()


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


def test_good_spectra_are_right_and_bad_ones_often_wrong(tmp_path: Path) -> None:
    from photoz.simulate.spectra import observe_spectra

    config = make_config(tmp_path, galaxies_per_tile=3000, stars_per_tile=300)
    sources = make_sources(make_recipe(config), (180.0, -0.5))
    blank = {"MAG_AUTO": sources.magnitude[:, 2], "MASK": np.zeros(len(sources), dtype=np.int32)}
    table = observe_spectra(make_recipe(config), (180.0, -0.5), sources, blank)
    nearest = np.hypot(table["RAcen"][:, None] - sources.ra, table["Deccen"][:, None] - sources.dec).argmin(1)
    error = np.abs(table["Z"] - sources.redshift[nearest])
    good = table["NQ"] >= 3
    assert np.quantile(error[good], 0.9) < 0.001
    assert 0.01 < (~good).mean() < 0.1
    assert (error[~good] > 0.01).mean() == pytest.approx(0.5, abs=0.2)
    assert 0 < table["duplicate"].sum() < 100
    assert (table["uberclass"] == 2).any()


def test_compressed_images_read_back(config: Config, folder: Path, tmp_path: Path) -> None:
    packed = write_survey(make_config(tmp_path, compress=True, centres=CENTRES[:1]))
    for kind in ("sci", "wei", "msk"):
        plain = fits.getdata(folder / f"KiDS_DR4.0_180.0_-0.5_r_{kind}.fits")
        compressed = fits.getdata(packed / f"KiDS_DR4.0_180.0_-0.5_r_{kind}.fits.fz", 1)
        tolerance = compute_sky_noise(config.simulation.depth["r"], 0.2) / 8 if kind == "sci" else 0
        assert np.abs(plain.astype(np.float64) - compressed).max() <= tolerance


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


@given(st.floats(0.0, 359.9999), st.floats(-89.9, 89.9))
def test_identifiers_hold_the_position(ra: float, dec: float) -> None:
    text = format_id(ra, dec).removeprefix("KiDSDR4 J")
    hours, degrees = text[:10], text[10:]
    read_ra = 15 * (int(hours[:2]) + int(hours[2:4]) / 60 + float(hours[4:]) / 3600)
    read_dec = int(degrees[1:3]) + int(degrees[3:5]) / 60 + float(degrees[5:]) / 3600
    assert (read_ra - ra + 180) % 360 - 180 == pytest.approx(0, abs=0.0151 / 3600)
    assert read_dec * (-1 if degrees[0] == "-" else 1) == pytest.approx(dec, abs=0.0101 / 3600)


def test_centres_that_share_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"180\.0_-0\.5"):
        plan(make_config(tmp_path, centres=[[180.0, -0.5], [180.01, -0.5]]))


def test_a_band_without_a_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="depth"):
        plan(make_config(tmp_path, depth={"u": 24.0}))
