#!/usr/bin/env python
"""Prove or refute that the photo-z catalogue holds every source once, in its pixel, unchanged; exit status 1 if not.

photo-z catalogue + source catalogue + completion records -> table of checks, run/audit.json

    python jobs/audit_catalogue.py [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.audit import audit_catalogue
from cluster.job import run_job
from photoz.audit import format_audit
from photoz.settings.config import Config


def main(config: Config) -> int:
    report = audit_catalogue(config)
    print(format_audit(report))
    print(f"audit: {config.locations.catalogue}/run/audit.json")
    return 0 if report.clean else 1


if __name__ == "__main__":
    raise SystemExit(run_job(main, __file__, __doc__))
