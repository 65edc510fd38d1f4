#!/usr/bin/env python
"""Tell what a run has come to, from the records beside its catalogue alone: also when its cluster is gone.

completion records + lock + audit of locations.catalogue -> a few lines; exit status 0 finished, 3 running, 1 neither

    python jobs/status.py [--watch [SECONDS]] [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("status", __file__, __doc__))
