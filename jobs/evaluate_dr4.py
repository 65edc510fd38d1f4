#!/usr/bin/env python
"""Measure photo-z catalogues against the spectroscopic redshifts of the test galaxies, and write the report.

photo-z catalogues + test split of the training set -> accuracy table, figures, one HTML page

    python jobs/evaluate_dr4.py [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("evaluate", __file__, __doc__))
