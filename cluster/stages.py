"""The three stages of inference, each a plain function of one partition: read, estimate, write."""

import time
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from cluster.ledger import Record, compute_partition_key, locate_output, write_record
from photoz.catalogue import Partition, read_partition, write_partition
from photoz.config import Config, configure_storage
from photoz.estimators import Estimator
from photoz.inference import estimate_rows, prepare_estimator, read_cutouts
from photoz.schema import Flag


@dataclass(frozen=True)
class Plan:
    """What one run does: made before any work, small enough to send everywhere."""

    config: Config
    estimator: str
    """Location of the estimator's folder."""
    image_bands: tuple[str, ...]
    cutout_size: int
    run_key: str


@dataclass(frozen=True)
class Work:
    """One partition on its way through the stages."""

    partition: Partition
    key: str
    rows: pa.Table
    seconds: dict[str, float] = field(default_factory=dict)


def read_stage(partition: Partition, plan: Plan) -> Work:
    """Read a partition's sources and the cutouts that the estimator needs."""
    configure_storage(plan.config)
    start = time.perf_counter()
    key = compute_partition_key(plan.config, partition, plan.run_key)
    sources = read_partition(plan.config.locations.sources, partition)
    rows = read_cutouts(sources, plan.config, plan)
    return Work(partition=partition, key=key, rows=rows, seconds={"read": time.perf_counter() - start})


def estimate_stage(work: Work, plan: Plan, estimator: Estimator) -> Work:
    """Estimate the redshifts of what `read_stage` read."""
    start = time.perf_counter()
    rows = estimate_rows(work.rows, plan.config, estimator)
    return replace(work, rows=rows, seconds=work.seconds | {"estimate": time.perf_counter() - start})


def write_stage(work: Work, plan: Plan) -> Record:
    """Write the partition's file, then its completion record."""
    configure_storage(plan.config)
    start = time.perf_counter()
    table = work.rows
    rows, sha256 = write_partition(locate_output(plan.config), work.partition, table)
    flags_N = table["flags"].to_numpy()
    record = Record(
        order=work.partition.order,
        pixel=work.partition.pixel,
        key=work.key,
        rows=rows,
        estimated=int(np.isfinite(table["z_phot"].to_numpy()).sum()),
        sha256=sha256,
        flags={str(flag.name): int(((flags_N & flag) != 0).sum()) for flag in Flag},
        seconds=work.seconds | {"write": time.perf_counter() - start},
    )
    write_record(plan.config.locations.catalogue, record)
    return record


def process_partition(partition: Partition, plan: Plan) -> Record:
    """Run the three stages one after the other, with the estimator loaded once a process."""
    return write_stage(estimate_stage(read_stage(partition, plan), plan, _prepare_once(plan.run_key, plan)), plan)


_estimators: dict[str, Estimator] = {}


def _prepare_once(key: str, plan: Plan) -> Estimator:
    """Load the estimator, unless this process holds the one with the same key: changed weights load again."""
    if key not in _estimators:
        _estimators.clear()
        _estimators[key] = prepare_estimator(plan.estimator, plan.config)
    return _estimators[key]
