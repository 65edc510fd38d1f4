"""A table to be estimated, held against the model, and its parts: what each task of a table is given."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import pyarrow as pa

from photoz.errors import ConfigError
from photoz.estimators import Estimator, load_estimator
from photoz.ingest.staging import staging_location
from photoz.settings.config import Config
from photoz.settings.run import Locations
from photoz.storage import find_filesystem, join
from photoz.survey.settings import Survey
from photoz.tables import Table, TableSurvey, check_columns, choose_columns, load_survey, open_survey_table
from photoz.tables.columns import find_bands
from photoz.tables.load import make_survey
from photoz.tables.settings import TableInput
from photoz.training.recorded import SURVEY, read_record
from photoz.views import list_read_bands, make_table_schema

logger = logging.getLogger(__name__)


_ACCEPT_ABSENT = "have them count as not observed with --set table.absent_bands=accept"


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


def open_target(config: Config) -> Target:
    """Open the table that the settings name, and hold it against its survey's file and the model.

    Raises
    ------
    ConfigError
        The model reads images, or bands that the table lacks, or was fitted to another survey; the table lies in the
        output or the output in the table's folder; or it is not what its survey's file says.
    EstimatorError, TableError
        The model or the table is missing or damaged.
    """
    settings = config.table
    _refuse_nested(settings.location, config.locations, config.inference.estimator)
    estimator = load_estimator(join(config.locations.models, config.inference.estimator))
    if estimator.image_bands:
        raise ConfigError(
            f"the model reads images ({', '.join(estimator.image_bands)}), which a table has not: fit one with photoz "
            "fit, or infer a survey with photoz infer"
        )
    survey = settings.settle(choose_survey(settings, estimator)).without_redshifts()
    table = open_survey_table(settings.location, survey)
    survey = _settle_bands(survey, table, estimator.bands, settings)
    placed = _check(table, survey, list_read_bands(survey, estimator.bands))
    return Target(table, survey, estimator.bands, placed)


def _refuse_nested(table: str, locations: Locations, model: str) -> None:
    """Refuse a table or a model within what a run writes, and an output that the next run would take for one's own."""
    output, estimator = locations.catalogue, join(locations.models, model)
    # Of a pattern the folder in which its names are looked for.
    folder = table if "*" not in table else table[: table.index("*")].rpartition("/")[0] or "."
    nested = "*" not in table or "/" in table[table.index("*") :]
    written = {
        "the output": output,
        "the sources of the output": locations.sources,
        "the staged sources of the output": staging_location(locations.sources),
        "the report of the output": locations.report,
    }
    for name, place in written.items():
        if _lies_within(folder, place):
            raise ConfigError(f"the table {table!r} lies within {name} {place!r}: give another output")
    if nested and _lies_within(output, folder):
        raise ConfigError(
            f"the output {output!r} lies within the table {table!r}, of whose files it would be the next time: give an "
            "output beside it"
        )
    if _lies_within(estimator, output) or _lies_within(output, estimator):
        raise ConfigError(
            f"the output {output!r} and the model {estimator!r} lie one in the other: give another output"
        )


def _lies_within(location: str, folder: str) -> bool:
    (store, inner), (other, outer) = find_filesystem(location), find_filesystem(folder)
    return store == other and f"{inner.rstrip('/')}/".startswith(f"{outer.rstrip('/')}/")


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


def _settle_bands(survey: TableSurvey, table: Table, bands: Sequence[str], settings: TableInput) -> TableSurvey:
    """Return the survey, where a table may lack some of the model's bands with those alone that it has."""
    named = list_read_bands(survey, bands)
    if settings.absent_bands == "refuse":
        if absent := [band for band in bands if band not in named]:
            raise ConfigError(
                f"the model reads the bands {absent}, which a table of {survey.name!r} has not: fit one without "
                f"them, or {_ACCEPT_ABSENT}"
            )
        return survey
    # Of a table that has none of them it is told what it lacks.
    there = find_bands(survey, table.schema.names, bands) or named
    if absent := [band for band in bands if band not in there]:
        logger.warning("the bands %s count as not observed: %s has none", ", ".join(absent), table.location)
        return msgspec.structs.replace(survey, bands=there)
    return survey


def _check(table: Table, survey: TableSurvey, bands: Sequence[str]) -> bool:
    """Check the table against its survey's file, and tell whether it has positions."""
    there = find_bands(survey, table.schema.names, bands)
    try:
        placed = bool(choose_columns(survey, table.schema.names, bands, table=table.location).survey.ra)
        check_columns(table, survey, bands, need=("position",) if placed else ())
    except ConfigError as error:
        if not 0 < len(there) < len(bands):
            raise
        absent = [band for band in bands if band not in there]
        raise ConfigError(f"{error}; where it has not the bands {absent}, {_ACCEPT_ABSENT}") from error
    return placed


def settle_survey(survey: Survey, target: Target) -> Survey:
    """Return the settings of a survey of files with the table's name and bands, and without images."""
    return msgspec.structs.replace(survey, name=target.survey.name, bands=target.bands, image_bands=())


def drop_parts(target: Target) -> Target:
    """Return the target without the list of its table's parts: each task is handed its own, and not all with it."""
    return replace(target, table=replace(target.table, parts=()))


def name_part(number: int) -> str:
    """Return the name of a part's staged rows.

    >>> name_part(7)
    'part-000007'
    """
    return f"part-{number:06d}"


def make_target_schema(target: Target) -> pa.Schema:
    """Build the schema of the sources that a target's table gives."""
    return make_table_schema(target.table, target.survey, target.bands)
