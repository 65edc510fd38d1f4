"""One scene of sky in the clothes of other releases: small surveys in the files of HSC, Rubin, Legacy Surveys and KiDS.

Two tiles lie side by side and have `OVERLAP` columns in common. What the store must hold of them is known in nJy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from tiny_survey import write_catalogue

from photoz.photometry import AB_ZEROPOINT
from photoz.settings.config import Config, load_config

SHAPE = (96, 120)
OVERLAP = 24
SOURCES = 40
EXTINCTION = 0.1
"""[mag] in every band."""
JOBS = Path(__file__).parents[1] / "jobs"

MASK_PLANES = {"BAD": 0, "SAT": 1, "EDGE": 4, "DETECTED": 5, "DETECTED_NEGATIVE": 6, "NO_DATA": 8, "BRIGHT_OBJECT": 9}
BAD, DETECTED = (slice(10, 20), slice(30, 50)), (slice(40, 60), slice(60, 80))
"""Rows and columns of the whole scene that are bad, and that only hold a detected source."""


@dataclass
class Scene:
    """The sky as all tiles see it.

    Parameters
    ----------
    bands : sequence of str
        Of the images.
    wcs : WCS
        Of the whole scene.
    pixels_BYX : ndarray of float32
        [nJy]
    x, y : ndarray, shape (N,)
        [pixel] places of the sources; the last lies on no tile.
    fluxes : ndarray, shape (N,)
        [nJy] in every band, with the light that the Galaxy takes.
    """

    bands: Sequence[str]
    wcs: WCS
    pixels_BYX: np.ndarray
    x: np.ndarray
    y: np.ndarray
    fluxes: np.ndarray

    @property
    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Right ascensions and declinations of the sources [deg]."""
        ra, dec = self.wcs.all_pix2world(self.x, self.y, 0)
        return np.asarray(ra), np.asarray(dec)

    @property
    def best(self) -> list[int]:
        """Number of the tile in which each source lies farthest from the edge; -1 for none."""
        middle = SHAPE[1] - OVERLAP / 2 - 0.5
        return [-1 if x < 0 else int(x > middle) for x in self.x]

    def cut(self, number: int) -> tuple[np.ndarray, WCS, slice]:
        """Return a tile's pixels, its WCS, and its columns of the scene."""
        first = number * (SHAPE[1] - OVERLAP)
        wcs = self.wcs.deepcopy()
        wcs.wcs.crpix = [wcs.wcs.crpix[0] - first, wcs.wcs.crpix[1]]
        columns = slice(first, first + SHAPE[1])
        return self.pixels_BYX[:, :, columns], wcs, columns


@dataclass
class MadeSurvey:
    """What was written, and what must come of it."""

    config: Config
    scene: Scene
    tiles: tuple[str, str]
    object_ids: list[str]
    masked_bands: int
    """Bits of the stored mask that are set where the scene is bad."""
    unit: float = 1.0
    """[nJy] of one of the stored unit."""

    def expect(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels [stored unit] and the mask that a tile must have."""
        pixels, _, columns = self.scene.cut(number)
        mask = np.zeros(self.scene.pixels_BYX.shape[1:], np.uint8)
        mask[BAD] = self.masked_bands
        return pixels / self.unit, mask[:, columns]


def make_scene(bands: Sequence[str], scale: float, *, centre: tuple[float, float] = (150.0, 2.0)) -> Scene:
    """Make a scene of faint Gaussian sources on noise of 5 nJy, at a pixel scale [arcsec]."""
    rng, width = np.random.default_rng(7), 2 * SHAPE[1] - OVERLAP
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], list(centre)
    wcs.wcs.crpix, wcs.wcs.cd = [width / 2, SHAPE[0] / 2], [[-scale / 3600, 0], [0, scale / 3600]]
    x, y = rng.uniform(3, width - 4, SOURCES), rng.uniform(3, SHAPE[0] - 4, SOURCES)
    x[-1] = -20.0
    fluxes = 10 ** rng.uniform(3, 4.5, SOURCES)
    rows, columns = np.mgrid[: SHAPE[0], :width]
    light = sum(
        flux * np.exp(-0.5 * ((columns - a) ** 2 + (rows - b) ** 2) / 4) / (8 * np.pi)
        for a, b, flux in zip(x, y, fluxes, strict=True)
    )
    noise = rng.normal(0, 5, (len(bands), SHAPE[0], width))
    return Scene(bands, wcs, (light + noise).astype(np.float32), x, y, fluxes)


def load_preset(name: str, folder: Path, *overrides: str) -> Config:
    """Load the settings that are shipped for a survey, with locations of a test's own and small shards."""
    names = ("tiles", "sources", "training", "models", "catalogue", "report")
    places = [f"locations.survey={folder / 'survey'}", *(f"locations.{each}={folder / each}" for each in names)]
    return load_config(
        str(JOBS / f"{name}.toml"),
        [*places, "tiles.chunk=32", "tiles.shard=64", "engine.name=serial", "engine.workers=1", *overrides],
    )


def make_flags(scene: Scene, columns: slice, bits: Mapping[str, int]) -> np.ndarray:
    """Make a tile's mask: BAD where it is bad, DETECTED where it only holds a source."""
    flags = np.zeros(scene.pixels_BYX.shape[1:], np.int32)
    flags[BAD] |= 1 << bits["BAD"]
    flags[DETECTED] |= 1 << bits["DETECTED"]
    return flags[:, columns]


def write_calexp(path: Path, pixels: np.ndarray, wcs: WCS, flags: np.ndarray, **options: Any) -> None:
    """Write image, mask and variance in one file, as HSC's and Rubin's pipeline does, and a table behind them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    primary, header = fits.PrimaryHDU(), wcs.to_header()
    primary.header.update(options.get("primary", {}))
    masked = header.copy()
    for name, bit in MASK_PLANES.items():
        # HIERARCH, since the longer names have more than eight letters.
        masked[f"HIERARCH MP_{name}"] = bit
    variance = np.full(pixels.shape, 25, np.float32)
    units = [(pixels, header, "IMAGE"), (flags, masked, "MASK"), (variance, header, "VARIANCE")]
    if options.get("packed"):
        kind = {"compression_type": "GZIP_2", "quantize_level": 0}
        planes: list[Any] = [fits.CompImageHDU(data, head, name=name, **kind) for data, head, name in units]
    else:
        planes = [fits.ImageHDU(data, head, name=name) for data, head, name in units]
    archive = fits.BinTableHDU(Table({"id": [1, 2]}), name="ARCHIVE_INDEX")
    fits.HDUList([primary, *planes, archive]).writeto(path, checksum=True)


def write_hsc(folder: Path) -> MadeSurvey:
    """Write two patches of HSC PDR3 and one table of its database."""
    config = load_preset("hsc_pdr3", folder)
    scene, survey = make_scene(config.survey.image_bands, 0.168), folder / "survey"
    count = 10 ** (0.4 * (AB_ZEROPOINT - 27))  # nJy
    for number, patch in enumerate(("4,4", "4,5")):
        pixels, wcs, columns = scene.cut(number)
        flags = make_flags(scene, columns, MASK_PLANES)
        for plane, band in zip(pixels, scene.bands, strict=True):
            path = survey / f"HSC-{band.upper()}/9813/{patch}/calexp-HSC-{band.upper()}-9813-{patch}.fits"
            write_calexp(path, (plane / count).astype(np.float32), wcs, flags, primary={"FLUXMAG0": 10**10.8})
    ids = np.arange(SOURCES) + 42 * 10**15
    table = Table({"object_id": ids, "ra": scene.positions[0], "dec": scene.positions[1]})
    for band in config.survey.bands:
        table[f"{band}_cmodel_flux"], table[f"{band}_cmodel_fluxerr"] = scene.fluxes, scene.fluxes / 50
        table[f"a_{band}"] = np.full(SOURCES, EXTINCTION)
    (survey / "catalogue").mkdir()
    table.write(survey / "catalogue" / "wide.fits")
    return MadeSurvey(config, scene, ("HSC_9813_4,4", "HSC_9813_4,5"), [str(each) for each in ids], 0b11111)


def write_rubin(folder: Path) -> MadeSurvey:
    """Write two patches of Rubin's DP1 and the Object table of their tract."""
    config = load_preset("rubin_dp1", folder)
    scene, survey = make_scene(config.survey.image_bands, 0.2), folder / "survey"
    run = "lsst_cells_v1_LSSTComCam_runs_DRP_DP1_v29_0_0_DM-50260"
    for number, patch in enumerate((14, 15)):
        pixels, wcs, columns = scene.cut(number)
        flags = make_flags(scene, columns, MASK_PLANES)
        for plane, band in zip(pixels, scene.bands, strict=True):
            path = survey / f"deep_coadd/5063/{patch}/{band}/deep_coadd_5063_{patch}_{band}_{run}.fits"
            write_calexp(path, plane, wcs, flags, packed=True)
    ids = np.arange(SOURCES) + 2**59
    columns_of = {"objectId": ids, "coord_ra": scene.positions[0], "coord_dec": scene.positions[1]}
    for band in config.survey.bands:
        columns_of |= {f"{band}_cModelFlux": scene.fluxes, f"{band}_cModelFluxErr": scene.fluxes / 50}
    columns_of["ebv"] = np.full(SOURCES, EXTINCTION / 2.70)
    (survey / "object").mkdir()
    pq.write_table(pa.table(columns_of), survey / "object" / f"object_5063_{run}.parq")
    return MadeSurvey(config, scene, ("DP1_5063_14", "DP1_5063_15"), [str(each) for each in ids], 0b111111)


def write_legacy(folder: Path) -> MadeSurvey:
    """Write two bricks of the Legacy Surveys' DR10, whose catalogues both have the sources of the overlap."""
    config = load_preset("legacy_dr10", folder)
    scene, survey, bricks = make_scene(config.survey.image_bands, 0.262), folder / "survey", ("1499p020", "1501p020")
    maggy = 3.631e3  # nJy of a nanomaggy
    for number, brick in enumerate(bricks):
        pixels, wcs, columns = scene.cut(number)
        where = survey / f"coadd/{brick[:3]}/{brick}"
        where.mkdir(parents=True)
        for plane, band in zip(pixels, scene.bands, strict=True):
            for kind, data in (("image", plane / maggy), ("invvar", np.full(plane.shape, (maggy / 5) ** 2))):
                unit = fits.CompImageHDU(
                    data.astype(np.float32), wcs.to_header(), compression_type="GZIP_2", quantize_level=0
                )
                path = where / f"legacysurvey-{brick}-{kind}-{band}.fits.fz"
                fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path, checksum=True)
        # NPRIMARY, bit 0, is set on half of the brick and counts against nobody; BRIGHT is bit 1.
        flags = make_flags(scene, columns, {"BAD": 1, "DETECTED": 0})
        planes = [fits.CompImageHDU(flags, wcs.to_header(), name="MASKBITS", compression_type="HCOMPRESS_1")]
        planes += [fits.CompImageHDU(np.ones(SHAPE, np.uint8), name=name) for name in ("WISEM1", "WISEM2")]
        fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(where / f"legacysurvey-{brick}-maskbits.fits.fz")
        _write_tractor(survey / f"tractor/{brick[:3]}/tractor-{brick}.fits", scene, number, columns)
    return MadeSurvey(config, scene, bricks, [f"10000-{5 + n}-{i}" for i, n in enumerate(scene.best)], 0b111)


def _write_tractor(path: Path, scene: Scene, number: int, columns: slice) -> None:
    rows = np.flatnonzero((scene.x >= columns.start) & (scene.x < columns.stop))
    best = np.array(scene.best)[rows]
    ra, dec = (values[rows] for values in scene.positions)
    table = Table({"release": np.full(len(rows), 10000, np.int16), "brickid": np.full(len(rows), 5 + number, np.int32)})
    table["objid"], table["brick_primary"] = rows.astype(np.int32), best == number
    table["ra"], table["dec"], table["type"] = ra, dec, np.full(len(rows), "REX")
    for band in ("g", "r", "i", "z", "w1", "w2"):
        flux = (scene.fluxes[rows] / 3.631e3).astype(np.float32)
        table[f"flux_{band}"], table[f"flux_ivar_{band}"] = flux, (50 / flux) ** 2
        table[f"mw_transmission_{band}"] = np.full(len(rows), 10 ** (-0.4 * EXTINCTION), np.float32)
    path.parent.mkdir(parents=True)
    table.write(path)


def write_kids_dr5(folder: Path) -> MadeSurvey:
    """Write two tiles of KiDS DR5 with both passes of i."""
    config = load_preset("kids_dr5", folder)
    scene, survey, places = make_scene(config.survey.image_bands, 0.2), folder / "survey", ("149.9_2.0", "150.1_2.0")
    unit = 10 ** (0.4 * AB_ZEROPOINT)  # nJy of a flux of 1
    survey.mkdir(parents=True)
    ids = [f"KiDSDR5 J{n:05d}" for n in range(SOURCES)]
    for number, place in enumerate(places):
        pixels, wcs, columns = scene.cut(number)
        flags = make_flags(scene, columns, {"BAD": 2, "DETECTED": 20}).astype(np.uint8)
        for plane, band in zip(pixels, scene.bands, strict=True):
            name = {"i1": "i"}.get(band, band)
            for kind, data in (("sci", (plane / unit).astype(np.float32)), ("msk", flags)):
                path = survey / f"KiDS_DR5.0_{place}_{name}_{kind}.fits"
                fits.PrimaryHDU(data, wcs.to_header()).writeto(path, checksum=True)
        # Overlaps are excised: each source is in one catalogue.
        rows = np.flatnonzero(np.array(scene.best) == number)
        table = Table({"ID": [ids[row] for row in rows], "KIDS_TILE": [f"KIDS_{place}"] * len(rows)})
        table["RAJ2000"], table["DECJ2000"] = (values[rows] for values in scene.positions)
        magnitudes = (AB_ZEROPOINT - 2.5 * np.log10(scene.fluxes[rows])).astype(np.float32)
        table["MAG_AUTO"], table["MAGERR_AUTO"] = np.full(len(rows), 19, np.float32), np.full(len(rows), 0.01)
        for name, value in (("SG_FLAG", 1), ("SG2DPHOT", 0), ("MASK", 0)):
            table[name] = np.full(len(rows), value, np.int32)
        table["CLASS_STAR"] = np.full(len(rows), 0.02, np.float32)
        for band in config.survey.bands:
            table[f"MAG_GAAP_{band}"] = magnitudes - np.float32(EXTINCTION)
            table[f"MAGERR_GAAP_{band}"] = np.full(len(rows), 0.02, np.float32)
            table[f"EXTINCTION_{band}"] = np.full(len(rows), EXTINCTION, np.float32)
        write_catalogue(survey / f"KiDS_DR5.0_{place}_ugri1i2ZYJHKs_cat.fits", table)
    names = tuple(f"KIDS_{place}" for place in places)
    return MadeSurvey(config, scene, (names[0], names[1]), ids, 0b11111, unit)


WRITERS: dict[str, Callable[[Path], MadeSurvey]] = {
    "hsc_pdr3": write_hsc,
    "rubin_dp1": write_rubin,
    "legacy_dr10": write_legacy,
    "kids_dr5": write_kids_dr5,
}
