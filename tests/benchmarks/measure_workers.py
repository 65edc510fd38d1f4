#!/usr/bin/env python
r"""What a worker of inference holds before its first partition and at most, by engine and by what it does.

    PYTHONPATH=.:tests python tests/benchmarks/measure_workers.py [hybrid or photometry]

A partition of 30 galaxies of a tiny survey goes through each stage in a process of its own, which has imported what a
worker of the engine has.
"""

import sys
import tempfile
from pathlib import Path

from conftest import make_ready_survey
from runs import change
from worker_roles import ENGINES, ROLES, run_roles

from cluster.inference.plan import plan_run
from photoz.sources import list_source_partitions


def main(estimator: str = "hybrid") -> None:
    """Print the table."""
    print("| engine | " + " | ".join(ROLES) + " |\n" + "|---" * (len(ROLES) + 1) + "|")
    with tempfile.TemporaryDirectory() as folder:
        config = make_ready_survey(Path(folder)).config
        partition = list_source_partitions(config.locations.sources)[0]
        for engine in ENGINES:
            # A catalogue each: a partition that is done is not done again.
            own = change(config, locations__catalogue=f"{folder}/{engine}", inference__estimator=estimator)
            found = run_roles(plan_run(own), partition, engine, Path(folder))
            cells = [f"{found[role].ready_mib:.0f} MiB, at most {found[role].peak_mib:.0f}" for role in ROLES]
            print(f"| {engine} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
