"""Prove or refute that a photo-z catalogue holds every source once, in its pixel, unchanged.

photo-z catalogue + source catalogue + completion records -> table of checks, run/audit.json; exit status 1 if not

    photoz audit [--catalogue DIR] [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.job import add_catalogue, locate_catalogue
from photoz.settings.config import Config

add_arguments = add_catalogue
change_settings = locate_catalogue


def main(config: Config) -> int:
    """Audit, print the checks, and tell by the exit status."""
    from cluster.audit import audit_catalogue
    from photoz.audit import format_audit

    report = audit_catalogue(config)
    print(format_audit(report))
    print(f"audit: {config.locations.catalogue}/run/audit.json")
    return 0 if report.clean else 1
