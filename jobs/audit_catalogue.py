#!/usr/bin/env python
"""Prove or refute that the photo-z catalogue holds every source once, in its pixel, unchanged; exit status 1 if not.

photo-z catalogue + source catalogue + completion records -> table of checks, run/audit.json

    python jobs/audit_catalogue.py [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("audit", __file__, __doc__))
