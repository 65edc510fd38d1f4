#!/usr/bin/env python
r"""Measure the pixels of a stored tile by band: noise, its correlation, depth, and seeing. For docs/real-pixels.md.

    python tests/benchmarks/measure_pixels.py CONFIG.toml [--set section.key=value ...]

Of the first tile of ``locations.tiles``; stars are those of the survey's own catalogue.
"""

import argparse

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, median_filter, zoom

from photoz.photometry import AB_ZEROPOINT
from photoz.settings.config import Config, load_config
from photoz.survey.files import find_tiles
from photoz.tiles import Tile, list_tiles, open_tile

LAGS = (1, 2, 3, 4, 6)
_APERTURES = 3000
_SIDE = 64  # [pixel] of the squares in which the sky is levelled
FloatArray = NDArray[np.floating]


def find_blank(detection_YX: FloatArray) -> NDArray[np.bool_]:
    """Find the pixels that are far from any light: of the detection band, smoothed."""
    known_YX = np.isfinite(detection_YX)
    smooth_YX = gaussian_filter(np.where(known_YX, detection_YX, 0), 3)
    sigma = measure_sigma(smooth_YX[known_YX])
    bright_YX = smooth_YX - np.median(smooth_YX[known_YX]) > 2 * sigma
    return np.asarray(known_YX & ~binary_dilation(bright_YX, iterations=12))


def measure_sigma(values: FloatArray) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def level(image_YX: FloatArray, blank_YX: NDArray[np.bool_]) -> FloatArray:
    """Take the sky off, as medians of the blank pixels in squares; NaN where nothing is blank."""
    rows, columns = (side // _SIDE * _SIDE for side in image_YX.shape)
    sky_YX = np.where(blank_YX, image_YX, np.nan)[:rows, :columns]
    squares = sky_YX.reshape(rows // _SIDE, _SIDE, columns // _SIDE, _SIDE).transpose(0, 2, 1, 3)
    few = np.isfinite(squares).sum(axis=(2, 3)) < 200
    medians = np.nanmedian(np.where(few[..., None, None], 0, squares), axis=(2, 3))
    medians = np.where(few, np.median(medians[~few]), medians)
    return np.asarray(sky_YX - zoom(median_filter(medians, 3), _SIDE, order=1, grid_mode=True, mode="nearest"))


def correlate(sky_YX: FloatArray) -> list[float]:
    """Correlate blank pixels with those some columns and some rows away; the mean of both."""
    variance = np.nanmean(sky_YX**2)
    return [
        float(np.mean([np.nanmean(sky_YX[k:] * sky_YX[:-k]), np.nanmean(sky_YX[:, k:] * sky_YX[:, :-k])]) / variance)
        for k in LAGS
    ]


def measure_apertures(sky_YX: FloatArray, radius: float) -> float:
    """Measure the scatter of sums over circles of blank pixels, of a radius [pixel]."""
    rng, reach = np.random.default_rng(1), int(radius) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    circle = np.hypot(y, x) <= radius
    rows, columns = (rng.integers(reach, side - reach, _APERTURES * 10) for side in sky_YX.shape)
    windows = np.lib.stride_tricks.sliding_window_view(sky_YX, circle.shape)[rows - reach, columns - reach]
    sums = windows[:, circle].sum(axis=1)
    # In units of the same area where the circle is not a whole number of pixels.
    return measure_sigma(sums[np.isfinite(sums)][:_APERTURES]) * np.sqrt(np.pi * radius**2 / circle.sum())


def measure_seeing(image_YX: FloatArray, x_N: FloatArray, y_N: FloatArray, scale: float) -> float:
    """Measure the full width at half maximum of stars [arcsec], by their stacked profile."""
    reach = int(3 / scale)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    radii, heights = [], []
    for column, row in zip(x_N, y_N, strict=True):
        i, j = round(float(row)), round(float(column))
        stamp = image_YX[max(i - reach, 0) : i + reach + 1, max(j - reach, 0) : j + reach + 1]
        if stamp.shape != y.shape or not np.isfinite(stamp).all():
            continue
        edge = np.hypot(y, x) > 0.9 * reach
        light = stamp - np.median(stamp[edge])
        core = np.where(np.hypot(y, x) < 1.2 / scale, np.maximum(light, 0), 0)
        if core.sum() <= 0:
            continue
        distance = np.hypot(y - (core * y).sum() / core.sum(), x - (core * x).sum() / core.sum()) * scale
        radii.append(distance.ravel())
        heights.append((light / light[np.hypot(y, x) < 2 / scale].sum()).ravel())
    edges = np.arange(0, 2, 0.1)
    bins = np.digitize(np.concatenate(radii), edges)
    profile = np.array([np.median(np.concatenate(heights)[bins == k]) for k in range(1, len(edges))])
    # The innermost is the height; each bin's middle is its radius.
    return 2 * float(np.interp(-profile[0] / 2, -profile, edges[:-1] + 0.05))


def read_stars(config: Config, tile: Tile) -> tuple[FloatArray, FloatArray]:
    """Read where the stars of 16.5 < r < 19 are on a tile [pixel]."""
    (files,) = [each for each in find_tiles(config.survey, config.locations.survey) if each.name == tile.name]
    rows = Table.read(files.catalogue, hdu=1)
    rows = rows[(rows["SG2DPHOT"] == 1) & (rows["MAG_AUTO"] > 16.5) & (rows["MAG_AUTO"] < 19)]
    x_N, y_N = tile.wcs.all_world2pix(rows["RAJ2000"], rows["DECJ2000"], 0)
    return np.asarray(x_N), np.asarray(y_N)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options = parser.parse_args()
    config = load_config(options.config, options.set)
    tile = open_tile(config.locations.tiles, list_tiles(config.locations.tiles)[0])
    image_BYX = tile.read_window(0, tile.shape[0], 0, tile.shape[1])
    blank_YX, (x_N, y_N) = find_blank(image_BYX[tile.bands.index("r")]), read_stars(config, tile)
    scale = config.survey.pixel_scale
    print(f"{tile.name}: {tile.shape}, {100 * blank_YX.mean():.0f} % blank, {len(x_N)} stars\n")
    lags = ", ".join(map(str, LAGS))
    print(f"| band | noise [nJy] | correlation at {lags} pixels | depth | if independent | seeing [arcsec] |")
    print("|---|---|---|---|---|---|")
    for band, image_YX in zip(tile.bands, image_BYX, strict=True):
        unit = 10 ** (0.4 * (AB_ZEROPOINT - tile.attributes["zero_points"][band]))
        sky_YX = level(image_YX.astype(np.float64) * unit, blank_YX & np.isfinite(image_YX))
        sigma = measure_sigma(sky_YX[np.isfinite(sky_YX)])
        sums, alone = measure_apertures(sky_YX, 1 / scale), sigma * np.sqrt(np.pi) / scale
        depths = " | ".join(f"{AB_ZEROPOINT - 2.5 * np.log10(5 * noise):.2f}" for noise in (sums, alone))
        told = ", ".join(f"{value:.2f}" for value in correlate(sky_YX))
        print(
            f"| {band} | {sigma:.1f} | {told} | {depths} | {measure_seeing(image_YX, x_N, y_N, scale):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
