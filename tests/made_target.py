"""A source catalogue of which half lies outside the training sample, and an mlp fitted to that sample."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from astropy import units
from astropy_healpix import HEALPix

from photoz.catalogue.hats import PRIMARY, Partition, finish_catalogue, write_partition
from photoz.estimators.mlp.estimator import MlpEstimator
from photoz.estimators.photometric.base import Sample
from photoz.photometry import compute_fluxes_from_magnitudes
from photoz.schema import Flag, make_source_schema
from photoz.settings.config import Config, convert_config

BANDS = ("u", "g", "r", "i", "Z")
SMALL = {"members": 2, "hidden": [24], "least_steps": 60, "epochs": 1}
_COLOURS = np.array([[1.0, 0.6, 0.35, 0.25], [0.8, 2.4, 1.1, 0.5]])  # [mag] at z = 0, and their rise with z


def make_magnitudes(z_N: npt.NDArray[np.float64], *, shift: float, seed: int) -> npt.NDArray[np.float64]:
    """Draw magnitudes whose colours follow the redshift; ``shift`` [mag] makes galaxies fainter and bluer in u - g."""
    rng = np.random.default_rng(seed)
    r_N = 18.5 + 4.5 * z_N + rng.normal(0, 0.5, len(z_N)) + shift
    colours_NC = _COLOURS[0] + z_N[:, None] * _COLOURS[1] + rng.normal(0, 0.05, (len(z_N), 4))
    colours_NC[:, 0] -= shift
    u_N = r_N + colours_NC[:, 0] + colours_NC[:, 1]
    return u_N[:, None] - np.concatenate([np.zeros((len(z_N), 1)), np.cumsum(colours_NC, axis=1)], axis=1)


def draw_redshifts(count: int, seed: int) -> npt.NDArray[np.float64]:
    """Draw redshifts of a bright sample."""
    return np.clip(np.random.default_rng(seed).gamma(4.2, 0.056, count), 0.01, 0.8)


def make_target(folder: Path, count: int, *, training: int = 3000, order: int = 5, **fit: object) -> Config:
    """Write sources, every second one outside the training sample and these in the north alone, and the model.

    A fiftieth has no magnitude in any band.
    """
    names = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
    locations = {name: str(folder / name) for name in names}
    config = convert_config(
        {
            "run": {"name": "target"},
            "locations": locations,
            "survey": {"bands": BANDS, "image_bands": []},
            "inference": {"estimator": "mlp"},
            "engine": {"name": "serial"},
        }
    )
    z_N = draw_redshifts(training, 1)
    magnitudes_NF = make_magnitudes(z_N, shift=0.0, seed=2)
    sample = Sample(BANDS, *compute_fluxes_from_magnitudes(magnitudes_NF, np.full_like(magnitudes_NF, 0.05)), z_N)
    MlpEstimator.fit(sample, seed=1, **{**SMALL, **fit}).save(f"{config.locations.models}/mlp")
    write_sources(config.locations.sources, count, order=order)
    return config


def write_sources(location: str, count: int, *, order: int) -> None:
    """Write a source catalogue, every second galaxy of it outside the training sample."""
    rng = np.random.default_rng(3)
    far_N = np.arange(count) % 2 == 1
    z_N = draw_redshifts(count, 4)
    near_NF, far_NF = (make_magnitudes(z_N, shift=shift, seed=5) for shift in (0.0, 1.5))
    magnitudes_NF = np.where(far_N[:, None], far_NF, near_NF)
    magnitudes_NF[::50] = np.nan
    fluxes_NF, errors_NF = compute_fluxes_from_magnitudes(magnitudes_NF, np.full_like(magnitudes_NF, 0.05))
    ra_N, dec_N = rng.uniform(179, 184, count), np.where(far_N, rng.uniform(0, 2, count), rng.uniform(-2, 2, count))
    healpix_N = HEALPix(nside=2**29, order="nested").lonlat_to_healpix(ra_N * units.deg, dec_N * units.deg)
    schema = make_source_schema(BANDS)
    columns = {
        "_healpix_29": healpix_N,
        "object_id": [f"T{i:06d}" for i in range(count)],
        "ra": ra_N,
        "dec": dec_N,
        "tile": [""] * count,
        "mag_auto": magnitudes_NF[:, 2],
        "magerr_auto": np.full(count, 0.03),
        **{f"flux_{band}": fluxes_NF[:, i] for i, band in enumerate(BANDS)},
        **{f"fluxerr_{band}": errors_NF[:, i] for i, band in enumerate(BANDS)},
        "flags": np.where(np.isnan(magnitudes_NF[:, 0]), int(Flag.NO_PHOTOMETRY | Flag.BAND_NOT_OBSERVED), 0),
    }
    table = pa.table([pa.array(columns[f.name]).cast(f.type, safe=False) for f in schema], schema=schema)
    pixels, rows = healpix_N >> 2 * (29 - order), []
    for pixel in np.unique(pixels):
        part = Partition(order=order, pixel=int(pixel))
        written, _ = write_partition(f"{location}/{PRIMARY}", part, table.filter(pa.array(pixels == pixel)))
        rows.append((part, written))
    finish_catalogue(location, rows, info={})
