#!/usr/bin/env python
"""Measure what resampling to the tile's pixels does to stars, noise and the clock: ours against those of `reproject`.

pip install reproject
python tests/benchmarks/measure_resampling.py

Stars of a Moffat profile on pixels of 0.339 arcsec, turned by 0.3 degrees, are brought to 0.2 arcsec and held against
the same profile drawn there. Prints a table; docs/images.md has it.
"""

import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from photoz.ingest.resample import ResampledRows
from photoz.survey.fits import RowReader, inspect_image
from photoz.survey.warp import make_warp
from photoz.survey.wcs import align_bands

SIDE, SCALES, STARS, BETA = 2000, (0.2, 0.339), 400, 3.5
STRIPE = 1024
AREA = (SCALES[0] / SCALES[1]) ** 2
FloatArray = NDArray[np.floating]


def make_wcs(side: int, scale: float, *, turn: float = 0.0, shift: float = 0.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [(side + 1) / 2] * 2
    wcs.wcs.crval = [180 + shift / 3600, -0.5 + 2 * shift / 3600]
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * scale / 3600
    wcs.wcs.set()
    return wcs


TILE, OTHER_SIDE = make_wcs(SIDE, SCALES[0]), int(SIDE * SCALES[0] / SCALES[1]) + 40
OTHER = make_wcs(OTHER_SIDE, SCALES[1], turn=0.3, shift=0.13)
X, Y = np.random.default_rng(0).uniform(60, SIDE - 60, (2, STARS))


def draw_stars(wcs: WCS, side: int, scale: float, seeing: float) -> FloatArray:
    """Draw the stars, of flux 1, as pixels of a scale see them; the profile has the pixel in it."""
    image, reach, core = np.zeros((side, side)), int(12 / scale), (seeing / 2) ** 2 / (2 ** (1 / BETA) - 1)
    for x, y in zip(*wcs.all_world2pix(*TILE.all_pix2world(X, Y, 0), 0), strict=True):
        rows, columns = (slice(max(round(p) - reach, 0), round(p) + reach + 1) for p in (float(y), float(x)))
        part = image[rows, columns]
        yy, xx = np.mgrid[rows.start : rows.start + part.shape[0], columns.start : columns.start + part.shape[1]]
        square = ((yy - y) ** 2 + (xx - x) ** 2) * scale**2
        part += (BETA - 1) / np.pi / core * (1 + square / core) ** -BETA * scale**2
    return image


def resample(image: FloatArray) -> FloatArray:
    """Resample as ingest does, from a file, a stripe at a time."""
    with TemporaryDirectory() as folder:
        for name, wcs, pixels in (("tile", TILE, np.zeros((SIDE, SIDE), np.uint8)), ("other", OTHER, image)):
            fits.PrimaryHDU(pixels, wcs.to_header()).writeto(Path(folder) / f"{name}.fits")
        tile, other = (inspect_image(f"{folder}/{name}.fits") for name in ("tile", "other"))
        warp = make_warp(other, align_bands({"r": tile}, pixel_scale=SCALES[0]), pixel_scale=SCALES[1], setting="")
        with RowReader(other) as reader:
            rows = ResampledRows(reader, warp, SIDE, factor=warp.area)
            return np.concatenate([rows.read(y, min(STRIPE, SIDE - y)).values_YX for y in range(0, SIDE, STRIPE)])


def _reproject() -> Any:
    # When it is called: the tests look into this file for examples, and have no such package.
    return import_module("reproject")


def interpolate(image: FloatArray, order: str) -> FloatArray:
    found = _reproject().reproject_interp(
        (image, OTHER), TILE, shape_out=(SIDE, SIDE), order=order, return_footprint=False
    )
    return np.asarray(found * AREA)


def average(image: FloatArray, kernel: str) -> FloatArray:
    options = {"kernel": kernel, "conserve_flux": True, "return_footprint": False}
    return np.asarray(_reproject().reproject_adaptive((image, OTHER), TILE, shape_out=(SIDE, SIDE), **options))


def overlap(image: FloatArray) -> FloatArray:
    return np.asarray(
        _reproject().reproject_exact((image, OTHER), TILE, shape_out=(SIDE, SIDE), return_footprint=False) * AREA
    )


METHODS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "ours (cubic splines)": resample,
    "reproject_interp, bicubic": partial(interpolate, order="bicubic"),
    "reproject_interp, bilinear": partial(interpolate, order="bilinear"),
    "reproject_adaptive, Hann": partial(average, kernel="hann"),
    "reproject_adaptive, Gaussian": partial(average, kernel="gaussian"),
    "reproject_exact": overlap,
}


def compare(found: FloatArray, expected: FloatArray) -> tuple[str, str]:
    """Compare the brightest pixel, and the flux within 1.5 arcsec: median or mean, and scatter, in percent."""
    peaks, fluxes, reach = [], [], 8
    for x, y in zip(X, Y, strict=True):
        row, column = round(float(y)), round(float(x))
        part = slice(row - reach, row + reach + 1), slice(column - reach, column + reach + 1)
        yy, xx = np.mgrid[part]
        circle = np.hypot(yy - y, xx - x) * SCALES[0] < 1.5
        peaks.append(100 * (found[row, column] / expected[row, column] - 1))
        fluxes.append(100 * (found[part][circle].sum() / expected[part][circle].sum() - 1))
    return f"{np.median(peaks):+.1f} ± {np.std(peaks):.1f}", f"{np.mean(fluxes):+.2f} ± {np.std(fluxes):.2f}"


def describe_noise(noise: FloatArray) -> str:
    """Tell the standard deviation of independent noise of 1, per area, and its correlation."""
    inner = noise[50:-50, 50:-50]
    lags = [np.nanmean(inner[:, k:] * inner[:, :-k]) / np.nanvar(inner) for k in (1, 2, 3)]
    return f"{np.nanstd(inner) / AREA:.2f} | {', '.join(f'{lag:.2f}' for lag in lags)}"


def main() -> None:
    warnings.simplefilter("ignore")
    seeings = (0.7, 0.9)
    noise = np.random.default_rng(1).standard_normal((OTHER_SIDE, OTHER_SIDE))
    pairs = [(draw_stars(OTHER, OTHER_SIDE, SCALES[1], s), draw_stars(TILE, SIDE, SCALES[0], s)) for s in seeings]
    print(
        "| method | µs a pixel | peak, flux [%] at 0.7 arcsec | at 0.9 arcsec | noise | correlation at 1, 2, 3 pixels |"
    )
    print("|---|---|---|---|---|---|")
    for name, method in METHODS.items():
        start = time.perf_counter()
        found = [method(image) for image, _ in pairs]
        took = 1e6 * (time.perf_counter() - start) / len(pairs) / SIDE**2
        told = [", ".join(compare(one, expected)) for one, (_, expected) in zip(found, pairs, strict=True)]
        print(f"| {name} | {took:.2f} | {' | '.join(told)} | {describe_noise(method(noise))} |", flush=True)


if __name__ == "__main__":
    main()
