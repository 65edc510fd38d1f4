"""The image path on real sky: detection to photo-z catalogue on a part of a real nine-band frame.

The frame is not part of the project. It is looked for beside the checkout, or in the folder that the environment
variable PHOTOZ_SHARED names; without it these tests are skipped.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table
from conftest import save_untrained
from ingested import check, find_survey, partition

from cluster.inference.run import infer_catalogue
from photoz.catalogue.hats import list_partitions, read_partition
from photoz.cutouts import extract_cutouts
from photoz.errors import EstimatorError
from photoz.ingest.tile import ingest_tile
from photoz.inputs import read_fluxes
from photoz.photometry import derive_magnitudes
from photoz.schema import Flag
from photoz.settings import config_to_dict
from photoz.settings.config import Config, convert_config, load_config
from photoz.survey.frame.files import write_frame
from photoz.survey.frame.measure import measure_frame, read_frame
from photoz.tiles import open_tile

ROOT = Path(__file__).resolve().parents[3]
FRAME = Path(os.environ.get("PHOTOZ_SHARED", ROOT.parent / "shared")) / "data" / "frame9"
CORNER, SIDE = (1000, 1450), 800
"""[pixel] first row and column, and side, of the part that is used: two galaxy groups, stars, no saturated one."""
FAINTEST = 22.0  # mag; the bright sample's limit leaves too few in so small a part

pytestmark = pytest.mark.skipif(
    not (FRAME / "r.fits").exists(), reason=f"the real nine-band frame is not at {FRAME}; set PHOTOZ_SHARED"
)


@dataclass(frozen=True)
class RealSurvey:
    """What the part of the frame became."""

    config: Config
    measured: Table
    sources: pa.Table
    catalogue: pa.Table


@pytest.fixture(scope="module")
def real_survey(tmp_path_factory: pytest.TempPathFactory) -> RealSurvey:
    folder = tmp_path_factory.mktemp("frame9")
    config = make_config(folder)
    cut_frame(config)
    frame, survey = config.frame, config.survey
    images = read_frame(frame, survey)
    sources = measure_frame(images, frame, survey)
    written = write_frame(images, sources, frame, survey, folder=config.locations.survey)
    tiles = find_survey(config)
    check(config)
    assert [ingest_tile(config, tile).problem for tile in tiles] == [""]
    partition(config)
    save_untrained(config, "hybrid")
    infer_catalogue(config)
    sources, catalogue = (read_all(place) for place in (config.locations.sources, config.locations.catalogue))
    return RealSurvey(config, Table.read(written[-1], hdu=1), sources, catalogue)


def make_config(folder: Path) -> Config:
    """Return the example's own settings with every location in a folder."""
    values = config_to_dict(load_config(str(ROOT / "jobs" / "frame9.toml")))
    values["locations"] = {name: str(folder / name) for name in values["locations"]}
    values["frame"]["folder"] = str(folder / "frame")
    values["selection"]["mag_auto_below"] = FAINTEST
    return convert_config(values)


def cut_frame(config: Config) -> None:
    folder = Path(config.frame.folder)
    folder.mkdir()
    part = tuple(slice(first, first + SIDE) for first in CORNER)
    for band in config.survey.bands:
        with fits.open(FRAME / f"{band}.fits") as units:
            image = units[1].section[part]
        fits.PrimaryHDU(image.astype(np.float32)).writeto(folder / f"{band}.fits")


def read_all(location: str) -> pa.Table:
    return pa.concat_tables([read_partition(location, part) for part in list_partitions(location)])


def magnitudes(real: RealSurvey, band: str) -> np.ndarray:
    return derive_magnitudes(*read_fluxes(real.sources, [band])).magnitudes_NF[:, 0].astype(float)


def test_counts_are_those_of_the_sky(real_survey: RealSurvey) -> None:
    # The whole frame has about 190 objects with r < 20 and 1,275 with r < 23; Poisson and clustering allow for half.
    share = (SIDE / 2600) ** 2
    mag = np.asarray(real_survey.measured["MAG_AUTO"])
    assert (mag < 20).sum() == pytest.approx(190 * share, rel=0.5)
    assert (mag < 23).sum() == pytest.approx(1275 * share, rel=0.3)


def test_blends_are_split_and_stars_told_apart(real_survey: RealSurvey) -> None:
    measured = real_survey.measured
    merged = (np.asarray(measured["FLAGS"]) & 1) != 0
    assert 0.05 < merged.mean() < 0.6
    stars = (measured["SG2DPHOT"] == 1) & (measured["MAG_AUTO"] < 20)
    assert 3 <= stars.sum() < 0.6 * (measured["MAG_AUTO"] < 20).sum()


def test_every_source_has_a_redshift_and_finite_magnitudes(real_survey: RealSurvey) -> None:
    assert len(real_survey.sources) > 20
    assert set(real_survey.catalogue["object_id"].to_pylist()) == set(real_survey.sources["object_id"].to_pylist())
    assert np.isfinite(real_survey.catalogue["z_phot"].to_numpy()).all()
    assert not (real_survey.catalogue["flags"].to_numpy() & (Flag.ESTIMATE_FAILED | Flag.TILE_UNREADABLE)).any()
    for band in ("g", "r", "i", "Z"):
        assert np.isfinite(magnitudes(real_survey, band)).mean() > 0.98


def test_galaxies_have_the_colours_of_galaxies(real_survey: RealSurvey) -> None:
    # KiDS-Bright and SDSS galaxies: g - r from 0.3 (blue, near) to 1.6 (red, z = 0.35); all AB.
    limits = {("g", "r"): (0.3, 1.4), ("r", "i"): (0.2, 0.7), ("i", "Z"): (0.05, 0.5), ("J", "Ks"): (-0.2, 0.8)}
    for (blue, red), (low, high) in limits.items():
        median = np.nanmedian(magnitudes(real_survey, blue) - magnitudes(real_survey, red))
        assert low < median < high, (blue, red, median)


def test_stars_show_that_the_near_infrared_is_on_the_ab_system(real_survey: RealSurvey) -> None:
    # Dwarfs of types G to M have J - Ks of 0.3 to 0.9 in Vega magnitudes, which is -0.6 to 0.0 in AB: 0.9 less.
    measured = real_survey.measured
    stars = (measured["SG2DPHOT"] == 1) & (measured["MAG_AUTO"] < 19.5)
    colour = np.median(measured["MAG_GAAP_J"][stars] - measured["MAG_GAAP_Ks"][stars])
    assert -0.6 < colour < 0.05


def test_cutouts_are_centred_on_their_sources(real_survey: RealSurvey) -> None:
    config, sources = real_survey.config, real_survey.sources
    bright = sources.filter(pa.compute.less(sources["mag_auto"], 21.0))
    tile = open_tile(config.locations.tiles, bright["tile"][0].as_py())
    size = config.training.cutout_size
    cutouts, flags = extract_cutouts(tile, bright["ra"].to_numpy(), bright["dec"].to_numpy(), size, bands=("r",))
    whole = cutouts[flags & Flag.PARTIAL_CUTOUT == 0, 0]
    middle = size // 2
    near = whole[:, middle - 6 : middle + 7, middle - 6 : middle + 7].reshape(len(whole), -1)
    peaks = np.stack(np.unravel_index(near.argmax(axis=1), (13, 13)), axis=1) - 6
    # Two pixels of 0.2 arcsec; a lopsided galaxy's centre of light may lie further from its brightest pixel.
    assert len(whole) > 10
    assert (np.hypot(*peaks.T) <= 2.0).mean() > 0.8


def test_nine_bands_show_the_same_sky(real_survey: RealSurvey) -> None:
    config, sources = real_survey.config, real_survey.sources
    bright = sources.filter(pa.compute.less(sources["mag_auto"], 20.5))
    tile = open_tile(config.locations.tiles, bright["tile"][0].as_py())
    assert tile.bands == ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
    cutouts, flags = extract_cutouts(tile, bright["ra"].to_numpy(), bright["dec"].to_numpy(), 36, bands=tile.bands)
    whole = cutouts[flags & Flag.PARTIAL_CUTOUT == 0]
    middle = whole[:, :, 12:25, 12:25].sum(axis=(2, 3))
    edge = np.concatenate([whole[:, :, :6], whole[:, :, -6:]], axis=2).reshape(*whole.shape[:2], -1)
    # In every band the source is brighter than the sky around it; u is faint.
    above = middle - 169 * np.median(edge, axis=2) > 0
    assert above[:, 1:].mean() > 0.95
    assert above[:, 0].mean() > 0.7


def test_resampling_keeps_the_flux_of_stars(real_survey: RealSurvey) -> None:
    from photoz.survey.frame.detection import load_sep

    config, measured = real_survey.config, real_survey.measured
    stars = measured[(measured["SG2DPHOT"] == 1) & (measured["MAG_AUTO"] < 20) & (measured["FLAGS"] == 0)]
    tile = open_tile(config.locations.tiles, str(stars["KIDS_TILE"][0]))
    image = tile.read_window(0, tile.shape[0], 0, tile.shape[1])[tile.bands.index("r")].astype(float)
    original = np.asarray(read_frame(config.frame, config.survey)["r"], float)
    x, y = tile.wcs.all_world2pix(stars["RAJ2000"], stars["DECJ2000"], 0)
    fine = load_sep().sum_circle(np.nan_to_num(image), x, y, 3.0 / config.survey.pixel_scale)[0]
    place = (stars["X_FRAME"].astype(float) - 1, stars["Y_FRAME"].astype(float) - 1)
    coarse = load_sep().sum_circle(original, *place, 3.0 / config.frame.pixel_scale)[0]
    np.testing.assert_allclose(fine / coarse, 1, atol=0.01)


def test_an_estimator_of_another_pixel_scale_is_refused(real_survey: RealSurvey, tmp_path: Path) -> None:
    values = config_to_dict(real_survey.config)
    values["survey"]["pixel_scale"] = real_survey.config.frame.pixel_scale
    values["locations"]["catalogue"] = str(tmp_path / "catalogue")
    with pytest.raises(EstimatorError, match=r"trained on pixels of 0.2 arcsec"):
        infer_catalogue(convert_config(values))
