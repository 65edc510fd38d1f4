"""Estimate the redshifts of a table's rows, with a model that photoz fit made.

table -> fluxes -> estimator -> partitioned catalogue (HATS), audited, and a page that describes it

    photoz estimate TABLE --model DIR --output DIR [--survey NAME]

TABLE is what photoz fit takes, without redshifts. A HATS catalogue is read where it lies, and its partitions are those
of the result; of another table the sources are partitioned once, beside the output. A table without positions gives a
folder of Parquet files.
"""

import argparse
from collections.abc import Mapping

from cluster.job import name_beside
from photoz.settings.config import Config
from photoz.settings.locations import settle_location


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is asked for beside settings."""
    parser.add_argument("table", metavar="TABLE", help="table.location: galaxies to estimate")
    parser.add_argument("--model", required=True, metavar="DIR", help="folder of the fitted estimator")
    parser.add_argument("--output", required=True, metavar="DIR", help="locations.catalogue: folder of the result")
    parser.add_argument("--survey", metavar="NAME", help="table.survey: a name or a file; the model's by default")


def change_settings(options: argparse.Namespace) -> list[str]:
    """Return the settings that the arguments stand for."""
    models, _, name = settle_location(options.model, "--model").rpartition("/")
    told = {
        "table.location": options.table,
        "locations.models": models or "/",
        "inference.estimator": name,
        **name_beside(options.output, "--output"),
    }
    if options.survey:
        told["table.survey"] = options.survey
    return [f"{name}={value}" for name, value in told.items()]


def main(config: Config) -> int:
    """Estimate, and tell what came of it; exit status 1 where the audit finds something wrong."""
    import msgspec

    from cluster.tables.catalogue import estimate_catalogue
    from cluster.tables.plain import estimate_plain
    from cluster.tables.target import open_target, settle_survey

    target = open_target(config)
    config = msgspec.structs.replace(config, survey=settle_survey(config.survey, target))
    catalogue = config.locations.catalogue
    if not target.placed:
        written = estimate_plain(config, target)
        print(f"redshifts: {catalogue}/part-*.parquet (the table has no positions: no catalogue, and no audit)")
        _tell_rows(catalogue, written.rows, written.estimated, written.counts)
        return 0
    from photoz.audit import format_audit

    made = estimate_catalogue(config, target)
    print(format_audit(made.audit))
    print(f"catalogue: {catalogue}")
    print(f"page: {made.page}")
    _tell_rows(catalogue, made.record.rows, made.record.estimated, made.counts)
    return 0 if made.audit.clean else 1


def _tell_rows(catalogue: str, rows: int, estimated: int, counts: Mapping[str, int]) -> None:
    from photoz.catalogue.records import REPEATED_IDS, locate_in_run

    share = f" ({estimated / rows:.2%})" if rows else ""
    print(f"rows: {rows:,}, with a redshift: {estimated:,}{share}")
    reasons = {"cut": "by the survey's cuts", "no_identifier": "without identifier", "no_position": "without position"}
    aside = [f"{counts[key]:,} {text}" for key, text in reasons.items() if counts.get(key)]
    if aside:
        print(f"rows of the table set aside: {', '.join(aside)}")
    if counts.get("duplicates"):
        told = f"{counts['duplicates']:,} (listed in {locate_in_run(catalogue, REPEATED_IDS)})"
        print(f"rows with the identifier of another row, which are kept: {told}")
