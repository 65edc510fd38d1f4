"""What counts as measured in a table of photometry, and what it says as a flux: the one place that decides.

Tables hold values that nobody measured: sentinels, magnitudes of -3.4e38, errors of 0 or of -1,350 mag. What is outside
the limits below is none, and is counted, so that whoever reads a table can tell by band how much of it there was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from photoz.photometry import MAGGY, Array, Floats, compute_fluxes_from_magnitudes, find_detected
from photoz.schema import Flag

Mask = npt.NDArray[np.bool_]

MAGNITUDES = (5.0, 40.0)
"""[mag(AB)] Galaxies whose redshift is to be estimated are fainter than 5, and no image is as deep as 40."""
LARGEST_ERROR = 10.0
"""[mag] An error of as much or more is none: that of a flux of a tenth of its error is 11."""
LARGEST_EXTINCTION = 20.0
"""[mag] Behind the plane of the Galaxy it is more, and nothing is seen there."""
LIMITS = (LARGEST_ERROR, MAGNITUDES[1])
"""[mag(AB)] of limiting magnitudes; errors of magnitudes are below, so that a column of both can be told apart."""
SENTINEL_TOLERANCE = 0.5
"""[mag] No measured magnitude or error lies so near 99 or -99; rounding does not hide a sentinel."""
HIGHEST_REDSHIFT = 15.0
"""No galaxy has a spectrum beyond: MoM-z14, the farthest, is at 14.44 (Naidu et al. 2025, arXiv:2505.11263)."""
_REPEATED_SHARE = 0.01
"""A value that more of the rows share exactly may stand for none."""
_REPEATED_LEAST = 10
"""Rows that do so by chance in a small table, or one of rounded values where it is also so many times the usual."""
_MOST_FLUX = MAGGY * 10 ** (-0.4 * MAGNITUDES[0])


@dataclass(frozen=True, eq=False)
class Band:
    """One band of N sources.

    Parameters
    ----------
    flux_N, error_N : ndarray of float64
        [nJy] AB. The flux is NaN where the band was not observed, and 0 where nothing was detected; negative ones are
        data. The error is NaN where it is not known and where there is no flux, and never 0 or less.
    implausible : int
        Values that are no measurement and no sentinel either: sources whose flux, error or extinction was dropped.
    """

    flux_N: Array
    error_N: Array
    implausible: int = 0


@dataclass(frozen=True)
class Sentinels:
    """What stands in a column of magnitudes or of their errors where there is none [mag]."""

    not_detected: float = 99.0
    not_observed: float = -99.0

    @property
    def both(self) -> tuple[float, float]:
        """The one and the other, in whichever column they stand."""
        return self.not_detected, self.not_observed


def convert_magnitudes(
    magnitudes_N: Floats,
    errors_N: Floats,
    *,
    sentinels: Sentinels = Sentinels(),
    extinctions_N: Floats | None = None,
    limits_N: Floats | None = None,
) -> Band:
    """Turn a band's magnitudes, as a table has them, into fluxes.

    Parameters
    ----------
    magnitudes_N, errors_N : ndarray of float, shape (N,)
        [mag(AB)] and [mag]. Not observed: NaN and ``sentinels.not_observed``.
    sentinels : Sentinels
        As `find_sentinels` finds them.
    extinctions_N : ndarray of float, shape (N,), optional
        [mag] to subtract; where it is none (`is_plausible_extinction`) the band counts as not observed.
    limits_N : ndarray of float, shape (N,), optional
        [mag(AB)] magnitudes of a flux of one sigma. A source that was not detected has a flux of 0, and this for its
        error; else, where ``errors_N`` holds a magnitude within `LIMITS`, that is the limit.

    Returns
    -------
    Band
        A magnitude outside `MAGNITUDES` is none; an error that is 0 or less or from `LARGEST_ERROR` on is not known.

    References
    ----------
    That the error of a magnitude of 99 holds the limit is the convention of BPZ's catalogues (Benítez 2000, ApJ 536,
    571).

    Examples
    --------
    Measured, not detected beyond a limit of 26.4, not observed, and none:

    >>> band = convert_magnitudes(np.array([22.5, 99.0, -99.0, 57.3]), np.array([0.1, 26.4, -99.0, 0.1]))
    >>> band.flux_N.round(1), band.error_N.round(1), band.implausible
    (array([3631.,    0.,   nan,   nan]), array([334.4, 100. ,   nan,   nan]), 1)
    """
    magnitudes, errors = (np.asarray(values, dtype=np.float64) for values in (magnitudes_N, errors_N))
    undetected_N = find_sentinels(magnitudes, [sentinels.not_detected], magnitudes=True)
    absent_N = np.isnan(magnitudes) | find_sentinels(magnitudes, [sentinels.not_observed], magnitudes=True)
    usable_N = is_plausible_magnitude(magnitudes) & ~undetected_N & ~absent_N
    wrong_N = ~usable_N & ~undetected_N & ~absent_N
    silent_N = np.isnan(errors) | find_sentinels(errors, sentinels.both, magnitudes=True)
    known_N = is_plausible_error(errors) & ~silent_N
    wrong_N |= usable_N & ~known_N & ~silent_N
    dimming = np.zeros(len(magnitudes)) if extinctions_N is None else np.asarray(extinctions_N, dtype=np.float64)
    dim_N = is_plausible_extinction(dimming)
    wrong_N |= ~dim_N & ~absent_N
    # What is no extinction, infinity among it, would run over where nothing is made of it.
    dimming = np.where(dim_N, dimming, 0.0)
    measured_N = usable_N & dim_N
    flux_N, error_N = compute_fluxes_from_magnitudes(
        np.where(measured_N, magnitudes - dimming, np.nan), np.where(known_N, errors, np.nan)
    )
    dark_N = undetected_N & dim_N
    limit_N = _choose_limits(errors, limits_N, sentinels) - dimming
    return Band(
        np.where(dark_N, 0.0, flux_N),
        np.where(dark_N, MAGGY * 10 ** (-0.4 * limit_N), error_N),
        int(wrong_N.sum()),
    )


def check_fluxes(fluxes_N: Floats, errors_N: Floats) -> Band:
    """Keep of a band's fluxes, as a table has them, what is a measurement.

    Parameters
    ----------
    fluxes_N, errors_N : ndarray of float, shape (N,)
        [nJy] AB; NaN where there is none.

    Returns
    -------
    Band
        A flux is none beyond that of the brightest of `MAGNITUDES`, below 0 too; its error is not known where it is 0
        or less, or beyond that flux.

    Examples
    --------
    >>> band = check_fluxes(np.array([3631.0, -20.0, 1e30]), np.array([0.0, 30.0, 1.0]))
    >>> band.flux_N, band.error_N, band.implausible
    (array([3631.,  -20.,   nan]), array([nan, 30., nan]), 2)
    """
    fluxes, errors = (np.asarray(values, dtype=np.float64) for values in (fluxes_N, errors_N))
    measured_N = is_plausible_flux(fluxes)
    known_N = (errors > 0) & is_plausible_flux(errors)
    wrong_N = (~measured_N & ~np.isnan(fluxes)) | (measured_N & ~known_N & ~np.isnan(errors))
    return Band(
        np.where(measured_N, fluxes, np.nan), np.where(measured_N & known_N, errors, np.nan), int(wrong_N.sum())
    )


def flag_bands(fluxes: Sequence[Floats], errors: Sequence[Floats]) -> npt.NDArray[np.int32]:
    """Return the flags that say what sources lack of their photometry.

    Parameters
    ----------
    fluxes, errors : sequence of ndarray of float, shape (N,)
        [nJy] of each band, as they are stored, so that flags and estimates agree in what was detected.

    Returns
    -------
    ndarray of int32, shape (N,)
        ``BAND_NOT_OBSERVED`` where some flux is NaN, ``BAND_NOT_DETECTED`` where some other is no detection
        (`photoz.photometry.find_detected`), ``NO_PHOTOMETRY`` where none is one.

    Examples
    --------
    >>> one = np.ones(3)
    >>> flags_N = flag_bands([np.array([9.0, 9.0, -1.0]), np.array([9.0, np.nan, 0.5])], [one, one])
    >>> [Flag(flags).name for flags in flags_N.tolist()]
    [None, 'BAND_NOT_OBSERVED', 'BAND_NOT_DETECTED|NO_PHOTOMETRY']
    """
    dark_N, absent_N, some_N = (np.zeros(len(fluxes[0]), bool) for _ in range(3))
    # Band by band: a table of all bands at once would be the largest thing in memory.
    for flux_N, error_N in zip(fluxes, errors, strict=True):
        observed_N = ~np.isnan(flux_N)
        detected_N = find_detected(flux_N, error_N)
        absent_N |= ~observed_N
        dark_N |= observed_N & ~detected_N
        some_N |= detected_N
    flags_N = np.where(dark_N, Flag.BAND_NOT_DETECTED, 0) | np.where(absent_N, Flag.BAND_NOT_OBSERVED, 0)
    return np.asarray(flags_N | np.where(some_N, 0, Flag.NO_PHOTOMETRY), np.int32)


def describe_implausible(bands: Mapping[str, int]) -> str:
    """Say by band how many sources had values that are no measurement; "" where there are none.

    >>> describe_implausible({"u": 3, "g": 0, "r": 1})
    'u 3, r 1'
    """
    return ", ".join(f"{band} {count}" for band, count in bands.items() if count)


def describe_repeated(values_N: Floats, what: str = "redshift") -> str:
    """Say which values so many rows share exactly that they may stand for none; "" where there are none.

    Parameters
    ----------
    values_N : ndarray of float, shape (N,)
        Redshifts, magnitudes [mag] or fluxes [nJy]; NaN where there is none.
    what : str
        They are called.

    Returns
    -------
    str
        Each value that more than 1 % of the rows with one have, at least 10 of them, and 10 times as many as have a
        value of this table in the median (median): values that are rounded repeat, too. Half of the rows with one
        value, at least 10, are too many in any case.

    Examples
    --------
    >>> describe_repeated(np.concatenate([np.linspace(0.1, 0.9, 200), np.full(30, 9.9999)]))
    '30 of 230 rows have exactly the redshift 9.9999'
    >>> describe_repeated(np.linspace(0.1, 0.9, 3000).round(2))
    ''
    >>> describe_repeated(np.full(30, 0.5))
    '30 of 30 rows have exactly the redshift 0.5'
    """
    values = np.asarray(values_N)
    values, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    total = int(counts.sum())
    if not total:
        return ""
    usual = max(1.0, float(np.median(counts)))
    # Where there are few values, such as one alone, the median is theirs.
    odd = ((counts > _REPEATED_SHARE * total) & (counts >= _REPEATED_LEAST * usual)) | (
        (2 * counts > total) & (counts >= _REPEATED_LEAST)
    )
    # As the table has it: a float32 would be told with the digits of a double.
    found = [
        f"{count} of {total} rows have exactly the {what} {value!s}"
        for value, count in zip(values[odd], counts[odd], strict=True)
    ]
    return "; ".join(found)


def describe_repeated_magnitudes(magnitudes_N: Floats, sentinels: Sentinels, band: str) -> str:
    """Say of a band's magnitudes, as a table has them, which may be a sentinel that nobody has named; "" for none.

    >>> describe_repeated_magnitudes(np.append(np.linspace(20, 22, 90), np.full(10, 35.0)), Sentinels(), "u")
    '10 of 100 rows have exactly the magnitude in u 35.0'
    """
    told_N = find_sentinels(magnitudes_N, sentinels.both, magnitudes=True)
    # Beyond the limits it is none already, and counted.
    usual_N = is_plausible_magnitude(np.asarray(magnitudes_N)) & ~told_N
    return describe_repeated(np.asarray(magnitudes_N)[usual_N], f"magnitude in {band}")


def describe_repeated_fluxes(fluxes_N: Floats, band: str, *, zeros: bool = False) -> str:
    """Say of a band's fluxes [nJy] which may stand for none, and what helps; "" for none.

    ``zeros``: 0 is one of them; else it is what becomes of a magnitude that says not detected.

    >>> told = describe_repeated_fluxes(np.append(np.linspace(100, 200, 90), np.full(10, -999.0)), "u")
    >>> told.partition(":")[0]
    '10 of 100 rows have exactly the flux [nJy] in u -999.0'
    """
    said = describe_repeated(fluxes_N if zeros else fluxes_N[fluxes_N != 0], f"flux [nJy] in {band}")
    remedy = "name the value in photometry.not_detected or not_observed where it stands for no measurement"
    return f"{said}: {remedy}" if said else ""


def is_plausible_magnitude(magnitudes_N: Floats) -> Mask:
    """Tell which magnitudes lie within `MAGNITUDES`; NaN does not."""
    return _is_within(magnitudes_N, MAGNITUDES)


def is_plausible_error(errors_N: Floats) -> Mask:
    """Tell which errors of magnitudes are above 0 and below `LARGEST_ERROR`; NaN is not."""
    return np.asarray((errors_N > 0) & (errors_N < LARGEST_ERROR))


def is_plausible_extinction(extinctions_N: Floats) -> Mask:
    """Tell which extinctions [mag] lie from 0 to `LARGEST_EXTINCTION`; NaN does not."""
    return _is_within(extinctions_N, (0.0, LARGEST_EXTINCTION))


def is_plausible_flux(fluxes_N: Floats) -> Mask:
    """Tell which fluxes [nJy] may be a galaxy's: none beyond the brightest of `MAGNITUDES`, or as far below 0."""
    return np.asarray(np.abs(fluxes_N) <= _MOST_FLUX)


def find_sentinels(values_N: Floats, sentinels: Sequence[float], *, magnitudes: bool) -> Mask:
    """Tell which values are a sentinel.

    Parameters
    ----------
    values_N : ndarray of float, shape (N,)
    sentinels : sequence of float
    magnitudes : bool
        Of magnitudes and their errors, one outside `MAGNITUDES` is meant by all values within `SENTINEL_TOLERANCE` of
        it, where none is measured: some surveys write 99.0 and 98.9999. Of all else, to the last digits of a float32.

    Examples
    --------
    >>> find_sentinels(np.array([99.2, 20.0, -99.0, np.nan]), [99.0, -99.0], magnitudes=True).tolist()
    [True, False, True, False]
    """
    values = np.asarray(values_N, dtype=np.float64)
    found: Mask = np.zeros(len(values), bool)
    for sentinel in sentinels:
        wide = magnitudes and not MAGNITUDES[0] <= sentinel <= MAGNITUDES[1]
        tolerance = SENTINEL_TOLERANCE if wide else 1e-6 * abs(sentinel)
        # Of infinity that would be all numbers.
        tolerance = tolerance if np.isfinite(tolerance) else 0.0
        with np.errstate(invalid="ignore"):  # infinity less infinity
            found |= (np.abs(values - sentinel) <= tolerance) | (values == sentinel)
    return found


def _is_within(values_N: Floats, limits: tuple[float, float]) -> Mask:
    return np.asarray((values_N >= limits[0]) & (values_N <= limits[1]))


def _choose_limits(errors_N: Array, limits_N: Floats | None, sentinels: Sentinels) -> Array:
    """Choose the limiting magnitude of one sigma: the table's own, else what stands in place of the error, or NaN."""
    chosen_N = np.full(len(errors_N), np.nan)
    for values in (errors_N, limits_N):
        if values is not None:
            plausible_N = _is_within(values, LIMITS) & ~find_sentinels(values, sentinels.both, magnitudes=True)
            chosen_N = np.where(plausible_N, values, chosen_N)
    return chosen_N
