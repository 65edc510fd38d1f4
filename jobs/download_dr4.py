#!/usr/bin/env python
"""Fetch the release's files of some tiles into the survey folder; resumes what was begun.

`python jobs/download_dr4.py [--config FILE] [--set 'download.tiles=["KIDS_180.0_-0.5"]'] [--dry-run]`
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("download", __file__, __doc__))
