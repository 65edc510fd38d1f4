#!/usr/bin/env python
"""Estimate the redshift of every source of the source catalogue and write the photo-z catalogue.

source catalogue -> cutouts from the tile store -> estimator -> partitioned catalogue (HATS) and its run record

    python jobs/infer_dr4.py [--config FILE] [--set section.key=value ...] [--dry-run]
    ray job submit jobs/infer_dr4.py
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("infer", __file__, __doc__))
