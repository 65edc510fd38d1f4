"""FITS files under the names and with the headers of KiDS DR4, reproducible byte for byte.

But for tile-compressed images of one value, as the weights are: gzip writes the time into them. Their pixels are the
same.

Header keywords follow what survey coadds usually carry (FILTER as Astro-WISE names it, ``OCAM_<b>_SDSS``; GAIN,
EXPTIME, SEEING, PHOTZP); a release header was not at hand to compare with, so do not take them for the release's list.
``SIMULATE = T`` says in every file that the data are simulated. No date is written.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from photoz.simulate.render import BandImage, count_pixels
from photoz.simulate.sky import NEAR_INFRARED, Centre, Recipe, make_wcs
from photoz.storage import join, open_atomic

Card = tuple[Any, str]

EXPOSURE = {"u": 1000.0, "g": 900.0, "r": 1800.0, "i": 1200.0}  # s; de Jong et al. 2013, Exp. Astron. 35, 25
EXPOSURE |= {"Z": 480.0, "Y": 400.0, "J": 400.0, "H": 300.0, "Ks": 480.0}  # s; of VIKING, unchecked


def format_centre(value: float) -> str:
    """Write a centre coordinate [deg] as the file names do.

    >>> format_centre(180.0), format_centre(-0.5)
    ('180.0', '-0.5')
    """
    return f"{value:.1f}"


def format_name(pattern: str, centre: Centre, band: str = "") -> str:
    """Fill a file or tile name pattern of the survey's settings; a glob's choice ``[01]`` becomes its first character.

    Parameters
    ----------
    pattern : str
        May hold ``{ra}``, ``{dec}`` and ``{band}``.
    centre : (float, float)
        [deg] of the tile.
    band : str

    Examples
    --------
    >>> format_name("KiDS_DR4.[01]_{ra}_{dec}_{band}.fits", (180.0, -0.5), "r")
    'KiDS_DR4.0_180.0_-0.5_r.fits'
    """
    name = pattern.format(ra=format_centre(centre[0]), dec=format_centre(centre[1]), band=band)
    # A name to write holds no choice; find_tiles takes the glob as it is.
    while "[" in name:
        before, _, rest = name.partition("[")
        choice, _, after = rest.partition("]")
        name = before + choice[0] + after
    return name


@dataclass(frozen=True, eq=False)
class _Part:
    pattern: str
    data: npt.NDArray[Any]
    unit: str
    content: str


def write_band(folder: str, recipe: Recipe, centre: Centre, image: BandImage) -> list[str]:
    """Write the science, weight and flag image of a band.

    Parameters
    ----------
    folder : str
        Location of the survey's files.
    recipe : Recipe
    centre : (float, float)
        [deg] of the tile.
    image : BandImage

    Returns
    -------
    list of str
        Locations of the three files.
    """
    survey = recipe.survey.of_band(image.band)
    header = make_header(recipe, centre, image)
    parts = (
        _Part(survey.image_file, image.image, "maggy", "science image; AB: m = PHOTZP - 2.5 log10"),
        _Part(survey.weight_file, image.weight, "maggy**-2", "inverse variance of the sky noise"),
        _Part(survey.mask_file, image.mask, "", "flags: 1 core, 2 halo of a bright star"),
    )
    written = []
    for part in parts:
        if not part.pattern:  # a survey without such files
            continue
        own = header.copy()
        own["CONTENT"] = part.content
        own["BUNIT"] = part.unit
        location = join(folder, format_name(part.pattern, centre, image.band))
        written.append(write_image(location, part.data, own, compress=recipe.simulation.compress))
    return written


def make_header(recipe: Recipe, centre: Centre, image: BandImage) -> fits.Header:
    """Make the header of a band's images: projection, calibration and how the data were made.

    Parameters
    ----------
    recipe : Recipe
    centre : (float, float)
        [deg] of the tile.
    image : BandImage
    """
    band = image.band
    header = make_wcs(centre, count_pixels(recipe, band), recipe.survey.get_pixel_scale(band)).to_header()
    vista = band in NEAR_INFRARED
    for old, new in (("PC1_1", "CD1_1"), ("PC2_2", "CD2_2")):  # KiDS coadds carry a CD matrix
        # to_header writes a CD matrix as PC with CDELT = 1, so PC has CD's values. CDELT goes below: the standard
        # forbids it beside CD.
        header.rename_keyword(old, new)
    header["CD1_2"], header["CD2_1"] = 0.0, 0.0
    # No date, by which one seed would give other bytes each day; of the poles the projection's own defaults hold.
    for unwanted in ("CDELT1", "CDELT2", "LATPOLE", "LONPOLE", "MJDREF", "DATE", "DATE-OBS", "MJD-OBS"):
        header.remove(unwanted, ignore_missing=True)
    cards: dict[str, Card] = {
        "SIMULATE": (True, "simulated data, not an observation"),
        "ORIGIN": ("photoz.simulate", "software that made this file"),
        "OBJECT": (format_name(recipe.survey.tile, centre), "tile"),
        "TELESCOP": ("VISTA" if vista else "VST", "telescope that is imitated"),
        "INSTRUME": ("VIRCAM" if vista else "OMEGACAM", "instrument that is imitated"),
        "FILTER": (band if vista else f"OCAM_{band}_SDSS", "filter that is imitated"),
        "RESPONSE": (recipe.simulation.responses[band], "kcorrect response that was used"),
        "PHOTZP": (recipe.survey.zeropoint, "[mag(AB)] zero point"),
        "EXPTIME": (EXPOSURE[band], "[s] nominal"),
        "GAIN": (image.gain, "[electron / maggy]"),
        "SKYNOISE": (image.sky_noise, "[maggy] standard deviation of empty sky"),
        "SEEING": (image.psf.seeing, "[arcsec] FWHM of the PSF"),
        "PSFELL": (math.hypot(*image.psf.shear), "shear of the PSF"),
        "SEED": (recipe.seed, "of the simulation"),
    }
    for key, card in cards.items():
        header[key] = card
    return header


def write_image(location: str, data: npt.NDArray[Any], header: fits.Header, *, compress: bool) -> str:
    """Write one image with checksums.

    Parameters
    ----------
    location : str
        Of the plain image; a compressed one has ``.fz`` behind it.
    data : ndarray, shape (Y, X)
        Numbers of any kind that FITS has.
    header : Header
    compress : bool
        Tile-compressed, floats rounded to a sixteenth of their noise.

    Returns
    -------
    str
        Location of the file.
    """
    if not compress:
        return write_fits(location, [fits.PrimaryHDU(data, header)])
    # A packed image is a table, which cannot be the first unit of a file.
    return write_fits(f"{location}.fz", [fits.PrimaryHDU(), _compress(data, header)])


def _compress(data: npt.NDArray[Any], header: fits.Header) -> fits.CompImageHDU:
    if data.dtype.kind != "f":
        # Rice's coding, fpack's default, keeps whole numbers exactly.
        return fits.CompImageHDU(data, header, compression_type="RICE_1")
    if data.min() == data.max():  # nothing to measure a noise on: keep the values as they are
        return fits.CompImageHDU(data, header, compression_type="GZIP_2", quantize_level=0)
    # Dithered (SUBTRACTIVE_DITHER_1), which keeps the mean of the sky. astropy's default seed is the clock, by which
    # the bytes would differ from run to run.
    rounding = {"quantize_level": 16, "quantize_method": 1, "dither_seed": 1}
    return fits.CompImageHDU(data, header, compression_type="RICE_1", **rounding)


def write_table(
    location: str, columns: Mapping[str, npt.NDArray[Any]], *, name: str, cards: Mapping[str, Card] | None = None
) -> str:
    """Write columns as a binary table after a primary header.

    Parameters
    ----------
    location : str
        Of the file.
    columns : mapping of str to ndarray, each of length N
    name : str
        Of the table's extension.
    cards : mapping of str to (value, comment), optional
        Of the primary header.

    Returns
    -------
    str
        Location of the file.
    """
    primary = fits.PrimaryHDU()
    for key, card in {"SIMULATE": (True, "simulated data, not an observation"), **(cards or {})}.items():
        primary.header[key] = card
    table = fits.BinTableHDU.from_columns([make_column(key, value) for key, value in columns.items()], name=name)
    return write_fits(location, [primary, table])


def make_column(name: str, values: npt.NDArray[Any]) -> fits.Column:
    """Make a FITS column of the type of an array."""
    kinds = {"f8": "D", "f4": "E", "i8": "K", "i4": "J", "i2": "I", "b1": "L"}
    if values.dtype.kind in "US":
        # A table without rows has a width, too: FITS reads 0A as a column of nothing.
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
    # A card that is against the standard ends the run here, and is not mended by astropy without a word.
    fits.HDUList(list(hdus)).writeto(buffer, output_verify="exception")
    with open_atomic(location) as file:
        file.write(buffer.getbuffer())
    return location
