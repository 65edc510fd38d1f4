"""Redshifts of a table without positions: a Parquet file for each of its parts."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain

import numpy as np
import pyarrow.parquet as pq

from cluster.engines.choose import open_engine
from cluster.engines.retries import insist
from cluster.engines.tasks import run_tasks
from cluster.ledger import check_output, name_owner
from cluster.lock import hold_lock
from cluster.tables.repeated import check_repeated
from cluster.tables.target import Target, drop_parts, make_target_schema, name_part
from photoz.catalogue.records import locate_in_run
from photoz.inference import estimate_table, prepare_estimator
from photoz.settings.config import Config
from photoz.settings.inference import Inference
from photoz.storage import join, list_folder, open_atomic, remove, write_json
from photoz.tables import TablePart
from photoz.tables import read_sources as read_part
from photoz.tables.repeated import choose_identifiers
from photoz.views import list_read_bands


@dataclass(frozen=True)
class Written:
    """What came of a table without positions.

    Parameters
    ----------
    rows, estimated : int
        Written, and with a redshift.
    counts : mapping of str to int
        Rows of the table by what became of them.
    """

    rows: int
    estimated: int
    counts: Mapping[str, int]


def estimate_plain(config: Config, target: Target) -> Written:
    """Estimate a table without positions, which cannot be partitioned on the sky: a Parquet file for each of its parts.

    Raises
    ------
    CatalogueError
        The output holds files of something else or a catalogue on the sky, or another run is at it.
    TableError
        A part is damaged, or rows have the identifier of another row and the survey refuses that, which is told
        before any is estimated.
    """
    # With a mark of its own: a catalogue on the sky in the same folder would stay, and pass for this one's.
    owner = name_owner(config.run, config.inference, target.survey.name) | {"positions": "none"}
    output, tasks = config.locations.catalogue, list(enumerate(target.table.parts))
    check_output(output, owner)
    model = join(config.locations.models, config.inference.estimator)
    estimate = partial(estimate_part, drop_parts(target), config.inference, model, output)
    total: Counter[str] = Counter()
    rows = estimated = 0
    with open_engine(config.engine, config.storage_options) as engine, hold_lock(locate_in_run(output)) as lock:
        # Before any work: an hour of it would be lost, and what is written by then would pass for a result.
        identifiers = choose_identifiers(target.table, target.survey, positions=False)
        repeated = check_repeated(identifiers, target.table.parts, target.survey.duplicates, output, engine)
        for part in run_tasks(estimate, tasks, engine, label="parts of the table"):
            rows, estimated = rows + part.rows, estimated + part.estimated
            total.update(part.counts)
        # Before anything goes: a run that was taken over must not remove what its successor has written.
        insist(lock.check, config.engine.retries, "looking at the lock")
        # Of an earlier table of more parts, by the name that only this module gives, in a folder that is this run's.
        own = {join(output, f"{name_part(number)}.parquet") for number, _ in tasks}
        for location in list_folder(output, "part-*.parquet"):
            if location not in own:
                remove(location)
        # Each part has counted its own alone.
        total["duplicates"] = repeated
        written = Written(rows, estimated, dict(total))
        write_json(locate_in_run(output, "run.json"), {**owner, **asdict(written)})
    return written


def estimate_part(target: Target, settings: Inference, model: str, output: str, task: tuple[int, TablePart]) -> Written:
    """Estimate one part of a table without positions and write its file."""
    number, part = task
    estimator = prepare_estimator(model, settings)
    bands, schema = list_read_bands(target.survey, target.bands), make_target_schema(target)
    counts, rows, estimated = Counter[str](), 0, 0
    location = join(output, f"{name_part(number)}.parquet")
    batches = read_part(target.table, part, target.survey, bands)
    first = next(batches, None)
    if first is None:
        # What an earlier table had in this place would pass for rows of this one.
        remove(location)
        return Written(0, 0, {})
    with open_atomic(location) as file, ExitStack() as stack:
        writer = None
        for found in chain([first], batches):
            counts.update(found.counts)
            table = estimate_table(found.table, estimator, schema, batch_size=settings.batch_size)
            # As it comes, since a part may have any number of rows.
            writer = writer or stack.enter_context(pq.ParquetWriter(file, table.schema, compression="zstd"))
            writer.write_table(table)
            rows, estimated = rows + len(table), estimated + int(np.isfinite(table["z_phot"].to_numpy()).sum())
    return Written(rows, estimated, dict(counts))
