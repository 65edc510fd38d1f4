"""n(z) of a photo-z catalogue, a partition at a time: which rows, which bins, and the files that hold the result."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from photoz.catalogue.hats import Partition, list_partitions, read_partition
from photoz.catalogue.quantiles import filter_rows, unpack_codes
from photoz.errors import CatalogueError, ConfigError
from photoz.nz.distribution import (
    Integers,
    Sums,
    assign_tomographic_bins,
    compute_shares,
    count_redshifts,
    draw_bootstrap_weights,
    place_redshifts,
    stack,
)
from photoz.nz.settings import Nz
from photoz.pdf import decode_quantiles
from photoz.schema import QUANTILES, Flag, find_algorithm

_ROWS = 2048  # galaxies at a time: their curves on 100 cells take 30 MB


@dataclass(frozen=True)
class StackTask:
    """One partition to stack: its tomographic bins and where p(z) is ("": there is none)."""

    partition: Partition
    edges: tuple[float, ...]
    algorithm: str


def plan_nz(catalogue: str, nz: Nz) -> tuple[list[Partition], str]:
    """List the partitions of the catalogue, and find the name of the estimator whose p(z) it holds ("": none).

    Raises
    ------
    CatalogueError
        There is no finished catalogue, or it has no rows or no z_phot.
    ConfigError
        A setting of the section ``nz`` makes no sense.
    """
    _check_settings(nz)
    partitions = list_partitions(catalogue)
    if not partitions:
        raise CatalogueError(f"{catalogue!r} has no rows: run jobs/infer_dr4.py, or set locations.catalogue")
    # The first partition stands for all: one of other columns is an error when its turn comes.
    names = read_partition(catalogue, partitions[0]).column_names
    missing = [name for name in ("object_id", "z_phot", "flags") if name not in names]
    if missing:
        raise CatalogueError(f"{catalogue!r} is no photo-z catalogue: it lacks {missing}; set locations.catalogue")
    return partitions, find_algorithm(names)


def make_z_edges(nz: Nz) -> npt.NDArray[np.float64]:
    """Return the edges of the redshift cells that n(z) is given on, from 0 to ``nz.highest_redshift``."""
    cells = max(1, round(nz.highest_redshift / nz.step))
    # 0.35 is 35 x 0.01 only after rounding; a redshift on an edge must lie in the cell that begins there.
    return np.asarray(np.round(np.arange(cells + 1) * nz.step, 9))


@dataclass(frozen=True, eq=False)
class PartitionCounts:
    """Selected redshifts of one partition, counted as `count_redshifts` does, and how many rows that were."""

    counts: Integers
    rows: int


@dataclass(frozen=True, eq=False)
class PartitionSums:
    """The stack of one partition: its sums, the rows selected, and those of them that have no p(z)."""

    sums: Sums
    rows: int
    without_pdf: int


def count_partition(catalogue: str, exclude_flags: Sequence[str], partition: Partition) -> PartitionCounts:
    """Count the selected redshifts of one partition.

    Parameters
    ----------
    catalogue : str
        Location.
    exclude_flags : sequence of str
        Names of `photoz.schema.Flag`: rows with any of them are left out.
    partition : Partition

    Returns
    -------
    PartitionCounts

    Raises
    ------
    CatalogueError
        Its file is missing or damaged, or lacks a column that the first partition has.
    """
    table = _read_selected(catalogue, exclude_flags, partition, ("z_phot",))
    return PartitionCounts(count_redshifts(table["z_phot"].to_numpy()), len(table))


def stack_partition(catalogue: str, nz: Nz, seed: int, task: StackTask) -> PartitionSums:
    """Stack the selected rows of one partition.

    Parameters
    ----------
    catalogue : str
        Location.
    nz : Nz
        Redshift cells, bootstrap samples and flags to leave out.
    seed : int
        Of the bootstrap.
    task : StackTask

    Returns
    -------
    PartitionSums

    Raises
    ------
    CatalogueError
        Its file is missing or damaged, or lacks a column that the first partition has.
    """
    stored = f"{task.algorithm}_{QUANTILES}" if task.algorithm else ""
    table = _read_selected(
        catalogue, nz.exclude_flags, task.partition, ("object_id", "z_phot", *filter(None, [stored]))
    )
    z_edges, bins = make_z_edges(nz), len(task.edges) - 1
    sums, lacking = Sums.empty(bins, nz.resamples, len(z_edges) - 1), 0
    # In runs of rows: the curves of a partition of 200,000 would take some 3 GB.
    for start in range(0, len(table), _ROWS):
        rows = table.slice(start, _ROWS)
        z_N = rows["z_phot"].to_numpy().astype(np.float64)
        # A catalogue without p(z) is stacked as well, as a histogram of z_phot; description and plot say which it is.
        shares_NZ = (
            compute_shares(decode_quantiles(unpack_codes(rows[stored])), z_edges)
            if stored
            else place_redshifts(z_N, z_edges)
        )
        known_N = np.isfinite(shares_NZ[:, 0])
        # Bin 0 takes galaxies without p(z) out of counts and shares both; NaN would spread through the product of
        # matrices.
        bin_N = np.where(known_N, assign_tomographic_bins(z_N, task.edges), 0)
        weights_NR = draw_bootstrap_weights(rows["object_id"].to_pylist(), seed=seed, resamples=nz.resamples)
        sums = sums.add(stack(bin_N, np.where(known_N[:, None], shares_NZ, 0.0), weights_NR, bins=bins))
        lacking += int((~known_N).sum())
    return PartitionSums(sums, len(table), lacking)


def _check_settings(settings: Nz) -> None:
    unknown = [name for name in settings.exclude_flags if name not in Flag.__members__]
    if unknown:
        raise ConfigError(f"nz.exclude_flags has {unknown}; the flags are {list(Flag.__members__)}")
    rising = all(low < high for low, high in zip(settings.edges, settings.edges[1:], strict=False))
    if settings.edges and (len(settings.edges) < 2 or not rising):
        raise ConfigError(f"nz.edges = {list(settings.edges)} (z_phot) must be at least two rising redshifts, or none")
    if settings.bins < 1 or settings.resamples < 0 or not 0 < settings.step <= settings.highest_redshift:
        raise ConfigError(
            f"nz.bins = {settings.bins} must be at least 1, nz.resamples = {settings.resamples} at least 0, nz.step = "
            f"{settings.step} above 0 and at most nz.highest_redshift = {settings.highest_redshift}"
        )


def _read_selected(
    catalogue: str, exclude_flags: Sequence[str], partition: Partition, columns: tuple[str, ...]
) -> pa.Table:
    """Read rows with a redshift and without any of the flags that are not wanted."""
    table = read_partition(catalogue, partition, columns=(*columns, "flags"))
    unwanted = sum(int(Flag[name]) for name in set(exclude_flags))  # twice the bit of one is the bit of another
    flags_N = pc.fill_null(table["flags"], 0).to_numpy()
    # By z_phot itself and not by ESTIMATE_FAILED, which should say the same: a NaN that has no flag is in no sum.
    kept_N = ((flags_N & unwanted) == 0) & np.isfinite(table["z_phot"].to_numpy())
    return filter_rows(table, kept_N)
