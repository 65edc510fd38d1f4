#!/usr/bin/env python
"""From nothing to a photo-z catalogue on one machine: simulate a small survey, then run the survey's own jobs on it.

simulate -> ingest -> train (combined and photometry-only) -> infer (submitted to Ray) -> evaluate

    python jobs/demo.py [--config FILE] [--set section.key=value ...]
"""

import logging
import subprocess
import sys
import time
from pathlib import Path

from cluster.local import Head, start_head

JOBS = Path(__file__).resolve().parent
# The network without images trains in a second an epoch, so it may take more of them.
TRAIN_PHOTOMETRY = [
    "training.estimator=photometry",
    "training.schedule.max_epochs=40",
    "training.schedule.decay_steps=100",
]
PHOTOMETRY = ["--set", "inference.estimator=photometry", "--set", "locations.catalogue=data/dr4/catalogue_photometry"]
logger = logging.getLogger("photoz.demo")


def main(options: list[str]) -> None:
    with start_head() as head:
        run(head, "simulate_survey.py", options)
        run(head, "ingest_dr4.py", options)
        run(head, "train_dr4.py", options)
        run(head, "train_dr4.py", [*(word for each in TRAIN_PHOTOMETRY for word in ("--set", each)), *options])
        submit(head, "infer_dr4.py", options)
        # The user's own come last: of two values for one setting the later counts.
        run(head, "infer_dr4.py", [*PHOTOMETRY, *options])
        run(head, "evaluate_dr4.py", options)


def run(head: Head, job: str, options: list[str]) -> None:
    start = time.monotonic()
    logger.info("python jobs/%s %s", job, " ".join(options))
    # A process each, as a user starts them: no job sees what another has set.
    subprocess.run([sys.executable, JOBS / job, *options], env=head.environment, check=True)
    logger.info("jobs/%s took %.0f s", job, time.monotonic() - start)


def submit(head: Head, job: str, options: list[str]) -> None:
    start = time.monotonic()
    logger.info("ray job submit %s jobs/%s %s", "--" if options else "", job, " ".join(options))
    # Without "--" `ray job submit` takes --set and --config for options of its own.
    entry = ["--", f"jobs/{job}", *options] if options else [f"jobs/{job}"]
    subprocess.run(["ray", "job", "submit", *entry], env=head.environment, cwd=JOBS.parent, check=True)
    logger.info("jobs/%s took %.0f s", job, time.monotonic() - start)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"error: {error.cmd} ended with status {error.returncode}; its messages are above") from None
