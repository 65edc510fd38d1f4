"""What one run of inference does: fixed before any work, and which partitions of it remain."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from cluster.engines.base import Engine
from cluster.engines.tasks import run_tasks
from cluster.ledger import (
    check_output,
    compute_partition_key,
    compute_run_key,
    describe_weights,
    explain_remaining,
    name_owner,
)
from photoz.catalogue.hats import Partition
from photoz.catalogue.records import has_records
from photoz.errors import EstimatorError, name_nearest
from photoz.estimators import load_estimator
from photoz.estimators.base import check_bands
from photoz.estimators.folder import MANIFEST
from photoz.settings.config import Config
from photoz.sources import check_source_columns, list_source_partitions
from photoz.storage import exists, join, list_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What one run does: made before any work, small enough to send everywhere."""

    config: Config
    estimator: str
    """Location of the estimator's folder."""
    image_bands: tuple[str, ...]
    cutout_size: int
    weights: Mapping[str, str]
    """SHA-256 of every file of that folder."""
    run_key: str
    give_up: bool = False
    """Last pass: what still cannot be read costs its rows their image, and is not tried again."""
    attempt: int = 1
    """Which pass this is over what has raised before."""
    retried: int = 0
    """Times that a partition of this run has raised before this pass, for the progress line."""


@dataclass(frozen=True)
class Check:
    """Why a partition must be done; "" when it is done and its file verifies."""

    partition: Partition
    reason: str


def plan_run(config: Config) -> Plan:
    """Check that sources, estimator, settings and output fit together, and fix what the run does."""
    # For its refusal alone: that there is no source catalogue is told before the weights are loaded.
    list_source_partitions(config.locations.sources)
    location = locate_estimator(config.locations.models, config.inference.estimator)
    # Only for what it reads: the plan goes to every worker, with the folder's name and not with the weights.
    estimator = load_estimator(location)
    check_bands(estimator, config.survey)
    check_source_columns(config.locations.sources, estimator.bands)
    owner = name_owner(config.run, config.inference, config.survey.name)
    # Last of the refusals, since it writes the owner's name into a new folder.
    check_output(config.locations.catalogue, owner)
    weights = describe_weights(location)
    return Plan(
        config=config,
        estimator=location,
        image_bands=estimator.image_bands,
        cutout_size=estimator.cutout_size,
        weights=weights,
        run_key=compute_run_key(config.survey, config.inference, weights),
    )


def locate_estimator(models: str, name: str) -> str:
    """Return an estimator's folder within ``locations.models``.

    Raises
    ------
    EstimatorError
        It is not there; the message names those that are.
    """
    location = join(models, name)
    if exists(join(location, MANIFEST)):
        return location
    there = [folder.rpartition("/")[2] for folder in list_folder(models) if exists(join(folder, MANIFEST))]
    told = f"inference.estimator may be {', '.join(there)}, or" if there else "there are none:"
    nearest = name_nearest(name, there)
    raise EstimatorError(f"no trained estimator at {location!r}{nearest}: {told} run jobs/train_dr4.py first")


def compute_key(plan: Plan, partition: Partition) -> str:
    """Compute the content key that a partition has now."""
    images = bool(plan.image_bands)
    return compute_partition_key(plan.config.locations, partition, plan.run_key, images=images, give_up=plan.give_up)


def find_remaining(plan: Plan, partitions: Sequence[Partition], engine: Engine) -> list[Partition]:
    """Find the partitions that must be done, and log why.

    Parameters
    ----------
    plan : Plan
    partitions : sequence of Partition
        All of the run, in their order on the sky.
    engine : Engine

    Returns
    -------
    list of Partition
        Those that are not done, not done with these inputs, or whose file does not verify, in their order on the sky.
    """
    # A new catalogue: checks would read every source file for its checksum, and find nothing done.
    if not has_records(plan.config.locations.catalogue):
        return list(partitions)
    # On the engine: each reads two files whole, the sources' and the catalogue's, for their checksums.
    checks = list(run_tasks(partial(_check_partition, plan), partitions, engine, label="partitions checked"))
    for reason, count in Counter(check.reason or "done and verified" for check in checks).most_common():
        logger.info("%d partitions: %s", count, reason)
    # As they were listed: sorted by themselves they would go by order first, and not along the sky.
    remaining = {check.partition for check in checks if check.reason}
    return [partition for partition in partitions if partition in remaining]


def _check_partition(plan: Plan, partition: Partition) -> Check:
    try:
        return Check(
            partition, explain_remaining(plan.config.locations.catalogue, partition, compute_key(plan, partition))
        )
    except Exception as error:  # noqa: BLE001 - whatever keeps it from being checked, doing it again is safe
        logger.warning("%s could not be checked: %s", partition.name, error)
        return Check(partition, "it could not be checked")
