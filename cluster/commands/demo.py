"""Simulate a small survey and run its steps, from survey files to a photo-z catalogue and report.

simulate -> ingest -> train (combined and photometry-only, side by side) -> infer (submitted to Ray) -> evaluate

    photoz demo [--config FILE] [--set section.key=value ...] [--dry-run]
"""

import argparse
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cluster.job import add_options, start_log

TRAIN_PHOTOMETRY = ["training.estimator=photometry"]
PHOTOMETRY = ["inference.estimator=photometry", "locations.catalogue=data/dr4/catalogue_photometry"]
SCRIPTS = {
    "simulate": "simulate_survey.py",
    "ingest": "ingest_dr4.py",
    "train": "train_dr4.py",
    "infer": "infer_dr4.py",
    "evaluate": "evaluate_dr4.py",
}
_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_TO_END = 20.0
logger = logging.getLogger("photoz.demo")


@dataclass(frozen=True)
class Step:
    """One command of the demo.

    Parameters
    ----------
    command : str
    settings : list of str
        That it has before the user's own.
    submitted : bool
        By ``ray job submit``.
    """

    command: str
    settings: Sequence[str] = field(default_factory=list)
    submitted: bool = False


STEPS = (
    (Step("simulate"),),
    (Step("ingest"),),
    # Side by side on a core each: on two, these small batches are no faster.
    (Step("train"), Step("train", TRAIN_PHOTOMETRY)),
    (Step("infer", submitted=True),),
    (Step("infer", PHOTOMETRY),),
    (Step("evaluate"),),
)
"""In order; those of one group run side by side."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that each step is given."""
    add_options(parser, None)


def main(options: argparse.Namespace) -> int:
    """Run the steps on a Ray head of their own; the first that fails ends the demo."""
    start_log("", verbose=options.verbose)
    if options.dry_run:
        print("\n".join(" ".join(write_line(step, options)) for group in STEPS for step in group))
        return 0
    from cluster.local import start_head

    # Ray's processes outlive who started them: a demo that was told to end would leave a cluster running.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with start_head() as head:
        for group in STEPS:
            failed = run_together(group, options, head.environment)
            if failed:
                print(f"error: {failed}; its messages are above", file=sys.stderr)
                return 1
    return 0


def run_together(group: Sequence[Step], options: argparse.Namespace, environment: Mapping[str, str]) -> str:
    """Run steps side by side; tell which failed first, if one does, which ends the others."""
    folder = Path(options.script).resolve().parents[1] if options.script else Path.cwd()
    start, running = time.monotonic(), {}
    try:
        for step in group:
            line = write_line(step, options)
            logger.info("%s", " ".join(line))
            # A process each, as a user starts them: no step sees what another has set.
            cwd = folder if step.submitted else None
            running[subprocess.Popen(find_program(line, folder), env=environment, cwd=cwd)] = line
        while running:
            for process in [process for process in running if process.poll() is not None]:
                line = running.pop(process)
                if process.returncode:
                    return f"{' '.join(line)} ended with status {process.returncode}"
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            # One that a store or a disk holds up must not hold up the end of the demo.
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_SECONDS_TO_END)
            process.kill()
    logger.info("%s took %.0f s", group[0].command, time.monotonic() - start)
    return ""


def write_line(step: Step, options: argparse.Namespace) -> list[str]:
    """Write a step as a user would, by the door that the demo came through."""
    entry = ["python", f"jobs/{SCRIPTS[step.command]}"] if options.script else ["photoz", step.command]
    config = ["--config", options.config] if options.config else []
    # The user's own come last: of two values for one setting the later counts.
    words = [*config, *(word for each in (*step.settings, *options.set) for word in ("--set", each))]
    if not step.submitted:
        return [*entry, *words]
    entry = entry[1:] if options.script else ["python", "-m", *entry]
    # Without "--" `ray job submit` takes --set and --config for options of its own.
    return ["ray", "job", "submit", *(["--"] if len(entry + words) > 1 else []), *entry, *words]


def find_program(line: list[str], folder: Path) -> list[str]:
    """Write a line out: this interpreter, and the script where it lies, whatever folder and environment are active."""
    match line:
        case ["python", script, *words]:
            return [sys.executable, str(folder / script), *words]
        case ["photoz", *words]:
            return [sys.executable, "-m", "photoz", *words]
    return line
