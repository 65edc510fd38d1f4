#!/usr/bin/env python
"""Survey files to the tile store and the partitioned source catalogue.

`python jobs/ingest_dr4.py [--config FILE] [--set section.key=value ...] [--dry-run]`
"""

from cluster.ingest import ingest_survey
from cluster.job import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(ingest_survey, __file__, __doc__))
