"""FITS files under the names and with the headers of KiDS DR4, reproducible byte for byte.

Header keywords follow what survey coadds usually carry (FILTER as Astro-WISE names it, ``OCAM_<b>_SDSS``; GAIN,
EXPTIME, SEEING, PHOTZP); a release header was not at hand to compare with, so do not take them for the release's list.
``SIMULATE = T`` says in every file that the data are simulated. No date is written.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from photoz.settings.config import Config
from photoz.simulate.render import BandImage
from photoz.simulate.sky import Centre, make_wcs
from photoz.storage import join, open_atomic

Card = tuple[Any, str]

_EXPOSURE = {"u": 1000.0, "g": 900.0, "r": 1800.0, "i": 1200.0}  # s; de Jong et al. 2013, Exp. Astron. 35, 25


def format_centre(value: float) -> str:
    """Write a centre coordinate [deg] as the file names do.

    >>> format_centre(180.0), format_centre(-0.5)
    ('180.0', '-0.5')
    """
    return f"{value:.1f}"


def format_name(pattern: str, centre: Centre, band: str = "") -> str:
    """Fill a file or tile name pattern of ``config.survey``; a glob's choice ``[01]`` becomes its first character."""
    name = pattern.format(ra=format_centre(centre[0]), dec=format_centre(centre[1]), band=band)
    while "[" in name:
        before, _, rest = name.partition("[")
        choice, _, after = rest.partition("]")
        name = before + choice[0] + after
    return name


def write_band(config: Config, centre: Centre, band: str, image: BandImage) -> list[str]:
    """Write the science, weight and flag image of a band; return the locations."""
    header = make_header(config, centre, band, image)
    parts: dict[str, tuple[npt.NDArray[Any], str, str]] = {
        config.survey.image_file: (image.image, "maggy", "science image; AB: m = PHOTZP - 2.5 log10"),
        config.survey.weight_file: (image.weight, "maggy**-2", "inverse variance of the sky noise"),
        config.survey.mask_file: (image.mask, "", "flags: 1 core, 2 halo of a bright star"),
    }
    written = []
    for pattern, (data, unit, content) in parts.items():
        own = header.copy()
        own["CONTENT"] = content
        own["BUNIT"] = unit
        location = join(config.locations.survey, format_name(pattern, centre, band))
        written.append(write_image(location, data, own, compress=config.simulation.compress))
    return written


def make_header(config: Config, centre: Centre, band: str, image: BandImage) -> fits.Header:
    """Make the header of a band's images: projection, calibration and how the data were made."""
    header = make_wcs(centre, config.simulation.pixels, config.survey.pixel_scale).to_header()
    for old, new in (("PC1_1", "CD1_1"), ("PC2_2", "CD2_2")):  # KiDS coadds carry a CD matrix
        header.rename_keyword(old, new)
    header["CD1_2"], header["CD2_1"] = 0.0, 0.0
    for unwanted in ("CDELT1", "CDELT2", "LATPOLE", "LONPOLE", "MJDREF", "DATE", "DATE-OBS", "MJD-OBS"):
        header.remove(unwanted, ignore_missing=True)
    cards: dict[str, Card] = {
        "SIMULATE": (True, "simulated data, not an observation"),
        "ORIGIN": ("photoz.simulate", "software that made this file"),
        "OBJECT": (format_name(config.survey.tile, centre), "tile"),
        "TELESCOP": ("VST", "telescope that is imitated"),
        "INSTRUME": ("OMEGACAM", "instrument that is imitated"),
        "FILTER": (f"OCAM_{band}_SDSS", "filter that is imitated"),
        "RESPONSE": (config.simulation.responses[band], "kcorrect response that was used"),
        "PHOTZP": (config.survey.zeropoint, "[mag(AB)] zero point"),
        "EXPTIME": (_EXPOSURE[band], "[s] nominal"),
        "GAIN": (image.gain, "[electron / maggy]"),
        "SKYNOISE": (image.sky_noise, "[maggy] standard deviation of empty sky"),
        "SEEING": (image.seeing, "[arcsec] FWHM of the PSF"),
        "PSFELL": (image.ellipticity, "shear of the PSF"),
        "SEED": (config.run.seed, "of the simulation"),
    }
    for key, card in cards.items():
        header[key] = card
    return header


def write_image(location: str, data: npt.NDArray[Any], header: fits.Header, *, compress: bool) -> str:
    """Write one image with checksums, plain or tile-compressed; return its location."""
    if not compress:
        return write_fits(location, [fits.PrimaryHDU(data, header)])
    compressed = fits.CompImageHDU(data, header, **_choose_compression(data))
    return write_fits(f"{location}.fz", [fits.PrimaryHDU(), compressed])


def _choose_compression(data: npt.NDArray[Any]) -> dict[str, Any]:
    if data.dtype.kind != "f":
        return {"compression_type": "RICE_1"}
    if data.min() == data.max():  # nothing to measure a noise on: keep the values as they are
        return {"compression_type": "GZIP_2", "quantize_level": 0}
    return {"compression_type": "RICE_1", "quantize_level": 16, "quantize_method": 1, "dither_seed": 1}


def write_table(
    location: str, columns: Mapping[str, npt.NDArray[Any]], *, name: str, cards: Mapping[str, Card] | None = None
) -> str:
    """Write columns as a binary table after a primary header with the given cards; return its location."""
    primary = fits.PrimaryHDU()
    for key, card in {"SIMULATE": (True, "simulated data, not an observation"), **(cards or {})}.items():
        primary.header[key] = card
    table = fits.BinTableHDU.from_columns([make_column(key, value) for key, value in columns.items()], name=name)
    return write_fits(location, [primary, table])


def make_column(name: str, values: npt.NDArray[Any]) -> fits.Column:
    """Make a FITS column of the type of an array."""
    kinds = {"f8": "D", "f4": "E", "i8": "K", "i4": "J", "i2": "I", "b1": "L"}
    if values.dtype.kind in "US":
        width = max(1, int(np.char.str_len(values).max(initial=1)))
        return fits.Column(name=name, format=f"{width}A", array=values)
    return fits.Column(name=name, format=kinds[values.dtype.str[1:]], array=values)


def write_fits(location: str, hdus: Sequence[Any]) -> str:
    """Write HDUs with CHECKSUM and DATASUM, whole or not at all; return the location.

    astropy puts the time into the comment of both cards; it is taken out, so that a seed gives the same bytes.
    """
    for hdu in hdus:
        hdu.add_checksum(when="simulated")
    buffer = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(buffer, output_verify="exception")
    with open_atomic(location) as file:
        file.write(buffer.getbuffer())
    return location
