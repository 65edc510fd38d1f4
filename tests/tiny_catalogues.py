"""Photo-z catalogues (HATS) and a training set on disk, with a realistic scatter, made in a moment."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units
from astropy_healpix import HEALPix
from from_magnitudes import make_columns
from scipy.stats import norm

from photoz.catalogue.hats import PRIMARY, Partition, finish_catalogue, finish_collection, write_partition
from photoz.estimators import Estimates, Pdfs
from photoz.inference import make_table
from photoz.schema import HEALPIX_COLUMN, LEVELS, Flag, make_catalogue_schema, make_training_schema
from photoz.settings.config import Config, convert_config

BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")


@dataclass(frozen=True, eq=False)
class Sky:
    """N galaxies: identifiers, positions [deg], redshifts, r magnitudes and g - r colours [mag]."""

    object_id: npt.NDArray[np.str_]
    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]
    z_spec: npt.NDArray[np.float64]
    mag: npt.NDArray[np.float64]
    colour: npt.NDArray[np.float64]


def make_sky(count: int, *, seed: int = 1, box: tuple[float, float, float, float] = (179.0, 181.0, -1.0, 1.0)) -> Sky:
    """Draw galaxies of a GAMA-like n(z) in a box of right ascension and declination [deg]."""
    generator = np.random.default_rng(seed)
    z_spec = np.clip(generator.gamma(4.2, 0.056, count), 0.005, 0.9)
    return Sky(
        object_id=np.array([f"KiDSDR4 J{seed}.{i:07d}" for i in range(count)]),
        ra=generator.uniform(box[0], box[1], count),
        dec=generator.uniform(box[2], box[3], count),
        z_spec=z_spec,
        mag=np.minimum(19.999, 20 - generator.exponential(0.9, count) + (z_spec - 0.3)),
        colour=0.4 + 1.3 * z_spec + 0.2 * generator.standard_normal(count),
    )


def make_estimates(sky: Sky, *, scatter: float, seed: int = 2) -> npt.NDArray[np.float64]:
    """Scatter the redshifts with heavy tails, a pull towards the mean and a few outliers; 0.3 % are NaN."""
    generator = np.random.default_rng(seed)
    z = sky.z_spec
    spread = 0.85 * scatter * (0.8 + 0.25 * np.clip(sky.mag - 18.5, 0, None)) * (1 + z)
    z_phot = z + spread * generator.standard_t(4, len(z)) + 1.2 * scatter * (0.23 - z)
    outliers = generator.random(len(z)) < 0.004
    z_phot[outliers] = generator.uniform(0.02, 0.6, int(outliers.sum()))
    z_phot[generator.random(len(z)) < 0.003] = np.nan
    return np.maximum(z_phot, -0.02, where=~np.isnan(z_phot), out=z_phot)


def make_pdfs(sky: Sky, *, width: float, claimed: float, seed: int = 3) -> tuple[npt.NDArray[np.float64], Pdfs]:
    """Draw z_phot of a scatter ``width`` (1 + z), whose p(z) claims the scatter ``claimed``; 0.3 % have neither."""
    generator = np.random.default_rng(seed)
    z_phot = sky.z_spec + width * (1 + sky.z_spec) * generator.standard_normal(len(sky.z_spec))
    z_phot[7::300] = np.nan
    quantiles = norm.ppf(np.asarray(LEVELS)[None], z_phot[:, None], claimed * (1 + sky.z_spec[:, None]))
    distance = generator.gamma(4.0, 0.1, len(z_phot)).astype(np.float32)
    return z_phot, Pdfs(quantiles.astype(np.float32), np.full(len(z_phot), 0.004, np.float32), distance)


def write_photoz(
    location: str,
    sky: Sky,
    z_phot: npt.NDArray[np.float64],
    *,
    order: int = 4,
    pdf: Pdfs | None = None,
    algorithm: str = "double",
) -> None:
    """Write a finished photo-z catalogue (HATS collection) with one file a HEALPix pixel of ``order``."""
    healpix = HEALPix(nside=2**29, order="nested").lonlat_to_healpix(sky.ra * units.deg, sky.dec * units.deg)
    flags = np.where(np.isnan(z_phot), int(Flag.ESTIMATE_FAILED), 0)
    flags[::50] |= int(Flag.MASKED_PIXELS)
    if pdf is not None:
        flags |= np.where(pdf.distance_N > 1, int(Flag.OUTSIDE_TRAINING), 0)
    columns = [healpix, sky.object_id, sky.ra, sky.dec, np.full(len(sky.ra), "KIDS_180.0_-0.5"), sky.mag, z_phot, flags]
    schema = make_catalogue_schema()
    table = pa.table([pa.array(c).cast(f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
    if pdf is not None:
        estimates = Estimates(z_phot.astype(np.float32), flags.astype(np.int32), pdf)
        table = make_table(table, estimates, algorithm=algorithm)
    pixels = healpix >> 2 * (29 - order)
    rows = []
    for pixel in np.unique(pixels):
        part = Partition(order=order, pixel=int(pixel))
        written, _ = write_partition(f"{location}/{PRIMARY}", part, table.filter(pa.array(pixels == pixel)))
        rows.append((part, written))
    finish_catalogue(location, rows, info={})
    finish_collection(location, name="photoz", margin=False)


def write_training_set(location: str, sky: Sky, split: npt.NDArray[np.str_], *, parts: int = 2) -> None:
    """Write ``set/part-*.parquet`` with the training set's columns; g and r are set, the other bands are NaN."""
    schema = make_training_schema(BANDS, None)
    count = len(sky.ra)
    values = {
        HEALPIX_COLUMN: np.zeros(count),
        "object_id": sky.object_id,
        "ra": sky.ra,
        "dec": sky.dec,
        "tile": np.full(count, ""),
        "mag_auto": sky.mag,
        **make_columns(("g", "r"), np.stack([sky.mag + sky.colour, sky.mag], axis=1)),
        "z_spec": sky.z_spec,
        "split": split,
    }
    blank = {f.name: np.full(count, np.nan) if pa.types.is_floating(f.type) else np.zeros(count, int) for f in schema}
    table = pa.table([pa.array({**blank, **values}[f.name]).cast(f.type, safe=False) for f in schema], schema=schema)
    Path(location, "set").mkdir(parents=True, exist_ok=True)
    size = -(-count // parts)
    for part in range(parts):
        pq.write_table(table.slice(part * size, size), f"{location}/set/part-4-{part}.parquet")


def make_config(folder: Path, **sections: dict[str, object]) -> Config:
    """Make settings whose locations lie in ``folder``."""
    names = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
    locations = {name: str(folder / name) for name in names}
    return convert_config({"run": {"name": "test"}, "locations": locations, **sections})
