#!/usr/bin/env python
"""Export the photo-z catalogue, or some of its rows and columns, as one file that other programs read.

photo-z catalogue -> one file: FITS (TOPCAT), CSV, Parquet, an ensemble of qp, or a table of RAIL

    python jobs/export_catalogue.py [--config FILE] [--set export.format=csv ...] [--dry-run]
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("export", __file__, __doc__))
