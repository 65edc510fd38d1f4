"""Redshifts for any table: its sources are partitioned once, or read where they lie if it is partitioned itself."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import photoz
from cluster.audit import audit_catalogue
from cluster.engines.base import Engine
from cluster.engines.choose import open_engine
from cluster.engines.retries import insist
from cluster.engines.tasks import run_tasks
from cluster.inference.publish import RunRecord
from cluster.inference.run import infer_catalogue
from cluster.ledger import check_output
from cluster.lock import hold_lock
from cluster.overview import describe_catalogue
from cluster.partitioning import partition_sources
from photoz.audit import AuditReport
from photoz.catalogue.records import locate_in_run
from photoz.errors import ConfigError
from photoz.estimators import Estimator, load_estimator
from photoz.inference import estimate_table, prepare_estimator
from photoz.ingest.staging import StagedRecord, read_staged, staged_location, staging_location, write_staged
from photoz.report.overview import write_overview
from photoz.settings.config import Config
from photoz.settings.inference import Inference
from photoz.storage import join, list_folder, open_atomic, remove, write_json
from photoz.survey.fits import stamp_file
from photoz.tables import Table, TablePart, TableSurvey, check_columns, load_survey, open_survey_table
from photoz.tables import read_sources as read_part
from photoz.tables.load import describe_survey, make_survey
from photoz.tables.settings import TableInput
from photoz.training.table import SURVEY, read_record
from photoz.views import SET_ASIDE, gather_sources, list_read_bands, make_table_schema, write_view

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Target:
    """A table to be estimated, held against the model and found to fit.

    Parameters
    ----------
    table : Table
    survey : TableSurvey
    bands : tuple of str
        That the model reads.
    placed : bool
        Whether the table has positions.
    """

    table: Table
    survey: TableSurvey
    bands: tuple[str, ...]
    placed: bool

    @property
    def partitioned(self) -> bool:
        """Whether the table's parts are HEALPix pixels, which are read where they lie."""
        return bool(self.table.parts) and all(part.pixel is not None for part in self.table.parts)


@dataclass(frozen=True)
class StagedPart:
    """What came of a part of a table: rows of sources staged, and rows of the table by what became of them."""

    name: str
    rows: int
    counts: Mapping[str, int] = field(default_factory=dict)


def open_target(config: Config) -> Target:
    """Open the table that the settings name, and hold it against its survey's file and the model.

    Raises
    ------
    ConfigError
        The model reads images, or bands that the table lacks, or was fitted to another survey; the table lies in the
        output; or it is not what its survey's file says.
    EstimatorError, TableError
        The model or the table is missing or damaged.
    """
    settings, output = config.table, config.locations.catalogue
    if f"{settings.location}/".startswith(f"{output.rstrip('/')}/"):
        raise ConfigError(f"the table {settings.location!r} lies within the output {output!r}: give another output")
    estimator = load_estimator(join(config.locations.models, config.inference.estimator))
    if estimator.image_bands:
        raise ConfigError(
            f"the model reads images ({', '.join(estimator.image_bands)}), which a table has not: fit one with photoz "
            "fit, or infer a survey with photoz infer"
        )
    survey = choose_survey(settings, estimator)
    table = open_survey_table(settings.location, survey)
    bands = list_read_bands(survey, estimator.bands)
    if absent := [band for band in estimator.bands if band not in bands]:
        _refuse_absent(absent, survey, settings)
    checked = check_columns(table, survey, bands)
    placed = bool(survey.ra) and survey.ra in checked.columns
    return Target(table, survey, estimator.bands, placed)


def choose_survey(settings: TableInput, estimator: Estimator) -> TableSurvey:
    """Choose what the table's columns mean: the settings' survey, or the one that the model was fitted to.

    Raises
    ------
    ConfigError
        The settings name another survey than the model's, and do not accept that; or neither names one.
    """
    record = read_record(estimator).get(SURVEY)
    trained = make_survey(record, "the model's survey") if record else None
    if not settings.survey:
        if trained is None:
            raise ConfigError("the model names no survey of its own: say whose columns the table has with --survey")
        return trained
    survey = load_survey(settings.survey)
    if trained is not None and trained.name != survey.name and settings.other_survey == "refuse":
        raise ConfigError(
            f"the model was fitted to tables of {trained.name!r}, this is one of {survey.name!r}: bands of one name "
            "may be other filters. Fit a model to this survey, or accept it with --set table.other_survey=accept"
        )
    return survey


def prepare_sources(config: Config, target: Target, engine: Engine) -> Counter[str]:
    """Make the source catalogue that inference reads: a view of a partitioned table, or partitions of another.

    Returns
    -------
    Counter
        Rows of the table by what became of them; empty for a view, whose rows are read later.
    """
    if target.partitioned:
        write_view(config.locations.sources, target.table, target.survey, target.bands)
        logger.info("the table's %d partitions are read where they lie", len(target.table.parts))
        return Counter()
    with hold_lock(staging_location(config.locations.sources)) as lock:
        counts = stage_parts(target, config.locations.sources, engine)
        insist(lock.check, config.engine.retries, "looking at the lock")
        # Without a margin, which only matching with spectra reads.
        sources = msgspec.structs.replace(config.sources, margin_arcsec=0.0)
        schema = make_target_schema(target)
        partition_sources(msgspec.structs.replace(config, sources=sources), engine, schema=schema)
    return counts


def stage_parts(target: Target, sources: str, engine: Engine) -> Counter[str]:
    """Stage the sources of all parts of a table; parts that are staged already stay.

    Raises
    ------
    TableError
        A part is damaged.
    """
    folder = staging_location(sources)
    tasks = list(enumerate(target.table.parts))
    wanted = {staged_location(sources, name_part(number)) for number, _ in tasks}
    for location in list_folder(folder, "part-*.parquet"):
        # Of an earlier table in this place, by the name that only this module gives.
        if location not in wanted and read_staged(location) is not None:
            remove(location)
    counts: Counter[str] = Counter()
    stage = partial(stage_part, drop_parts(target), sources)
    for staged in run_tasks(stage, tasks, engine, label="parts of the table"):
        counts.update(staged.counts)
    return counts


def make_target_schema(target: Target) -> pa.Schema:
    """Build the schema of the sources that a target's table gives."""
    return make_table_schema(target.table, target.survey, target.bands)


def drop_parts(target: Target) -> Target:
    """Return the target without the list of its table's parts: each task is handed its own, and not all with it."""
    return replace(target, table=replace(target.table, parts=()))


def name_part(number: int) -> str:
    """Return the name of a part's staged rows.

    >>> name_part(7)
    'part-000007'
    """
    return f"part-{number:06d}"


def stage_part(target: Target, sources: str, task: tuple[int, TablePart]) -> StagedPart:
    """Stage the sources of one part of a table, unless they are there from the same file and meaning of columns."""
    number, part = task
    name = name_part(number)
    location = staged_location(sources, name)
    key = {
        "file": stamp_file(part.location).to_dict(),
        "part": [part.start, part.stop],
        "survey": describe_survey(target.survey),
        "bands": list(target.bands),
        "photoz": photoz.__version__,
    }
    known = read_staged(location)
    if known is not None and known.record.key == key:
        return StagedPart(name, known.num_rows, known.record.counts)
    counts: Counter[str] = Counter()
    tables = []
    bands = list_read_bands(target.survey, target.bands)
    for found in read_part(target.table, part, target.survey, bands, positions=True):
        counts.update(found.counts)
        tables.append(found.table)
    rows = gather_sources(tables, make_target_schema(target))
    rejected = sum(counts[reason] for reason in SET_ASIDE)
    record = StagedRecord(
        key=key, rows=counts["rows"], rejected=rejected, counts=dict(counts), photoz=photoz.__version__
    )
    write_staged(rows, location, record)
    return StagedPart(name, len(rows), dict(counts))


def _refuse_absent(absent: Sequence[str], survey: TableSurvey, settings: TableInput) -> None:
    if settings.absent_bands == "refuse":
        raise ConfigError(
            f"the model reads the bands {list(absent)}, which a table of {survey.name!r} has not: fit one without "
            "them, or have them count as not observed with --set table.absent_bands=accept"
        )
    logger.warning("the bands %s count as not observed: a table of %s has none", ", ".join(absent), survey.name)


@dataclass(frozen=True)
class Catalogue:
    """What came of a table with positions.

    Parameters
    ----------
    record : RunRecord
        Of the inference.
    audit : AuditReport
    counts : mapping of str to int
        Rows of the table by what became of them; empty where it was read where it lies.
    page : str
        Location of the page that describes the catalogue.
    """

    record: RunRecord
    audit: AuditReport
    counts: Mapping[str, int]
    page: str


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
        The output holds files of something else.
    """
    owner = {"run": config.run.name, "estimator": config.inference.estimator, "survey": target.survey.name}
    check_output(config.locations.catalogue, owner)
    total: Counter[str] = Counter()
    rows = estimated = 0
    with open_engine(config) as engine:
        places = (join(config.locations.models, config.inference.estimator), config.locations.catalogue)
        estimate = partial(estimate_part, drop_parts(target), config.inference, *places)
        for part in run_tasks(estimate, list(enumerate(target.table.parts)), engine, label="parts of the table"):
            rows, estimated = rows + part.rows, estimated + part.estimated
            total.update(part.counts)
    # Of an earlier table of more parts, by the name that only this module gives, in a folder that is this run's.
    own = {
        join(config.locations.catalogue, f"{name_part(number)}.parquet") for number in range(len(target.table.parts))
    }
    for location in list_folder(config.locations.catalogue, "part-*.parquet"):
        if location not in own:
            remove(location)
    written = Written(rows, estimated, dict(total))
    write_json(locate_in_run(config.locations.catalogue, "run.json"), {**owner, **asdict(written)})
    return written


def estimate_part(target: Target, settings: Inference, model: str, output: str, task: tuple[int, TablePart]) -> Written:
    """Estimate one part of a table without positions and write its file."""
    number, part = task
    estimator = prepare_estimator(model, settings)
    bands, schema = list_read_bands(target.survey, target.bands), make_target_schema(target)
    counts: Counter[str] = Counter()
    tables = []
    for found in read_part(target.table, part, target.survey, bands):
        counts.update(found.counts)
        tables.append(estimate_table(found.table, estimator, schema, batch_size=settings.batch_size))
    if not tables:
        return Written(0, 0, {})
    table = pa.concat_tables(tables)
    with open_atomic(join(output, f"{name_part(number)}.parquet")) as file:
        pq.write_table(table, file, compression="zstd")
    return Written(len(table), int(np.isfinite(table["z_phot"].to_numpy()).sum()), dict(counts))


def estimate_catalogue(config: Config, target: Target) -> Catalogue:
    """Estimate a table with positions: a partitioned catalogue, audited and described.

    Returns
    -------
    Catalogue
    """
    with open_engine(config) as engine:
        counts = prepare_sources(config, target, engine)
        record = infer_catalogue(config)
        audit = audit_catalogue(config)
        page = write_overview(config, describe_catalogue(config))
    return Catalogue(record, audit, counts, page)


def settle_survey(config: Config, target: Target) -> Config:
    """Return the settings with the table's survey in place of the survey of files."""
    survey = msgspec.structs.replace(config.survey, name=target.survey.name, bands=target.bands, image_bands=())
    return msgspec.structs.replace(config, survey=survey)
