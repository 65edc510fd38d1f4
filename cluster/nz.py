"""n(z) of a catalogue spread over an engine: one task a partition, sums merged as they come."""

from functools import partial

import numpy as np

from cluster.engines.base import Engine
from cluster.engines.choose import open_engine
from cluster.engines.tasks import run_tasks
from photoz.catalogue.hats import Partition
from photoz.nz.description import NzDescription, Stacked, describe_nz
from photoz.nz.distribution import Distribution, Sums, choose_equal_edges, make_distribution
from photoz.nz.settings import Nz
from photoz.nz.tomography import StackTask, count_partition, make_z_edges, plan_nz, stack_partition
from photoz.settings.config import Config


def summarize_nz(config: Config) -> tuple[Distribution, NzDescription]:
    """Compute n(z) in tomographic bins of the photo-z catalogue.

    Parameters
    ----------
    config : Config
        ``locations.catalogue`` is read on ``engine``; the section ``nz`` says how.

    Returns
    -------
    (Distribution, NzDescription)
        n(z) with its errors, and what it was made from. The same on every engine, for any
        partitioning, to the last digit.

    Raises
    ------
    CatalogueError
        There is no finished catalogue, or it has no rows.
    ConfigError
        A setting of the section ``nz`` makes no sense.
    """
    catalogue, nz, seed = config.locations.catalogue, config.nz, config.run.seed
    partitions, algorithm = plan_nz(catalogue, nz)
    with open_engine(config.engine, config.storage_options) as engine:
        # Equally full bins cost a pass of their own: a galaxy can be put into one only when all have been counted.
        edges = nz.edges or _find_edges(catalogue, nz, partitions, engine)
        tasks = [StackTask(partition, edges, algorithm) for partition in partitions]
        z_edges = make_z_edges(nz)
        sums, rows, without_pdf = Sums.empty(len(edges) - 1, nz.resamples, len(z_edges) - 1), 0, 0
        work = partial(stack_partition, catalogue, nz, seed)
        for result in run_tasks(work, tasks, engine, label="partitions stacked"):
            # As they come: shares are rounded to 2^-22, so that sums in float64 are exact in any order (docs/nz.md).
            sums, rows = sums.add(result.sums), rows + result.rows
            without_pdf += result.without_pdf
    distribution = make_distribution(sums, z_edges)
    stacked = Stacked(rows, without_pdf, algorithm)
    return distribution, describe_nz(distribution, stacked, edges=edges, catalogue=catalogue, nz=nz, seed=seed)


def _find_edges(catalogue: str, nz: Nz, partitions: list[Partition], engine: Engine) -> tuple[float, ...]:
    """Find the edges of equally full bins in a pass over the catalogue."""
    count = partial(count_partition, catalogue, nz.exclude_flags)
    # A single 0 fits results of any length.
    counts = np.zeros(1, dtype=np.int64)
    for result in run_tasks(count, partitions, engine, label="partitions counted"):
        counts = counts + result.counts
    return tuple(float(edge) for edge in choose_equal_edges(counts, nz.bins))
