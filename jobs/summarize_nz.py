#!/usr/bin/env python
"""Compute the redshift distribution n(z) of the photo-z catalogue in tomographic bins, with bootstrap errors.

photo-z catalogue -> nz.parquet, nz.png in the report's folder nz

    python jobs/summarize_nz.py [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.job import run_job
from cluster.nz import summarize_nz
from photoz.nz.description import format_nz
from photoz.report.nz import locate_nz, write_nz
from photoz.settings.config import Config


def main(config: Config) -> None:
    distribution, description = summarize_nz(config)
    table = write_nz(locate_nz(config.nz, config.locations.report), distribution, description)
    print(format_nz(description))
    print(f"n(z): {table}")


if __name__ == "__main__":
    raise SystemExit(run_job(main, __file__, __doc__))
