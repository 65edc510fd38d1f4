#!/usr/bin/env python
"""Compute the redshift distribution n(z) of the photo-z catalogue in tomographic bins, with bootstrap errors.

photo-z catalogue -> nz.parquet, nz.png in the report's folder nz

    python jobs/summarize_nz.py [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("nz", __file__, __doc__))
