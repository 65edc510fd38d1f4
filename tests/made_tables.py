"""Tables of galaxies whose colours follow their redshift, as other surveys write theirs."""

from pathlib import Path
from typing import Any

import hats.io
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.table import Table
from hats.catalog import TableProperties
from hats.pixel_math import HealpixPixel
from hats.pixel_math.spatial_index import compute_spatial_index

BIG = 2**61 + 7
"""An identifier beyond what a float holds."""
NJY = 3631e9  # of AB magnitude 0
REDDENED = 0.05  # [mag] E(B-V) of all

Floats = npt.NDArray[np.float64]


class Sky:
    """N galaxies: positions [deg], redshifts, and by band the flux above the atmosphere [nJy] and its error."""

    def __init__(self, bands: str, count: int, seed: int, centre: tuple[float, float] = (53.0, -28.0)) -> None:
        rng = np.random.default_rng(seed)
        self.bands, self.count = tuple(bands.split(",")), count
        self.ra = centre[0] + rng.uniform(-1, 1, count)
        self.dec = centre[1] + rng.uniform(-1, 1, count)
        self.z = rng.uniform(0.05, 0.8, count)
        faint = rng.uniform(20.5, 22.5, count)
        self.flux: dict[str, Floats] = {}
        self.error: dict[str, Floats] = {}
        for place, band in enumerate(self.bands):
            magnitude = faint + 1.5 * self.z - 2.2 * self.z * place / len(self.bands) - 0.1 * place
            flux = NJY * 10 ** (-0.4 * magnitude)
            self.error[band] = np.full(count, 60.0 if place else 700.0)  # the first band is shallow: negative fluxes
            self.flux[band] = flux + rng.normal(0, self.error[band])


def write_des(path: Path, sky: Sky, *, redshifts: bool) -> None:
    """Write DES' magnitudes, reddened; FITS, big-endian, 99 where the flux is not positive."""
    coefficients = {"g": 3.186, "r": 2.140, "i": 1.569, "z": 1.196, "Y": 1.048}
    columns = [
        fits.Column("COADD_OBJECT_ID", "K", array=BIG + np.arange(sky.count)),
        fits.Column("RA", "D", unit="deg", array=sky.ra),
        fits.Column("DEC", "D", unit="deg", array=sky.dec),
        fits.Column("EBV_SFD98", "E", array=np.full(sky.count, REDDENED, np.float32)),
    ]
    for band in sky.bands:
        flux, error = sky.flux[band], sky.error[band]
        dark = flux <= 0
        with np.errstate(invalid="ignore", divide="ignore"):
            mag = np.where(dark, 99.0, -2.5 * np.log10(flux / NJY) + REDDENED * coefficients[band])
        magerr = np.where(dark, 99.0, 2.5 / np.log(10) * error / np.abs(flux))
        columns.append(fits.Column(f"MAG_AUTO_{band.upper()}", "E", unit="mag", array=mag.astype(np.float32)))
        columns.append(fits.Column(f"MAGERR_AUTO_{band.upper()}", "E", unit="mag", array=magerr.astype(np.float32)))
    if redshifts:
        columns.append(fits.Column("z_spec", "E", array=sky.z.astype(np.float32)))
    fits.BinTableHDU.from_columns(columns).writeto(path)


def write_legacy(path: Path, sky: Sky, *, redshifts: bool) -> None:
    """Write the Legacy Surveys' nanomaggies, dimmed, with inverse variances; FITS with an identifier of three parts."""
    columns = [
        fits.Column("RELEASE", "I", array=np.full(sky.count, 10000, np.int16)),
        fits.Column("BRICKID", "J", array=np.repeat(np.arange(2), -(-sky.count // 2))[: sky.count].astype(np.int32)),
        fits.Column("OBJID", "J", array=np.arange(sky.count, dtype=np.int32)),
        fits.Column("RA", "D", unit="deg", array=sky.ra),
        fits.Column("DEC", "D", unit="deg", array=sky.dec),
    ]
    nanomaggy = NJY * 1e-9
    for place, band in enumerate(sky.bands):
        transmission = 0.9 + 0.01 * place
        scale = transmission / nanomaggy
        ivar = 1 / (sky.error[band] * scale) ** 2
        if not place:
            ivar[::17] = 0  # not observed
        columns.append(fits.Column(f"FLUX_{band.upper()}", "E", array=(sky.flux[band] * scale).astype(np.float32)))
        columns.append(fits.Column(f"FLUX_IVAR_{band.upper()}", "E", array=ivar.astype(np.float32)))
        constant = np.full(sky.count, transmission, np.float32)
        columns.append(fits.Column(f"MW_TRANSMISSION_{band.upper()}", "E", array=constant))
    if redshifts:
        columns.append(fits.Column("z_spec", "E", array=sky.z.astype(np.float32)))
    fits.BinTableHDU.from_columns(columns).writeto(path)


def make_rubin(sky: Sky, *, redshifts: bool) -> pa.Table:
    """Make Rubin's Object table: reddened nJy, negative ones kept."""
    coefficients = {"u": 4.81, "g": 3.64, "r": 2.70, "i": 2.06, "z": 1.58, "y": 1.31}
    columns: dict[str, Any] = {
        "objectId": pa.array(BIG + np.arange(sky.count)),
        "coord_ra": sky.ra,
        "coord_dec": sky.dec,
        "ebv": pa.array(np.full(sky.count, REDDENED, np.float32)),
    }
    for band in sky.bands:
        dimmed = 10 ** (-0.4 * REDDENED * coefficients[band])
        columns[f"{band}_cModelFlux"] = pa.array((sky.flux[band] * dimmed).astype(np.float32))
        columns[f"{band}_cModelFluxErr"] = pa.array((sky.error[band] * dimmed).astype(np.float32))
    if redshifts:
        columns["z_spec"] = pa.array(sky.z.astype(np.float32))
    return pa.table(columns)


def write_rubin(folder: Path, sky: Sky, *, redshifts: bool) -> None:
    """Write the table as Parquet, a folder for each tract."""
    table = make_rubin(sky, redshifts=redshifts)
    half = len(table) // 2
    for tract, part in ((5063, table.slice(0, half)), (5064, table.slice(half))):
        (folder / f"tract={tract}").mkdir(parents=True)
        pq.write_table(part, folder / f"tract={tract}" / "objects.parquet")


def write_hats(folder: Path, table: pa.Table, *, ra: str, dec: str, order: int = 5, name: str = "objects") -> None:
    """Write a HATS collection with the libraries of others, its primary table of a name of its own, rows unsorted."""
    index = np.asarray(compute_spatial_index(table[ra].to_numpy(), table[dec].to_numpy()), np.int64)
    table = table.append_column("_healpix_29", pa.array(index))
    pixels = index >> 2 * (29 - order)
    primary = folder / name
    found = sorted(set(pixels.tolist()))
    for pixel in found:
        path = hats.io.pixel_catalog_file(primary, HealpixPixel(order, pixel))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.filter(pa.array(pixels == pixel)), path)
    hats.io.write_parquet_metadata(primary)
    (primary / "partition_info.csv").write_text("Norder,Npix\n" + "".join(f"{order},{pixel}\n" for pixel in found))
    TableProperties(
        catalog_name=name, catalog_type="object", total_rows=len(table), ra_column=ra, dec_column=dec
    ).to_properties_file(primary)
    (folder / "collection.properties").write_text(f"obs_collection=made\nhats_primary_table_url={name}\n")


def write_votable(path: Path, table: Table, *, form: str = "tabledata") -> None:
    """Write a VOTable by astropy's Python, over what is there.

    astropy's writer in C, which ``Table.write`` takes, puts a 0 behind the memory of a row whose text has exactly 256,
    512, 1024, ... characters (astropy/astropy#20419, in 8.0.2 and before): some objects later the process dies, mostly
    while Python collects garbage.
    """
    from_table(table).to_xml(str(path), tabledata_format=form, _debug_python_based_parser=True)
