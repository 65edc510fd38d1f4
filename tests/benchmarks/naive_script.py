#!/usr/bin/env python
r"""What an astronomer would write to get redshifts of a catalogue from FITS images and a trained network.

    python naive_script.py IMAGES CATALOGUE.parquet MODEL THREADS OUTPUT.npy

It opens each tile's images with astropy, cuts with `Cutout2D` in a loop, and calls the network in batches: eager torch,
its default memory layout, and the C library's default settings. The network's own input (standardised magnitudes,
scaled pixels) is made by the same code as in photoz. Prints the seconds of a second pass, without imports and loading.
"""

import sys
import time
from dataclasses import replace

import astropy.units as u
import numpy as np
import pyarrow.parquet as pq
import torch
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from astropy.wcs.utils import skycoord_to_pixel

from photoz.estimators import load_estimator
from photoz.inputs import make_inputs

SIZE, BATCH = 36, 256


def cut(images, rows, bands):
    """Cut all sources of the catalogue, tile by tile and band by band."""
    cutouts = np.full((len(rows), len(bands), SIZE, SIZE), np.nan, np.float32)
    names = np.array(rows["tile"].to_pylist())
    positions = SkyCoord(rows["ra"].to_numpy() * u.deg, rows["dec"].to_numpy() * u.deg)
    for name in np.unique(names):
        for index, band in enumerate(bands):
            with fits.open(f"{images}/{name}_{band}.fits") as file:
                here = np.flatnonzero(names == name)
                # To whole pixels, else Cutout2D of an even size takes the other neighbour than photoz for half of them.
                places = np.round(skycoord_to_pixel(positions[here], WCS(file[0].header))).T
                for n, place in zip(here, places, strict=True):
                    cutout = Cutout2D(file[0].data, tuple(place), SIZE, mode="partial", fill_value=np.nan)
                    cutouts[n, index] = cutout.data
    return cutouts


def main(images, catalogue, model, threads, output):
    torch.set_num_threads(int(threads))
    estimator = load_estimator(model).without_pdf()
    estimator.network.to(memory_format=torch.contiguous_format)
    # photoz scales pixels to channels last, which the whole network would then run in.
    estimator.network.register_forward_pre_hook(lambda _, tensors: tuple(tensor.contiguous() for tensor in tensors))
    for _ in range(2):
        started = time.perf_counter()
        rows = pq.read_table(catalogue)
        inputs = make_inputs(rows, estimator.bands)
        inputs = replace(inputs, cutouts_NBYX=cut(images, rows, estimator.image_bands))
        np.save(output, estimator.estimate(inputs, batch_size=BATCH).z_phot_N)
        seconds = time.perf_counter() - started
    print(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
