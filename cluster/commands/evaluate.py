"""Measure photo-z catalogues against spectroscopic redshifts, and write the report.

photo-z catalogues + test split of the training set -> accuracy table, figures, one HTML page

    photoz evaluate [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from photoz.settings.config import Config


def main(config: Config) -> None:
    """Measure, write the report, print its table."""
    from photoz.evaluate.evaluation import evaluate_catalogues
    from photoz.report import format_table, write_report

    evaluation = evaluate_catalogues(config)
    page = write_report(config, evaluation)
    print(format_table(evaluation))
    for result in evaluation.results:
        print(f"catalogue: {result.location} ({result.label}, {result.scan.rows:,} rows)")
    print(f"report: {page}")
