"""Redshifts of a table with positions: a partitioned catalogue, audited and described."""

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.audit import audit_catalogue
from cluster.engines.choose import open_engine
from cluster.inference.publish import RunRecord
from cluster.inference.run import infer_catalogue
from cluster.ledger import check_output, name_owner
from cluster.overview import describe_catalogue
from cluster.tables.staging import prepare_sources
from cluster.tables.target import Target
from photoz.audit import AuditReport
from photoz.report.overview import write_overview
from photoz.settings.config import Config


@dataclass(frozen=True)
class Catalogue:
    """What came of a table with positions.

    Parameters
    ----------
    record : RunRecord
        Of the inference.
    audit : AuditReport
    counts : mapping of str to int
        Rows of the table by what became of them; the duplicates alone where it was read where it lies.
    page : str
        Location of the page that describes the catalogue.
    """

    record: RunRecord
    audit: AuditReport
    counts: Mapping[str, int]
    page: str


def estimate_catalogue(config: Config, target: Target) -> Catalogue:
    """Estimate a table with positions: a partitioned catalogue, audited and described.

    Returns
    -------
    Catalogue

    Raises
    ------
    CatalogueError
        The output holds files of something else.
    TableError
        The table is damaged, or several rows have one identifier and the survey refuses that.
    """
    # Before the sources are staged, for which another's output would have to be found out too late.
    check_output(config.locations.catalogue, name_owner(config.run, config.inference, target.survey.name))
    with open_engine(config.engine, config.storage_options) as engine:
        counts = prepare_sources(config, target, engine)
        record = infer_catalogue(config, engine)
        audit = audit_catalogue(config, engine, keep_repeated=target.survey.duplicates == "keep")
        page = write_overview(config, describe_catalogue(config, engine))
    return Catalogue(record, audit, counts, page)
