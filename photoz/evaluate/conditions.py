"""What is known of a survey's tiles: seeing, depth and extinction, from image headers and from what ingest kept."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits

from photoz.evaluate.seeing import read_seeing
from photoz.evaluate.settings import Evaluation
from photoz.ingest.staging import read_extinction
from photoz.metrics import FloatArray
from photoz.settings.run import Locations
from photoz.survey.settings import Survey
from photoz.tiles import read_attributes

_APERTURE = math.pi  # square arcsec: a diameter of 2 arcsec, as the survey quotes its depth


@dataclass(frozen=True, eq=False)
class Conditions:
    """The conditions of T tiles.

    Parameters
    ----------
    values : mapping of str to ndarray of float64, shape (T,)
        By name with unit, as ``seeing in r [arcsec]``; NaN where a tile does not say.
    absent : sequence of str
        What the files do not say, in words.
    """

    values: Mapping[str, FloatArray]
    absent: Sequence[str]


def read_conditions(tiles: Sequence[str], locations: Locations, survey: Survey, settings: Evaluation) -> Conditions:
    """Read seeing and depth of every band from the tiles' attributes, and the extinction from what ingest staged.

    Parameters
    ----------
    tiles : sequence of str
        Names; one that is nowhere has no conditions.
    locations : Locations
        ``tiles`` and ``sources`` are read.
    survey, settings
        As in `collect_conditions`.

    Returns
    -------
    Conditions
    """
    # From the store's attributes: the FITS files themselves may be gone once a survey is ingested.
    attributes = [read_attributes(locations.tiles, name) for name in tiles]
    extinction = np.array([read_extinction(locations.sources, name) for name in tiles], dtype=float)
    table = read_seeing(tiles, survey.image_bands, settings)
    return collect_conditions(attributes, extinction, survey, settings, table=table)


def collect_conditions(
    attributes: Sequence[Mapping[str, Any]],
    extinction_T: FloatArray,
    survey: Survey,
    settings: Evaluation,
    *,
    table: Mapping[str, FloatArray] | None = None,
) -> Conditions:
    """Collect the conditions that any tile says.

    Parameters
    ----------
    attributes : sequence of mapping
        Of each tile's Zarr group: ``headers`` holds the text of a FITS header by band; {} for a tile that is not there.
    extinction_T : ndarray of float64, shape (T,)
        [mag] NaN where ingest recorded none.
    survey : Survey
        Bands, pixel scale and zero point of the images.
    settings : Evaluation
        ``seeing_key`` and ``noise_key`` name the header keywords; "" for none. ``seeing`` where nothing else tells it.
    table : mapping of str to ndarray of float64, shape (T,), optional
        From `photoz.evaluate.seeing.read_seeing`.

    Returns
    -------
    Conditions
    """
    bands, absent = survey.image_bands, []
    seeing = _gather_seeing(attributes, bands, settings, table or {})
    noise = _read_bands(attributes, bands, settings.noise_key)
    conditions = {f"seeing in {band} [arcsec]": values_T for band, values_T in seeing.items()}
    for band, noise_T in noise.items():
        # The noise is in the files' unit, whatever the store's is.
        zeropoint_T = np.array([_find_zeropoint(tile, band, survey.zeropoint) for tile in attributes])
        depth_T = compute_depth(noise_T, pixel_scale=survey.get_pixel_scale(band), zeropoint=zeropoint_T)
        conditions[f"5-sigma depth in {band} [mag]"] = depth_T
    # Said on the page instead of left out in silence: KiDS's keywords are unchecked, so a real survey may have none of
    # ours.
    for what, key, found in (("seeing", settings.seeing_key, seeing), ("5-sigma depth", settings.noise_key, noise)):
        if not found:
            absent.append(f"no image header has {key or 'a keyword'} ({what})")
    if np.isfinite(extinction_T).any():
        # In the band of the total magnitude, the only one of whose extinction ingest records a mean.
        conditions[f"extinction in {survey.mag_auto_band} [mag]"] = extinction_T
    else:
        absent.append("ingest recorded no extinction")
    return Conditions(conditions, absent)


def compute_depth(noise_T: FloatArray, *, pixel_scale: float, zeropoint: FloatArray | float) -> FloatArray:
    """Compute the 5-sigma limit in an aperture of 2 arcsec across.

    Parameters
    ----------
    noise_T : ndarray of float64, shape (T,)
        [flux] standard deviation of a pixel of empty sky, taken as independent of its neighbours'.
    pixel_scale : float
        [arcsec / pixel]
    zeropoint : float or ndarray of float64, shape (T,)
        [mag(AB)] of a flux of 1.

    Returns
    -------
    ndarray of float64, shape (T,)
        [mag(AB)] NaN where the noise is NaN or negative.

    Examples
    --------
    >>> compute_depth(np.array([0.2 / 5 / np.pi**0.5]), pixel_scale=0.2, zeropoint=25.0).round(6).tolist()
    [25.0]
    """
    pixels = _APERTURE / pixel_scale**2
    with np.errstate(invalid="ignore", divide="ignore"):
        # Noise adds up as the root of the pixels only where they are independent, which a resampled coadd's are not:
        # there the depth comes out too deep.
        depth_T: FloatArray = zeropoint - 2.5 * np.log10(5 * noise_T * math.sqrt(pixels))
    return depth_T


def _gather_seeing(
    attributes: Sequence[Mapping[str, Any]],
    bands: Sequence[str],
    settings: Evaluation,
    table: Mapping[str, FloatArray],
) -> dict[str, FloatArray]:
    """Gather the seeing of each band: by the table, else the header, else the setting; bands of none are left out."""
    headers, found = _read_bands(attributes, bands, settings.seeing_key), {}
    for band in bands:
        values_T = np.full(len(attributes), settings.seeing.get(band, math.nan))
        for told in (headers, table):
            if band in told:
                values_T = np.where(np.isfinite(told[band]), told[band], values_T)
        if np.isfinite(values_T).any():
            found[band] = values_T
    return found


def _find_zeropoint(attributes: Mapping[str, Any], band: str, default: float) -> float:
    """Return the zero point of a band's file [mag(AB)], as ingest recorded it."""
    told = attributes.get("file_zero_points") or attributes.get("zero_points") or {}
    return float(told.get(band, default))


def _read_bands(attributes: Sequence[Mapping[str, Any]], bands: Sequence[str], key: str) -> dict[str, FloatArray]:
    """Read a keyword of every tile's header by band, shape (T,); bands that no tile tells it for are left out."""
    values = {band: np.array([_read_header(each, band, key) for each in attributes], dtype=float) for band in bands}
    return {band: values_T for band, values_T in values.items() if np.isfinite(values_T).any()}


def _read_header(attributes: Mapping[str, Any], band: str, key: str) -> float:
    text = attributes.get("headers", {}).get(band, "")
    # The text was kept with line ends, where FITS itself has cards of 80 characters without.
    value = fits.Header.fromstring(text, sep="\n").get(key) if key else None
    # A header's T and F come as bool, which Python counts among the integers.
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
