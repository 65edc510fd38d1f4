#!/usr/bin/env python
"""Export the photo-z catalogue, or some of its rows and columns, as one file that other programs read.

photo-z catalogue -> one file: FITS (TOPCAT), CSV, Parquet, an ensemble of qp, or a table of RAIL

    python jobs/export_catalogue.py [--config FILE] [--set export.format=csv ...] [--dry-run]
"""

from cluster.job import run_job
from photoz.export import export_catalogue
from photoz.settings.config import Config


def main(config: Config) -> None:
    exported = export_catalogue(config.locations.catalogue, config.export)
    print(f"{exported.rows} rows as {exported.format}: {exported.location}")


if __name__ == "__main__":
    raise SystemExit(run_job(main, __file__, __doc__))
