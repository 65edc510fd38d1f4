"""A source catalogue the size of KiDS-Bright, made of arrays in seconds: for measuring what does not read images."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from astropy import units
from astropy_healpix import HEALPix
from from_magnitudes import make_columns

from photoz.catalogue.hats import PRIMARY, Partition, finish_catalogue, write_partition
from photoz.schema import HEALPIX_ORDER, Flag, make_source_schema
from photoz.settings.config import Config

ROWS = 1_240_000
FIELDS = ((128.0, 238.5, -4.0, 4.0), (330.0, 413.0, -36.0, -27.0))
"""[deg] right ascensions and declinations of two stretches like those of KiDS, 1,500 square degrees in all."""
ORDER = 5  # [HEALPix] 3.4 square degrees: the deepest order at which a pixel holds fewer than 5,000 of the rows


def make_sources(bands: tuple[str, ...], rows: int, *, seed: int = 0) -> pa.Table:
    """Make rows of the source catalogue: positions over `FIELDS`, magnitudes on a family of colours, one in 50 missing.

    Sorted by position; ids and tile names are like those of KiDS.
    """
    rng = np.random.default_rng(seed)
    ra_N, dec_N = _scatter(rng, rows)
    healpix_N = HEALPix(nside=2**HEALPIX_ORDER, order="nested").lonlat_to_healpix(ra_N * units.deg, dec_N * units.deg)
    order = np.argsort(healpix_N, kind="stable")
    ra_N, dec_N, healpix_N = ra_N[order], dec_N[order], healpix_N[order]
    magnitudes_NF = make_magnitudes(rng, rows, len(bands)).astype(np.float32)
    lost_NF = rng.random((rows, len(bands))) < 0.02
    magnitudes_NF[lost_NF] = np.nan
    columns = {
        "_healpix_29": healpix_N,
        "object_id": [f"KiDSDR4 J{ra:010.6f}{dec:+010.6f}" for ra, dec in zip(ra_N, dec_N, strict=True)],
        "ra": ra_N,
        "dec": dec_N,
        "tile": [f"KIDS_{ra:.1f}_{dec:.1f}" for ra, dec in zip(np.round(ra_N), np.round(dec_N) + 0.5, strict=True)],
        "mag_auto": rng.uniform(17.0, 20.0, rows),
        "magerr_auto": np.full(rows, 0.01),
        **make_columns(bands, magnitudes_NF, 0.03),
        "flags": np.where(lost_NF.any(axis=1), np.int32(Flag.BAND_NOT_OBSERVED), np.int32(0)),
    }
    schema = make_source_schema(bands)
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def make_magnitudes(rng: np.random.Generator, rows: int, bands: int) -> np.ndarray:
    """Make magnitudes on a three-dimensional family of colours with noise, as real ones nearly are."""
    mixing = np.random.default_rng(1).normal(0.0, 0.5, (3, bands))
    return 19.0 + rng.normal(0.0, 1.0, (rows, 3)) @ mixing + rng.normal(0.0, 0.05, (rows, bands))


def write_sources(config: Config, sources: pa.Table, *, order: npt.ArrayLike = ORDER) -> None:
    """Write a partitioned source catalogue of rows sorted by position; ``order`` is that of each row's partition."""
    location = config.locations.sources
    order_N = np.broadcast_to(np.asarray(order), len(sources))
    pixel_N = sources["_healpix_29"].to_numpy() >> 2 * (HEALPIX_ORDER - order_N)
    places = np.flatnonzero((np.diff(pixel_N, prepend=-1) != 0) | (np.diff(order_N, prepend=-1) != 0))
    parts = []
    for start, end in pairwise([*places.tolist(), len(sources)]):
        parts.append((Partition(int(order_N[start]), int(pixel_N[start])), end - start))
        write_partition(f"{location}/{PRIMARY}", parts[-1][0], sources.slice(start, end - start))
    finish_catalogue(location, parts, info={})


def _scatter(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Scatter positions [deg] evenly over the sphere within the fields."""
    low_N, high_N, south_N, north_N = np.array(FIELDS).T
    areas = (high_N - low_N) * (np.sin(np.radians(north_N)) - np.sin(np.radians(south_N)))
    low_N, high_N, south_N, north_N = np.array(FIELDS)[rng.choice(len(FIELDS), rows, p=areas / areas.sum())].T
    sine_N = rng.uniform(np.sin(np.radians(south_N)), np.sin(np.radians(north_N)))
    return rng.uniform(low_N, high_N) % 360.0, np.degrees(np.arcsin(sine_N))
