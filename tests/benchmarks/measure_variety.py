"""Measure how real spectra deviate from their templates, and write what the simulation draws from.

python tests/benchmarks/measure_variety.py photoz/simulate/variety.json

From every second galaxy of the package kcorrect (`photoz.simulate.sdss.split_galaxies`); the others are left to judge.
"""

import json
import sys

import numpy as np

from photoz.simulate.residuals import compute_residuals, measure_variety
from photoz.simulate.sdss import split_galaxies
from photoz.simulate.seds import fit_galaxies, read_sdss_galaxies


def main(location: str) -> None:
    galaxies = read_sdss_galaxies()
    residuals, kept = compute_residuals(galaxies, fit_galaxies(galaxies))
    variety = measure_variety(residuals.select(split_galaxies(np.flatnonzero(kept))))
    with open(location, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(variety.to_dict(), file)
        file.write("\n")
    np.set_printoptions(precision=3, suppress=True, linewidth=160)
    print(f"degrees of freedom {variety.freedom_Y}")
    print("knots  ", variety.wavelength_K)
    for mean_K, covariance_KK in zip(variety.mean_YK, variety.covariance_YKK, strict=True):
        print("mean   ", mean_K)
        print("spread ", np.sqrt(np.diag(covariance_KK)))


if __name__ == "__main__":
    main(*sys.argv[1:])
