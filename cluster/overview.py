"""The overview of a catalogue spread over an engine: one task a partition, sums merged as they come."""

from dataclasses import replace
from functools import partial

from cluster.engines.base import Engine
from cluster.engines.choose import open_engine
from cluster.engines.tasks import run_tasks
from photoz.catalogue.records import read_past_run
from photoz.overview.overview import Model, Overview, explain_without_sources, read_model
from photoz.overview.partition import count_partition_ranges, plan_overview, sum_partition
from photoz.overview.sums import CatalogueSums
from photoz.ranges import RangeCounts
from photoz.settings.config import Config
from photoz.sources import list_source_partitions
from photoz.storage import join


def describe_catalogue(config: Config, engine: Engine | None = None) -> Overview:
    """Describe the photo-z catalogue without spectroscopic redshifts.

    Parameters
    ----------
    config : Config
        ``locations.catalogue`` is read on ``engine``, and once through ``locations.sources`` where the estimator has
        recorded the photometry of its training sample.
    engine : Engine, optional
        Whose cluster has been joined; by default the settings' own is for the time of this.

    Returns
    -------
    Overview
        The same on every engine, for any partitioning.

    Raises
    ------
    CatalogueError
        There is no finished catalogue, or it is none of photometric redshifts; one without rows has an overview.
    """
    locations = config.locations
    plan = plan_overview(locations.catalogue)
    model = read_model(locations.catalogue, join(locations.models, config.inference.estimator))
    with open_engine(config.engine, config.storage_options, engine) as joined:
        sums = CatalogueSums()
        # Without the list of all partitions, which would go with each: 3 MB a task where there are 100,000.
        work = partial(sum_partition, replace(plan, partitions=()))
        for part in run_tasks(work, plan.partitions, joined, label="partitions described"):
            sums = sums.add(part)
        counts, problem = _count_sources(locations.sources, model, joined)
    return Overview(plan, sums, model, counts, problem, read_past_run(locations.catalogue))


def _count_sources(sources: str, model: Model, engine: Engine) -> tuple[RangeCounts | None, str]:
    """Count magnitudes and colours of the sources, or say why that cannot be."""
    ranges = model.ranges
    problem = model.problem if ranges is None else explain_without_sources(sources, ranges)
    if ranges is None or problem:
        return None, problem
    counts = RangeCounts.empty(ranges.bands)
    work = partial(count_partition_ranges, sources, ranges)
    for part in run_tasks(work, list_source_partitions(sources), engine, label="partitions of sources counted"):
        counts = counts.add(part)
    return counts, ""
