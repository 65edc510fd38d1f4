"""Whether the p(z) of a photo-z catalogue comes true for the test galaxies, and what recalibration did for it.

Calibration here is a measurement: how often the redshifts lie where p(z) says. What makes p(z) come true, on training
galaxies set aside for it, is recalibration (`photoz.pdf.recalibration`).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from photoz.catalogue.hats import list_partitions, read_partition
from photoz.catalogue.quantiles import unpack_codes
from photoz.catalogue.records import read_past_run
from photoz.errors import CatalogueError, PhotozError, TableError
from photoz.estimators.folder import load_recalibration, read_manifest
from photoz.evaluate.galaxies import Galaxies, RowReader, read_magnitudes
from photoz.evaluate.scan import Z_EDGES
from photoz.metrics import FloatArray
from photoz.nz.distribution import compute_shares
from photoz.pdf import (
    compute_coverage,
    compute_ks,
    decode_quantiles,
    make_coordinates,
    move_quantiles,
    score_quantiles,
)
from photoz.pdf.recalibration import Recalibration
from photoz.schema import LEVELS, NO_IMAGE, QUANTILES, Flag, find_algorithm

logger = logging.getLogger(__name__)

LAST = 0.2  # share of the faintest and of the reddest galaxies
_AT_ONCE = 2_000  # galaxies whose p(z) are added up together
LEAST = 20  # galaxies of a group; below, a coverage is worth nothing


@dataclass(frozen=True)
class Calibration:
    """How well the p(z) of a group of galaxies comes true.

    Parameters
    ----------
    group : str
        "all", "faintest fifth", "reddest fifth".
    recalibrated : bool
        False for p(z) as the estimator gave it, before recalibration.
    count : int
        Galaxies with p(z) and a spectroscopic redshift.
    ks : float
        Kolmogorov-Smirnov distance of PIT from a uniform distribution.
    coverage_68, coverage_95 : float
        Share of the galaxies within the central intervals.
    crps, cde_loss : float
        Means [redshift; 1].
    """

    group: str
    recalibrated: bool
    count: int
    ks: float
    coverage_68: float
    coverage_95: float
    crps: float
    cde_loss: float


@dataclass(frozen=True, eq=False)
class Calibrations:
    """All figures of one catalogue's p(z).

    Parameters
    ----------
    algorithm : str
        Whose p(z) it is.
    groups : sequence of Calibration
        Each group after recalibration; and before, where the estimator's folder says what that did, for the galaxies
        that lack no input.
    pit, pit_before : ndarray of float64, shape (T,)
        Of each test galaxy; NaN where there is none.
    stack_Z : ndarray of float64, shape (620,)
        p(z) of the test galaxies, added up between the redshifts `photoz.evaluate.scan.Z_EDGES`.
    """

    algorithm: str
    groups: Sequence[Calibration]
    pit: FloatArray
    pit_before: FloatArray
    stack_Z: FloatArray

    @property
    def compares(self) -> bool:
        """Whether there are figures from before the recalibration."""
        return bool(np.isfinite(self.pit_before).any())


def measure_calibration(location: str, galaxies: Galaxies, rows: RowReader) -> Calibrations | None:
    """Measure the p(z) of a catalogue on the test galaxies; None for a catalogue without p(z).

    Parameters
    ----------
    location : str
        Photo-z catalogue (HATS), read a partition at a time.
    galaxies : Galaxies
    rows : callable
        Reads the fluxes of the galaxies, from whose magnitudes recalibration goes.

    Returns
    -------
    Calibrations or None
    """
    stored = _read_stored(location, galaxies)
    if stored is None:
        return None
    # Groups are of all test galaxies, with p(z) or not, so that they are the same for every catalogue compared.
    quantiles_NQ, members = stored.quantiles_NQ, _list_groups(galaxies)
    groups, pit_N = _measure(quantiles_NQ, galaxies.z_spec, members, recalibrated=True)
    # The catalogue holds recalibrated p(z) alone. What it was before is computed back from the estimator's own map.
    before_N, found = np.full(len(galaxies), np.nan), _find_recalibration(location)
    if found is not None:
        recalibration, bands = found
        magnitudes_NF = _read_magnitudes(rows, galaxies, bands, location)
        # Galaxies that lack some input have a map of their own in some estimators (docs/pdf.md), which cannot be told
        # from the catalogue.
        whole_N = np.isfinite(magnitudes_NF).all(axis=1) & ((stored.flags_N & (NO_IMAGE | Flag.PHOTOMETRY_ONLY)) == 0)
        levels_NQ = recalibration.unmap_levels(make_coordinates(magnitudes_NF, bands))
        # NaN, and not the recalibrated p(z): a mixture of both would make the recalibration look weaker than it is.
        raw_NQ = np.where(whole_N[:, None], move_quantiles(quantiles_NQ, levels_NQ), np.nan)
        earlier, before_N = _measure(raw_NQ, galaxies.z_spec, members, recalibrated=False)
        groups = [*groups, *earlier]
    return Calibrations(stored.algorithm, groups, pit_N, before_N, stack_pdfs(quantiles_NQ, Z_EDGES))


def stack_pdfs(quantiles_NQ: FloatArray, z_edges: FloatArray) -> FloatArray:
    """Add up the shares of p(z) between redshifts.

    Parameters
    ----------
    quantiles_NQ : ndarray of float64, shape (N, Q)
        At `photoz.schema.LEVELS`; NaN rows add nothing.
    z_edges : ndarray of float64, shape (Z + 1,)
        Increasing.

    Returns
    -------
    ndarray of float64, shape (Z,)
        Adds up to the number of galaxies with p(z), less what lies beyond the edges.
    """
    known_NQ, stack_Z = quantiles_NQ[np.isfinite(quantiles_NQ).all(axis=1)], np.zeros(len(z_edges) - 1)
    # In parts, as all shares at once would take 5 kB a galaxy.
    for start in range(0, len(known_NQ), _AT_ONCE):
        stack_Z += compute_shares(known_NQ[start : start + _AT_ONCE], z_edges).sum(axis=0)
    return stack_Z


def _list_groups(galaxies: Galaxies) -> dict[str, npt.NDArray[np.bool_]]:
    groups = {"all": np.full(len(galaxies), True)}
    for name, values_N in (("faintest fifth", galaxies.mag_auto), ("reddest fifth", galaxies.colour)):
        # A survey of one band has no colour; a group without galaxies is no group.
        if np.isfinite(values_N).any():
            # Larger is fainter, and larger g - r is redder: the last fifth in both. NaN is in neither.
            groups[name] = values_N >= np.nanquantile(values_N, 1 - LAST)
    return groups


def _measure(
    quantiles_NQ: FloatArray,
    z_spec_N: FloatArray,
    members: dict[str, npt.NDArray[np.bool_]],
    *,
    recalibrated: bool,
) -> tuple[list[Calibration], FloatArray]:
    pit_N, crps_N, cde_N = score_quantiles(quantiles_NQ, z_spec_N)
    known_N = np.isfinite(pit_N)
    groups = []
    for name, inside_N in members.items():
        rows = known_N & inside_N
        if rows.sum() < LEAST:
            continue
        groups.append(
            Calibration(
                group=name,
                recalibrated=recalibrated,
                count=int(rows.sum()),
                ks=compute_ks(pit_N[rows]),
                # 0.68 and 0.95 are among the stored limits, so these are shares of galaxies within the columns that a
                # user reads.
                coverage_68=compute_coverage(quantiles_NQ[rows], z_spec_N[rows], 0.68),
                coverage_95=compute_coverage(quantiles_NQ[rows], z_spec_N[rows], 0.95),
                crps=float(crps_N[rows].mean()),
                cde_loss=float(cde_N[rows].mean()),
            )
        )
    return groups, pit_N


def _find_recalibration(location: str) -> tuple[Recalibration, tuple[str, ...]] | None:
    """Find how the catalogue's estimator recalibrates, and its bands, by the folder that the run record names."""
    folder = read_past_run(location).estimator
    if folder is None:
        return None
    try:
        recalibration, manifest = load_recalibration(folder), read_manifest(folder)
    # The estimator may have been moved or removed since; the catalogue can be measured without.
    except PhotozError as error:
        logger.warning("p(z) of %s before recalibration is not shown: %s", location, error)
        return None
    bands = manifest.get("bands")
    return (recalibration, tuple(bands)) if recalibration is not None and isinstance(bands, list) else None


@dataclass(frozen=True, eq=False)
class _Stored:
    """What a catalogue holds of the T test galaxies: quantiles (NaN where there are none), flags, and whose p(z)."""

    algorithm: str
    quantiles_NQ: FloatArray
    flags_N: npt.NDArray[np.int32]


def _read_stored(location: str, galaxies: Galaxies) -> _Stored | None:
    """Read p(z) and flags of the test galaxies, of which the first row counts; None where there is no p(z)."""
    partitions = list_partitions(location)
    # The first partition stands for all, as everywhere; the audit proves that they are alike.
    names = read_partition(location, partitions[0]).column_names if partitions else []
    algorithm = find_algorithm(names)
    if not algorithm:
        return None
    quantiles_NQ, flags_N = np.full((len(galaxies), len(LEVELS)), np.nan), np.zeros(len(galaxies), np.int32)
    column = f"{algorithm}_{QUANTILES}"
    for partition in partitions:
        table = read_partition(location, partition, columns=["object_id", column, "flags"])
        index, rows = galaxies.match(table["object_id"])
        # Taken before they are decoded: of a partition, next to all rows are no test galaxies.
        decoded_NQ = decode_quantiles(unpack_codes(table[column])[rows])
        fresh = np.isnan(quantiles_NQ[index, 0])
        quantiles_NQ[index[fresh]] = decoded_NQ[fresh]
        flags_N[index[fresh]] = table["flags"].to_numpy()[rows[fresh]]
    return _Stored(algorithm, quantiles_NQ, flags_N)


def _read_magnitudes(rows: RowReader, galaxies: Galaxies, bands: Sequence[str], location: str) -> FloatArray:
    # Not from the catalogue, which has no magnitude but mag_auto.
    try:
        return read_magnitudes(rows, galaxies, bands)
    # Of a catalogue of others, or whose sources are gone: it can be measured without.
    except (CatalogueError, TableError) as error:
        logger.warning("p(z) of %s before recalibration is not shown: %s", location, error)
        return np.full((len(galaxies), len(bands)), np.nan)
