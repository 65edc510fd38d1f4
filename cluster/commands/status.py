"""Tell what a run of infer has come to, also when its cluster is gone.

completion records + lock + audit of locations.catalogue -> a few lines; exit status 0 finished, 3 running, 1 neither

    photoz status [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from photoz.settings.config import Config

# Not 2, which `cluster.job` gives for an error.
EXIT_STATUS = {"finished": 0, "running": 3, "unfinished": 1}


def main(config: Config) -> int:
    """Print what the run has come to, and tell it by the exit status."""
    from cluster.status import format_status, read_status

    status = read_status(config.locations)
    print(format_status(status))
    return EXIT_STATUS[status.state]
