#!/usr/bin/env python
"""Describe a photo-z catalogue without spectroscopic redshifts: training sample, n(z), p(z), flags, sky.

photo-z catalogue + source catalogue + the estimator's folder -> one HTML page, figures, overview.json

    python jobs/describe_catalogue.py [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.job import run_job
from cluster.overview import describe_catalogue
from photoz.report.overview import format_overview, write_overview
from photoz.settings.config import Config


def main(config: Config) -> None:
    overview = describe_catalogue(config)
    page = write_overview(config, overview)
    print(format_overview(overview))
    print(f"overview: {page}")


if __name__ == "__main__":
    raise SystemExit(run_job(main, __file__, __doc__))
