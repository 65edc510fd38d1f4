"""A first result within a minute: redshifts of real galaxies, their accuracy and plots.

real SDSS galaxies -> fitted to four fifths -> estimates of the others -> accuracy table, report

    photoz first [DIR]        (default: data/first)

Runs photoz example, fit, estimate and evaluate, and shows each as it would be typed. Opens nothing, needs no network.
"""

import argparse
import shlex
import time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder."""
    parser.add_argument("folder", nargs="?", default="data/first", metavar="DIR", help="folder of all that is written")


def list_steps(folder: str) -> list[list[str]]:
    """List the commands, a list of words each."""
    known, others, model, redshifts = (
        f"{folder}/{name}" for name in ("galaxies.parquet", "others.parquet", "model", "redshifts")
    )
    return [
        ["example", known, "--set-apart", others],
        # Those who look again get the same: a second run of `first` begins anew.
        ["fit", known, "--bands", "u,g,r,i,z", "--model", model, "--set", "overwrite=true"],
        ["estimate", others, "--model", model, "--output", redshifts],
        ["evaluate", "--catalogue", redshifts, "--truth", others],
    ]


def main(options: argparse.Namespace) -> int:
    """Run the steps in this process; the first that fails ends it."""
    took = {}
    for words in list_steps(options.folder.rstrip("/")):
        start = time.monotonic()
        print(f"\n$ photoz {shlex.join(words)}", flush=True)
        status: int = options.run_command(words[0], words[1:])
        if status:
            return status
        took[words[0]] = time.monotonic() - start
    each = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items())
    print(f"\nAll of it took {sum(took.values()):.0f} s ({each}). Your own table takes the same commands.")
    return 0
