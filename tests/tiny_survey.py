"""A survey of a few small tiles with KiDS DR4's file names, columns and header keywords, made in a second."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from photoz.settings.config import Config, convert_config

BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
IMAGE_BANDS = ("u", "g", "r", "i")
SCALE = 0.2 / 3600


@dataclass
class TinySurvey:
    """Where the survey lies, its settings, and what was put into it."""

    folder: Path
    config: Config
    images: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    catalogues: dict[str, Table] = field(default_factory=dict)

    def path(self, tile: str, kind: str) -> Path:
        """Return the path of a tile's file, e.g. ``path("180.0_-0.5", "r_sci")``."""
        return self.folder / f"KiDS_DR4.0_{tile}_{kind}.fits"


def make_wcs(ra: float, dec: float, shape: tuple[int, int], scale: float = SCALE) -> WCS:
    """Make a TAN projection centred on the image."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cdelt = [-scale, scale]
    return wcs


def write_image(path: Path, data: np.ndarray, wcs: WCS | None, **options: Any) -> None:
    """Write an image with its checksums; ``compress=True`` as fpack does (RICE_1 by rows)."""
    header = wcs.to_header() if wcs is not None else fits.Header()
    header["OBJECT"] = path.stem[:60]
    if options.get("compress"):
        tile_shape = options.get("tile_shape", (1, data.shape[1]))
        quantize = options.get("quantize", 16.0)
        image = fits.CompImageHDU(
            data, header, compression_type="RICE_1", tile_shape=tile_shape, quantize_level=quantize
        )
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path, checksum=True, overwrite=True)
    else:
        fits.PrimaryHDU(data, header).writeto(path, checksum=True, overwrite=True)


def make_catalogue(tile: str, count: int, *, width_deg: float, seed: int) -> Table:
    """Make a multi-band catalogue: row 0 lacks Y (99), row 1 Ks (-99), row 2 everything; the rest is whole."""
    rng = np.random.default_rng(seed)
    ra, dec = (float(part) for part in tile.split("_"))
    table = Table()
    table["ID"] = [f"KiDSDR4 J{tile}.{n:05d}" for n in range(count)]
    table["KIDS_TILE"] = [f"KIDS_{tile}"] * count
    table["RAJ2000"] = ra + rng.uniform(-0.5, 0.5, count) * width_deg
    table["DECJ2000"] = dec + rng.uniform(-0.5, 0.5, count) * width_deg
    table["MAG_AUTO"] = np.linspace(17, 21, count).astype(np.float32)
    table["MAGERR_AUTO"] = np.full(count, 0.01, np.float32)
    for name, value in (("SG_FLAG", 1), ("SG2DPHOT", 0), ("MASK", 0)):
        table[name] = np.full(count, value, np.int32)
    table["CLASS_STAR"] = np.full(count, 0.02, np.float32)
    for index, band in enumerate(BANDS):
        table[f"MAG_GAAP_{band}"] = (20 - 0.2 * index + rng.normal(0, 0.5, count)).astype(np.float32)
        table[f"MAGERR_GAAP_{band}"] = np.full(count, 0.02, np.float32)
        table[f"EXTINCTION_{band}"] = np.full(count, 0.1, np.float32)
    _set_sentinel(table, 0, ["Y"], 99)
    _set_sentinel(table, 1, ["Ks"], -99)
    _set_sentinel(table, 2, BANDS, 99)
    return table


def write_catalogue(path: Path, table: Table, offsets: dict[str, float] | None = None) -> None:
    """Write a catalogue whose primary header holds the homogenisation offsets, with checksums."""
    primary = fits.PrimaryHDU()
    for band, offset in (offsets or dict.fromkeys("UGRI", 0.03)).items():
        primary.header[f"DMAG_{band}"] = offset
    fits.HDUList([primary, fits.BinTableHDU(table, name="OBJECTS")]).writeto(path, checksum=True, overwrite=True)


def write_survey(
    folder: Path, tiles: tuple[str, ...], *, shape: tuple[int, int] = (200, 240), count: int = 40
) -> TinySurvey:
    """Write tiles with four bands, masks, and a catalogue each."""
    (folder / "survey").mkdir(parents=True)
    survey = TinySurvey(folder / "survey", make_config(folder))
    for seed, tile in enumerate(tiles):
        rng = np.random.default_rng(seed)
        ra, dec = (float(part) for part in tile.split("_"))
        for band in IMAGE_BANDS:
            data = rng.normal(0, 1, shape).astype(np.float32)
            survey.images[tile, band] = data
            write_image(survey.path(tile, f"{band}_sci"), data, make_wcs(ra, dec, shape))
            mask = np.zeros(shape, np.uint8)
            mask[:20, :20] = 4
            write_image(survey.path(tile, f"{band}_msk"), mask, make_wcs(ra, dec, shape))
        survey.catalogues[tile] = make_catalogue(tile, count, width_deg=0.8 * min(shape) * SCALE, seed=seed)
        write_catalogue(survey.path(tile, "ugriZYJHKs_cat"), survey.catalogues[tile])
    return survey


def make_config(folder: Path, **sections: Any) -> Config:
    """Make settings whose locations all lie in a folder; small shards, so that a tiny tile has several."""
    names = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
    values: dict[str, Any] = {
        "run": {"name": "tiny"},
        "locations": {name: str(folder / name) for name in names},
        "tiles": {"chunk": 32, "shard": 128},
    }
    for section, settings in sections.items():
        values[section] = {**values.get(section, {}), **settings}
    return convert_config(values)


def _set_sentinel(table: Table, row: int, bands: Any, value: float) -> None:
    for band in bands:
        table[f"MAG_GAAP_{band}"][row] = value
        table[f"MAGERR_GAAP_{band}"][row] = value
