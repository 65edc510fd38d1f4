"""A measured frame written as a tile of the survey: images and masks on the survey's pixel scale, and the catalogue."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from scipy.ndimage import affine_transform

from photoz.storage import join, open_atomic
from photoz.survey.frame.measure import SATURATED, FrameSources, Image, fill_name, make_nominal_wcs
from photoz.survey.settings import Frame, Survey


def write_frame(
    images: Mapping[str, Image], sources: FrameSources, frame: Frame, survey: Survey, *, folder: str
) -> list[str]:
    """Write a frame as a tile of the survey: images and masks on ``survey.pixel_scale``, and the catalogue.

    Parameters
    ----------
    images : mapping of str to ndarray of float32, shape (Y, X)
        From `read_frame`.
    sources : FrameSources
        From `measure_frame`.
    frame : Frame
        Its ``centre`` and ``pixel_scale`` [arcsec / pixel].
    survey : Survey
        File names, bands and ``pixel_scale`` of what is written.
    folder : str
        Path or URL to write into, ``locations.survey``.

    Returns
    -------
    list of str
        Locations of what was written.
    """
    zoom = frame.pixel_scale / survey.pixel_scale
    written = []
    for band in survey.image_bands:
        image = resample_image(images[band], zoom)
        mask = resample_mask(sources.saturated, image.shape, zoom)
        header = _make_header(band, image.shape, frame, survey)
        # Masks share the image's header: ingest holds their shape against it, and takes its WCS for theirs.
        for pattern, data in ((survey.image_file, image), (survey.mask_file, mask)):
            written.append(
                _write_fits(join(folder, fill_name(pattern, frame.centre, band)), [fits.PrimaryHDU(data, header)])
            )
    table = fits.BinTableHDU.from_columns([_make_column(*item) for item in sources.columns.items()], name="OBJECTS")
    primary = fits.PrimaryHDU()
    for key, card in sources.cards.items():
        primary.header[key] = card
    # The catalogue last: a frame whose writing was interrupted lacks it, and ingest says so.
    return [*written, _write_fits(join(folder, fill_name(survey.catalogue_file, frame.centre)), [primary, table])]


def resample_image(image: npt.NDArray[Any], zoom: float) -> Image:
    """Resample an image onto pixels ``zoom`` times finer about the same centre, keeping fluxes (cubic splines).

    Examples
    --------
    >>> y, x = np.mgrid[:40, :40]
    >>> star = np.exp(-((x - 20.0) ** 2 + (y - 18.0) ** 2) / 8)
    >>> finer = resample_image(star, 1.7)
    >>> finer.shape, round(float(np.nansum(finer) / star.sum()), 3)
    ((68, 68), 1.0)
    """
    # At the survey's own scale no pixel is changed, not even by rounding.
    if zoom == 1:
        return np.asarray(image, np.float32)
    bad = ~np.isfinite(image)
    # A spline through NaN is NaN all over. Divided by the number of finer pixels to a pixel, so that sums stay fluxes.
    fine = _transform(np.where(bad, 0, image), zoom, order=3) / zoom**2
    if bad.any():
        # Every pixel that a missing one has a share in, by linear interpolation; splines reach farther, but fade.
        fine[_transform(bad.astype(np.float32), zoom, order=1) > 0] = np.nan
    return fine.astype(np.float32)


def resample_mask(mask: npt.NDArray[np.bool_], shape: tuple[int, ...], zoom: float) -> npt.NDArray[np.uint8]:
    """Resample a mask onto the grid of `resample_image`, ``SATURATED`` where it is set.

    Parameters
    ----------
    mask : ndarray of bool, shape (Y, X)
    shape : (int, int)
        Of the resampled image.
    zoom : float
        As `resample_image` was given it.
    """
    # Any share of a masked pixel masks: better a pixel too many.
    fine = mask if mask.shape == shape else _transform(mask.astype(np.float32), zoom, order=1) > 0
    return np.where(fine, SATURATED, 0).astype(np.uint8)


def _transform(image: npt.NDArray[Any], zoom: float, *, order: int) -> npt.NDArray[Any]:
    shape = tuple(int(side * zoom) for side in image.shape)
    # The middle of the image stays its middle, where make_nominal_wcs puts the reference point.
    offset = [(side - 1) / 2 - (fine - 1) / 2 / zoom for side, fine in zip(image.shape, shape, strict=True)]
    # The matrix takes places of the output to the input, hence 1 / zoom. "nearest" repeats the edge, where the default
    # would take zeros from beyond it.
    return np.asarray(affine_transform(image, [1 / zoom] * 2, offset, output_shape=shape, order=order, mode="nearest"))


def _make_header(band: str, shape: Sequence[int], frame: Frame, survey: Survey) -> fits.Header:
    header = make_nominal_wcs(shape, centre=frame.centre, pixel_scale=survey.pixel_scale).to_header()
    header["OBJECT"] = (fill_name(survey.tile, frame.centre), "tile; its position is nominal")
    header["FILTER"] = band
    header["PHOTZP"] = (survey.zeropoint, "[mag(AB)] zero point")
    header["FRAMEPIX"] = (frame.pixel_scale, "[arcsec] pixel scale before resampling, as set")
    return header


def _make_column(name: str, values: npt.NDArray[Any]) -> fits.Column:
    kinds = {"f8": "D", "f4": "E", "i4": "J", "i2": "I"}
    if values.dtype.kind == "U":
        # NumPy keeps 4 bytes a character, FITS one.
        return fits.Column(name=name, format=f"{values.dtype.itemsize // 4}A", array=values)
    return fits.Column(name=name, format=kinds[values.dtype.str[1:]], array=values)


def _write_fits(location: str, hdus: Sequence[Any]) -> str:
    for hdu in hdus:
        hdu.add_checksum()
    buffer = io.BytesIO()
    # A card that is against the standard ends the run here, and is not mended by astropy without a word.
    fits.HDUList(list(hdus)).writeto(buffer, output_verify="exception")
    with open_atomic(location) as file:
        file.write(buffer.getbuffer())
    return location
