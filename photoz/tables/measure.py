"""A band's columns to its fluxes, as a survey's file says: kinds, units, sentinels, limits, extinction."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from photoz.measured import (
    LARGEST_ERROR,
    LARGEST_EXTINCTION,
    Mask,
    find_sentinels,
    is_plausible_extinction,
    is_plausible_flux,
    is_plausible_magnitude,
)
from photoz.photometry import MAGGY, Array, compute_fluxes_from_magnitudes
from photoz.tables.fluxes import NJY_PER_UNIT, Fluxes, compute_errors, convert_luptitudes, make_fluxes
from photoz.tables.settings import Extinction, Photometry, find_column

ReadNumbers = Callable[[str], Array]
"""Returns a column as float64, NaN where it is null."""


def measure_band(read: ReadNumbers, photometry: Photometry, band: str, extinction: Extinction) -> Fluxes:
    """Return a band's fluxes.

    Parameters
    ----------
    read : callable
        Reads a column by its name.
    photometry : Photometry
    band : str
    extinction : Extinction
        Not used where the photometry is corrected for it already.

    Returns
    -------
    Fluxes
        Corrected for extinction where the survey says how. A flux whose extinction is not known is NaN.
    """
    values_N = read(find_column(photometry.column, band, photometry.columns))
    error_column = find_column(photometry.error, band, photometry.errors)
    stated_N = read(error_column) if error_column else np.full(len(values_N), np.nan)
    limit_column = find_column(photometry.limit, band)
    limits_N = read(limit_column) if limit_column else None
    if photometry.kind == "flux":
        found = _measure_fluxes(values_N, stated_N, photometry, band)
    else:
        found = _measure_magnitudes(values_N, stated_N, limits_N, photometry, band)
    if photometry.dereddened or extinction.kind == "none":
        return found
    column = find_column(extinction.column, band, extinction.columns)
    return _deredden(found, _find_brightening(read(column), extinction, band))


def find_flux_unit(photometry: Photometry, band: str) -> float:
    """Return the flux [nJy] of one of what a column of fluxes is in."""
    if photometry.unit != "counts":
        return NJY_PER_UNIT[photometry.unit]
    zeropoint = photometry.zeropoint
    magnitude = zeropoint[band] if isinstance(zeropoint, dict) else zeropoint
    assert magnitude is not None  # checked when the survey was loaded
    return float(MAGGY * 10 ** (-0.4 * magnitude))


def _measure_fluxes(values_N: Array, stated_N: Array, photometry: Photometry, band: str) -> Fluxes:
    # On what the file holds, before units and offsets: a sentinel is a number of the file's.
    dark_N = find_sentinels(values_N, photometry.not_detected, magnitudes=False)
    absent_N = np.isnan(values_N) | find_sentinels(values_N, photometry.not_observed, magnitudes=False)
    errors_N, bad_N, blank_N = compute_errors(values_N, stated_N, photometry.error_kind)
    absent_N |= blank_N
    unit = find_flux_unit(photometry, band)
    flux_N, error_N = values_N * unit, errors_N * unit
    wrong_N = ~is_plausible_flux(flux_N) & ~absent_N & ~dark_N
    # Fill values such as 1e20 stand in columns of errors, too.
    bad_N |= ~is_plausible_flux(error_N) & ~np.isnan(error_N)
    flux_N, error_N = make_fluxes(
        np.where(dark_N, 0.0, np.where(absent_N | wrong_N, np.nan, flux_N)), np.where(bad_N, np.nan, error_N)
    )
    return Fluxes(flux_N, error_N, _count(dark_N, absent_N, wrong_N, bad_N & ~np.isnan(flux_N)))


def _measure_magnitudes(
    values_N: Array, stated_N: Array, limits_N: Array | None, photometry: Photometry, band: str
) -> Fluxes:
    dark_N = find_sentinels(values_N, photometry.not_detected, magnitudes=True)
    absent_N = np.isnan(values_N) | find_sentinels(values_N, photometry.not_observed, magnitudes=True)
    offset = photometry.ab_offsets.get(band, 0.0)
    # Sentinels are found by now, and plausible are magnitudes on the AB system: the offset comes between the two.
    magnitudes_N = values_N + offset
    wrong_N = ~is_plausible_magnitude(magnitudes_N) & ~absent_N & ~dark_N
    magnitudes_N = np.where(dark_N | absent_N | wrong_N, np.nan, magnitudes_N)
    flux_N, slope_N = _convert(magnitudes_N, photometry, band)
    if photometry.error_kind == "snr":
        # Of the flux, whatever the magnitudes.
        error_N, bad_N, blank_N = compute_errors(flux_N, stated_N, "snr")
        errors_N = error_N / slope_N
    else:
        errors_N, bad_N, blank_N = compute_errors(values_N, stated_N, photometry.error_kind)
    absent_N |= blank_N
    # What was not observed is counted as that, whatever stands there.
    wrong_N &= ~blank_N
    bad_N |= errors_N >= LARGEST_ERROR
    error_N = slope_N * np.where(bad_N, np.nan, errors_N)
    limit_N = stated_N if photometry.limit_in_error else limits_N
    # With the offset, too: a limit is a magnitude of the same band on the same system.
    known_N = np.full(len(values_N), np.nan) if limit_N is None else _convert_limits(limit_N + offset, photometry)
    flux_N = np.where(dark_N, 0.0, np.where(absent_N, np.nan, flux_N))
    flux_N, error_N = make_fluxes(flux_N, np.where(dark_N, known_N, error_N))
    return Fluxes(flux_N, error_N, _count(dark_N, absent_N, wrong_N, bad_N & ~np.isnan(flux_N) & ~dark_N))


def _convert(magnitudes_N: Array, photometry: Photometry, band: str) -> tuple[Array, Array]:
    """Return fluxes [nJy] and what an error of one magnitude is of each."""
    one = np.ones(len(magnitudes_N))
    if photometry.kind == "luptitude":
        return convert_luptitudes(magnitudes_N, one, photometry.softening[band])
    return compute_fluxes_from_magnitudes(magnitudes_N, one)


def _convert_limits(limits_N: Array, photometry: Photometry) -> Array:
    """Turn limiting magnitudes into flux errors [nJy] of one sigma; NaN where there is none."""
    limits_N = np.where(is_plausible_magnitude(limits_N), limits_N, np.nan)
    # The second argument, an error, is not used: only the flux of the limit is.
    return compute_fluxes_from_magnitudes(limits_N, limits_N)[0] / photometry.limit_sigma


def _find_brightening(values_N: Array, extinction: Extinction, band: str) -> Array:
    """Return the factor that corrects a flux; NaN where what is stated is no extinction."""
    if extinction.kind == "transmission":
        # A float32 that rounds up says 1.0000001.
        least, most = 10 ** (-0.4 * LARGEST_EXTINCTION), 1 + 1e-6
        with np.errstate(divide="ignore"):
            return np.where((values_N >= least) & (values_N <= most), 1 / np.minimum(values_N, 1.0), np.nan)
    dimming_N = values_N * extinction.coefficients[band] if extinction.kind == "ebv" else values_N
    # An E(B-V) may be plausible and the extinction beyond anything: no flux is known there.
    plausible_N = is_plausible_extinction(values_N) & is_plausible_extinction(dimming_N)
    return np.asarray(10 ** (0.4 * np.where(plausible_N, dimming_N, np.nan)))


def _deredden(found: Fluxes, factors_N: Array) -> Fluxes:
    lost_N = np.isnan(factors_N) & ~np.isnan(found.flux_N)
    counts = found.counts | {"bad_extinction": int(lost_N.sum())}
    return replace(found, flux_N=found.flux_N * factors_N, error_N=found.error_N * factors_N, counts=counts)


def _count(dark_N: Mask, absent_N: Mask, wrong_N: Mask, bad_N: Mask) -> dict[str, int]:
    found = {"not_detected": dark_N, "not_observed": absent_N, "implausible": wrong_N, "bad_error": bad_N}
    return {name: int(rows_N.sum()) for name, rows_N in found.items()}
