"""Measure photo-z catalogues against spectroscopic redshifts, and write the report.

photo-z catalogues + test split of the training set, or a table of redshifts -> accuracy table, figures, one HTML page

    photoz evaluate [--config FILE] [--set section.key=value ...] [--dry-run]
    photoz evaluate --catalogue DIR --truth TABLE [--survey NAME] [--join id|position] [--report DIR]

TABLE is what photoz fit takes, with identifiers or positions and redshifts; photometry need not be there. Without
--join its galaxies are found in the catalogue by identifier.
"""

import argparse

from cluster.job import name_beside
from photoz.settings.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is asked for beside settings."""
    parser.add_argument("--catalogue", metavar="DIR", help="the one catalogue to measure, as photoz estimate writes it")
    parser.add_argument("--truth", metavar="TABLE", help="evaluation.truth.table: galaxies with redshifts")
    parser.add_argument("--survey", metavar="NAME", help="evaluation.truth.survey: whose columns the table has")
    parser.add_argument("--join", choices=("id", "position"), help="evaluation.truth.join: how they are found")
    parser.add_argument("--report", metavar="DIR", help="locations.report: folder of the report; DIR_report by default")


def change_settings(options: argparse.Namespace) -> list[str]:
    """Return the settings that the arguments stand for."""
    told: dict[str, str] = {}
    if options.catalogue:
        told |= name_beside(options.catalogue, "--catalogue")
        # Which sources it was made from its own record says; other catalogues are those of the settings at hand.
        del told["locations.sources"]
        told["evaluation.catalogues"] = "{}"
    if options.truth:
        # What the settings say of a sample, or of a training, is of another one.
        told |= {"evaluation.truth.table": options.truth, "evaluation.sample": ""}
        told |= {"locations.training": "", "locations.tiles": ""} if options.catalogue else {}
    given = {
        "evaluation.truth.survey": options.survey,
        "evaluation.truth.join": options.join,
        "locations.report": options.report,
    }
    told |= {name: value for name, value in given.items() if value is not None}
    return [f"{name}={value}" for name, value in told.items()]


def main(config: Config) -> None:
    """Measure, write the report, print its table."""
    from photoz.evaluate.evaluation import evaluate_catalogues
    from photoz.report import format_table, write_report

    evaluation = evaluate_catalogues(config)
    page = write_report(config, evaluation)
    print(format_table(evaluation))
    for note in evaluation.galaxies.notes:
        print(f"note: {note}")
    for result in evaluation.results:
        print(f"catalogue: {result.location} ({result.label}, {result.scan.rows:,} rows)")
    print(f"report: {page}")
