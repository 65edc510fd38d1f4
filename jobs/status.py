#!/usr/bin/env python
"""Tell what a run has come to, from the records beside its catalogue alone: also when its cluster is gone.

completion records + lock + audit of locations.catalogue -> a few lines; exit status 0 finished, 3 running, 1 neither

    python jobs/status.py [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.job import run_job
from cluster.status import format_status, read_status
from photoz.settings.config import Config

# Not 2, which `run_job` gives for an error.
EXIT_STATUS = {"finished": 0, "running": 3, "unfinished": 1}


def main(config: Config) -> int:
    status = read_status(config.locations)
    print(format_status(status))
    return EXIT_STATUS[status.state]


if __name__ == "__main__":
    raise SystemExit(run_job(main, __file__, __doc__))
