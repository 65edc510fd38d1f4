"""Identifiers that several rows of a whole table have, whichever of its parts they are in."""

import logging
import uuid
from collections.abc import Sequence
from functools import partial

from cluster.engines.base import Engine
from cluster.engines.tasks import run_tasks
from photoz.catalogue.records import REPEATED_IDS, locate_in_run
from photoz.errors import TableError
from photoz.hashes import plan_buckets
from photoz.storage import remove
from photoz.tables import TablePart
from photoz.tables.identifiers import REPEATED_REMEDY
from photoz.tables.repeated import NAMED, Identifiers, Repeated, find_repeated, leave_hashes

logger = logging.getLogger(__name__)


def check_repeated(
    identifiers: Identifiers, parts: Sequence[TablePart], duplicates: str, catalogue: str, engine: Engine
) -> int:
    """Count the rows whose identifier another row before them has, over all parts of a table.

    Parameters
    ----------
    identifiers : Identifiers
    parts : sequence of TablePart
    duplicates : str
        "refuse", or "keep": the first are named in the log, and all listed in the run folder.
    catalogue : str
        In whose run folder the hashes lie meanwhile; the folder is this run's.
    engine : Engine
        Each worker reads a part, then compares a bucket of hashes; here nothing grows with the rows.

    Raises
    ------
    TableError
        There are some, and they are refused.
    """
    # A name of its own: of two runs at one output, each would else read the other's hashes.
    folder, listed = locate_in_run(catalogue, f"ids-{uuid.uuid4().hex}"), locate_in_run(catalogue, REPEATED_IDS)
    # Of an earlier table, or of rows that are there once by now.
    remove(listed)
    keep = duplicates == "keep"
    try:
        leave = partial(leave_hashes, identifiers, folder)
        left = run_tasks(leave, list(enumerate(parts)), engine, label="parts looked through for identifiers")
        tasks = plan_buckets(folder, sum(left), engine.settings.memory_gib)
        find = partial(find_repeated, identifiers, listed if keep else "")
        found = _add(list(run_tasks(find, tasks, engine, label="buckets of identifiers")))
    finally:
        remove(folder)
    if not found.rows:
        return 0
    told = f"{found.rows:,} rows of the table have the identifier of another row, {', '.join(found.first)} among them"
    if not keep:
        raise TableError(f"{told}: {REPEATED_REMEDY}")
    logger.warning("%s: they are kept, and the %s identifiers are listed in %s", told, f"{found.ids:,}", listed)
    return found.rows


def _add(buckets: Sequence[Repeated]) -> Repeated:
    first = sorted(name for bucket in buckets for name in bucket.first)
    return Repeated(sum(bucket.rows for bucket in buckets), sum(bucket.ids for bucket in buckets), tuple(first[:NAMED]))
