"""A frame without a catalogue, on a synthetic sky whose truth is known."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from tiny_survey import make_config

from photoz.errors import ConfigError, SurveyFileError
from photoz.settings.config import Config
from photoz.survey.frame.files import resample_image, resample_mask, write_frame
from photoz.survey.frame.measure import FrameSources, measure_frame, read_frame

BANDS = {"g": 1.3, "r": 1.0, "J": 1.6}
"""Standard deviation [pixel] of the PSF of each band."""
COLOURS = {"g": 0.6, "r": 0.0, "J": -0.4}
ZEROPOINTS = {"J": 30.0}
SHAPE, NOISE, STARS = (420, 460), 2e-11, 30


def make_frame(folder: Path, **frame: object) -> Config:
    """Write stars and galaxies of known magnitudes on a grid; J is calibrated to another zero point."""
    (folder / "frame").mkdir()
    rng = np.random.default_rng(3)
    x, y = (grid.ravel().astype(float) for grid in np.meshgrid(np.arange(40, 440, 60), np.arange(40, 400, 60)))
    x, y = x + rng.uniform(-3, 3, x.size), y + rng.uniform(-3, 3, y.size)
    mag = np.where(np.arange(x.size) < STARS, rng.uniform(17, 19.5, x.size), rng.uniform(18, 19, x.size))
    extra = np.where(np.arange(x.size) < STARS, 0, 2.5)  # pixel: the last rows are galaxies
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for band, psf in BANDS.items():
        image = rng.normal(0, NOISE, SHAPE) + 1e-10
        for number in range(x.size):
            variance = psf**2 + extra[number] ** 2
            profile = np.exp(-((columns - x[number]) ** 2 + (rows - y[number]) ** 2) / 2 / variance)
            image += 10 ** (-0.4 * (mag[number] + COLOURS[band])) * profile / (2 * np.pi * variance)
        image *= 10 ** (0.4 * ZEROPOINTS.get(band, 0.0))
        fits.PrimaryHDU(image.astype(np.float32)).writeto(folder / "frame" / f"{band}.fits")
    settings = {"folder": str(folder / "frame"), "pixel_scale": 0.3, "zeropoints": ZEROPOINTS}
    settings |= {"saturated_mag": 15.0, "threshold": 5.0}
    survey = {"bands": list(BANDS), "image_bands": ["g", "r"]}
    return make_config(folder, survey=survey, frame=settings | frame)


def read(config: Config) -> dict[str, np.ndarray]:
    return read_frame(config.frame, config.survey)


def measure(config: Config, images: dict[str, np.ndarray]) -> FrameSources:
    return measure_frame(images, config.frame, config.survey)


def write(config: Config, images: dict[str, np.ndarray], sources: FrameSources) -> list[str]:
    return write_frame(images, sources, config.frame, config.survey, folder=config.locations.survey)


def test_stars_and_galaxies_are_measured_and_told_apart(tmp_path: Path) -> None:
    sources = measure(config := make_frame(tmp_path), read(config))
    stars = sources.columns["SG2DPHOT"] == 1
    assert len(sources) == 42
    assert stars.sum() == STARS
    for band, colour in COLOURS.items():
        found = sources.columns[f"MAG_GAAP_{band}"] - sources.columns["MAG_GAAP_r"]
        assert np.median(found[stars]) == pytest.approx(colour, abs=0.02)  # mag; single stars err by up to 0.02
        assert np.median(found[~stars]) == pytest.approx(colour, abs=0.05)
        fwhm = 2.3548 * BANDS[band] * config.frame.pixel_scale
        assert sources.cards[f"SEEING{band.upper()}"][0] == pytest.approx(fwhm, rel=0.1)


def test_errors_are_those_of_the_sky(tmp_path: Path) -> None:
    sources = measure(config := make_frame(tmp_path), read(config))
    radius = config.frame.aperture / 2 / config.frame.pixel_scale
    mag, err = (sources.columns[name].astype(float) for name in ("MAG_GAAP_J", "MAGERR_GAAP_J"))
    noise = err / 1.0857 * 10 ** (-0.4 * mag) / sources.cards["GROWTHJ"][0]
    assert np.median(noise) == pytest.approx(NOISE * np.sqrt(np.pi) * radius, rel=0.25)


def test_pixels_not_observed_give_the_sentinel(tmp_path: Path) -> None:
    images = read(config := make_frame(tmp_path))
    images["J"][:, :70] = np.nan
    sources = measure(config, images)
    west = sources.columns["X_FRAME"] < 60
    assert west.any()
    assert (sources.columns["MAG_GAAP_J"][west] == config.survey.not_observed).all()
    assert (sources.columns["MAG_GAAP_J"][~west & (sources.columns["X_FRAME"] > 90)] < 30).all()


def test_vega_offsets_are_added(tmp_path: Path) -> None:
    config = make_frame(tmp_path, ab_offsets={"J": 0.92})
    colour = (columns := measure(config, read(config)).columns)["MAG_GAAP_J"] - columns["MAG_GAAP_r"]
    assert np.median(colour) == pytest.approx(COLOURS["J"] + 0.92, abs=0.05)


def test_saturated_stars_are_masked(tmp_path: Path) -> None:
    config = make_frame(tmp_path, saturated_mag=18.0)
    sources = measure(config, images := read(config))
    saturated = sources.columns["SATURATED"] == 1
    assert 0 < saturated.sum() < STARS
    assert (sources.columns["MASK"][saturated] == 4).all()
    masks = [place for place in write(config, images, sources) if "_r_msk" in place]
    assert fits.getdata(masks[0]).max() == 4


def test_settings_and_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    config = make_frame(tmp_path)
    with pytest.raises(ConfigError, match=r"frame.folder is not set"):
        read(make_config(tmp_path))
    with pytest.raises(ConfigError, match=r"frame.pixel_scale = 0.0 arcsec"):
        read(make_config(tmp_path, frame={"folder": "x"}))
    with pytest.raises(ConfigError, match=r"bands \['q'\]"):
        read(make_config(tmp_path, frame={"folder": "x", "pixel_scale": 0.3, "zeropoints": {"q": 1.0}}))
    fits.PrimaryHDU(np.zeros((10, 12), np.float32)).writeto(tmp_path / "frame" / "J.fits", overwrite=True)
    with pytest.raises(SurveyFileError, match=r"band J of the frame has 10 x 12 pixels"):
        read(config)
    (tmp_path / "frame" / "J.fits").unlink()
    with pytest.raises(SurveyFileError, match=r"J.fits is missing"):
        read(config)


def test_empty_sky_is_an_error(tmp_path: Path) -> None:
    config = make_frame(tmp_path)
    sky = np.random.default_rng(0).normal(0, 1, (200, 200)).astype(np.float32)
    with pytest.raises(SurveyFileError, match=r"no source above|no unsaturated star"):
        measure(config, dict.fromkeys(BANDS, sky))


@pytest.mark.parametrize("zoom", [1.0, 1.5])
def test_resampling_keeps_centre_and_missing_pixels(zoom: float) -> None:
    rows, columns = np.mgrid[:41, :41]
    image = np.exp(-((columns - 20.0) ** 2 + (rows - 20.0) ** 2) / 18)
    image[:, :4] = np.nan
    fine = resample_image(image, zoom)
    middle = (fine.shape[0] - 1) / 2
    peak = np.unravel_index(np.nanargmax(fine), fine.shape)
    np.testing.assert_allclose(peak, middle, atol=0.6)
    assert np.isnan(fine[:, : int(3 * zoom)]).all()
    assert np.nansum(fine) == pytest.approx(np.nansum(image), rel=0.01)
    assert (resample_mask(~np.isfinite(image), fine.shape, zoom) == 4).sum() >= np.isnan(fine).sum()
