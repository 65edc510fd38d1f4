#!/usr/bin/env python
"""Survey files to the tile store and the partitioned source catalogue.

`python jobs/ingest_dr4.py [--config FILE] [--set section.key=value ...] [--dry-run]`
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("ingest", __file__, __doc__))
