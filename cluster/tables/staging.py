"""The source catalogue of a table: its sources staged and partitioned, or read where they lie."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec
import pyarrow as pa

import photoz
from cluster.engines.base import Engine
from cluster.engines.retries import insist
from cluster.engines.tasks import run_tasks
from cluster.lock import hold_lock
from cluster.partitioning.sources import partition_sources
from cluster.tables.repeated import check_repeated
from cluster.tables.target import Target, drop_parts, make_target_schema, name_part
from photoz.ingest.staging import StagedRecord, read_staged, staged_location, staging_location, write_staged
from photoz.settings.config import Config
from photoz.storage import JsonObject, list_folder, remove
from photoz.survey.fits import stamp_file
from photoz.tables import TablePart
from photoz.tables import read_sources as read_part
from photoz.tables.load import describe_survey
from photoz.tables.repeated import choose_identifiers, choose_staged
from photoz.views import SET_ASIDE, gather_sources, list_read_bands, write_view

logger = logging.getLogger(__name__)


_PIECE_ROWS = 1_000_000
_FORMAT = 2  # of the rows: 1, which no key told, held what stands beneath masks
"""Rows of a part that are held before they are written; it has any number, of CSV, packed FITS and long row groups."""


@dataclass(frozen=True)
class StagedPart:
    """What came of a part of a table: files of staged sources, their rows, and the table's by what became of them."""

    files: tuple[str, ...]
    rows: int
    counts: Mapping[str, int] = field(default_factory=dict)


def prepare_sources(config: Config, target: Target, engine: Engine) -> Counter[str]:
    """Make the source catalogue that inference reads: a view of a partitioned table, or partitions of another.

    Returns
    -------
    Counter
        Rows of the table by what became of them; of a view, whose rows are read later, the duplicates alone.

    Raises
    ------
    TableError
        A part is damaged, or several rows have one identifier and the survey refuses that.
    """
    duplicates, catalogue = target.survey.duplicates, config.locations.catalogue
    if target.partitioned:
        identifiers = choose_identifiers(target.table, target.survey, positions=True)
        repeated = check_repeated(identifiers, target.table.parts, duplicates, catalogue, engine)
        write_view(config.locations.sources, target.table, target.survey, target.bands)
        logger.info("the table's %d partitions are read where they lie", len(target.table.parts))
        return Counter(duplicates=repeated)
    with hold_lock(staging_location(config.locations.sources)) as lock:
        counts = stage_parts(target, config.locations.sources, engine)
        # Over all parts, each of which knows its own alone.
        identifiers, parts = choose_staged(list_folder(staging_location(config.locations.sources), "part-*.parquet"))
        counts["duplicates"] = check_repeated(identifiers, parts, duplicates, catalogue, engine)
        insist(lock.check, config.engine.retries, "looking at the lock")
        # Without a margin, which only matching with spectra reads.
        sources = msgspec.structs.replace(config.sources, margin_arcsec=0.0)
        partition_sources(sources, config.locations.sources, engine, schema=make_target_schema(target))
    return counts


def stage_parts(target: Target, sources: str, engine: Engine) -> Counter[str]:
    """Stage the sources of all parts of a table; parts that are staged already stay.

    Raises
    ------
    TableError
        A part is damaged.
    """
    counts, own = Counter[str](), set[str]()
    stage = partial(stage_part, drop_parts(target), sources)
    for staged in run_tasks(stage, list(enumerate(target.table.parts)), engine, label="parts of the table"):
        counts.update(staged.counts)
        own.update(staged.files)
    for location in list_folder(staging_location(sources), "part-*.parquet"):
        # Of an earlier table in this place, by the name that only this module gives.
        if location not in own and read_staged(location) is not None:
            remove(location)
    return counts


def stage_part(target: Target, sources: str, task: tuple[int, TablePart]) -> StagedPart:
    """Stage the sources of one part of a table, unless they are there from the same file and meaning of columns."""
    number, part = task
    name, key = name_part(number), _make_key(target, part)
    known = _find_staged(sources, name, key)
    if known is not None:
        return known
    counts, files, rows = Counter[str](), list[str](), 0
    for table, more in _read_pieces(target, part, counts):
        # The last, which says that the others are there, by the name that is asked for.
        files.append(_locate_piece(sources, name, len(files) + 1) if more else staged_location(sources, name))
        record = StagedRecord(key=key, photoz=photoz.__version__)
        if not more:
            rejected = sum(counts[reason] for reason in SET_ASIDE)
            record = replace(record, rows=counts["rows"], rejected=rejected, counts=dict(counts), pieces=len(files) - 1)
        write_staged(table, files[-1], record)
        rows += len(table)
    return StagedPart(tuple(files), rows, dict(counts))


def _make_key(target: Target, part: TablePart) -> JsonObject:
    return {
        "file": stamp_file(part.location).to_dict(),
        "part": [part.start, part.stop],
        "survey": describe_survey(target.survey),
        "bands": list(target.bands),
        "photoz": photoz.__version__,
        "format": _FORMAT,
    }


def _read_pieces(target: Target, part: TablePart, counts: Counter[str]) -> Iterator[tuple[pa.Table, bool]]:
    """Read the sources of a part, some at a time, and count what became of its rows; tell whether more may come."""
    schema, bands = make_target_schema(target), list_read_bands(target.survey, target.bands)
    tables: list[pa.Table] = []
    for found in read_part(target.table, part, target.survey, bands, positions=True):
        counts.update(found.counts)
        tables.append(found.table)
        if sum(map(len, tables)) >= _PIECE_ROWS:
            yield gather_sources(tables, schema), True
            tables = []
    yield gather_sources(tables, schema), False


def _find_staged(sources: str, name: str, key: JsonObject) -> StagedPart | None:
    last = read_staged(staged_location(sources, name))
    pieces = last.record.pieces if last is not None else 0
    files = [staged_location(sources, name), *(_locate_piece(sources, name, place + 1) for place in range(pieces))]
    found = [last, *(read_staged(file) for file in files[1:])]
    whole = [each for each in found if each is not None and each.record.key == key]
    if last is None or len(whole) < len(files):
        return None
    return StagedPart(tuple(files), sum(each.num_rows for each in whole), last.record.counts)


def _locate_piece(sources: str, name: str, number: int) -> str:
    return staged_location(sources, f"{name}-{number:04d}")
