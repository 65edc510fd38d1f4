"""Tell what a run of infer has come to, also when its cluster is gone.

completion records + lock + audit of locations.catalogue -> a few lines; exit status 0 finished, 3 running, 1 neither

    photoz status [--catalogue DIR] [--watch [SECONDS]] [--config FILE] [--set section.key=value ...] [--dry-run]

With --watch it is told again until the run ends, with the sky as it fills up. The run itself writes the same as a page,
run/index.html in the catalogue.
"""

import argparse
import sys
import time

from cluster.job import add_catalogue, locate_catalogue
from photoz.settings.config import Config

# Not 2, which `cluster.job` gives for an error.
EXIT_STATUS = {"finished": 0, "running": 3, "unfinished": 1}
_CLEAR = "\x1b[H\x1b[2J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is asked for beside settings."""
    add_catalogue(parser)
    parser.add_argument(
        "--watch", nargs="?", const=10.0, type=float, metavar="SECONDS", help="status.watch: 10 s by default"
    )


def change_settings(options: argparse.Namespace) -> list[str]:
    """Return the settings that the arguments stand for."""
    watch = [] if options.watch is None else [f"status.watch={options.watch}"]
    return [*locate_catalogue(options), *watch]


def main(config: Config) -> int:
    """Print what the run has come to, and tell it by the exit status."""
    from cluster.status import describe_plain, format_sky, format_status, read_status

    if told := describe_plain(config.locations.catalogue):
        print(told)
        return EXIT_STATUS["finished"]

    seconds = config.status.watch
    while True:
        began = time.monotonic()
        status = read_status(config.locations)
        # In a terminal over what was told before.
        clear = _CLEAR if seconds and sys.stdout.isatty() else ""
        sky = f"\n{format_sky(status)}\n" if seconds else ""
        print(f"{clear}{format_status(status)}{sky}", flush=True)
        if status.state != "running" or not seconds:
            return EXIT_STATUS[status.state]
        # Not all the time, whatever is asked for: the store has other work.
        time.sleep(max(seconds, time.monotonic() - began))
