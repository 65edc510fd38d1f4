#!/usr/bin/env python
"""Measure photo-z catalogues against the spectroscopic redshifts of the test galaxies, and write the report.

photo-z catalogues + test split of the training set -> accuracy table, figures, one HTML page

    python jobs/evaluate_dr4.py [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.job import run_job
from photoz.evaluate.evaluation import evaluate_catalogues
from photoz.report import format_table, write_report
from photoz.settings.config import Config


def main(config: Config) -> None:
    evaluation = evaluate_catalogues(config)
    page = write_report(config, evaluation)
    print(format_table(evaluation))
    for result in evaluation.results:
        print(f"catalogue: {result.location} ({result.label}, {result.scan.rows:,} rows)")
    print(f"report: {page}")


if __name__ == "__main__":
    raise SystemExit(run_job(main, __file__, __doc__))
