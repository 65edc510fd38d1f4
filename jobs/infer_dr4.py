#!/usr/bin/env python
"""Estimate the redshift of every source of the source catalogue and write the photo-z catalogue.

source catalogue -> cutouts from the tile store -> estimator -> partitioned catalogue (HATS) and its run record

    python jobs/infer_dr4.py [--config FILE] [--set section.key=value ...] [--dry-run]
    ray job submit jobs/infer_dr4.py
"""

from cluster.inference.run import infer_catalogue
from cluster.job import run_job
from photoz.errors import CatalogueError
from photoz.settings.config import Config


def main(config: Config) -> None:
    record = infer_catalogue(config)
    print(f"catalogue: {config.locations.catalogue}")
    print(f"rows: {record.rows:,}, with a redshift: {record.estimated:,} ({record.completeness:.2%})")
    # The seconds are of this run alone; earlier ones may have done a part.
    print(f"run record: {config.locations.catalogue}/run/run.json ({record.this_run.seconds:.0f} s)")
    if record.failures:
        print(f"set aside: {record.failures} tiles or rows, see {config.locations.catalogue}/run/failures.parquet")
    # The catalogue stands all the same, and the next run tries again what could not be read.
    if record.completeness < config.inference.min_completeness:
        raise CatalogueError(
            f"completeness {record.completeness:.4f} is below inference.min_completeness = "
            f"{config.inference.min_completeness}: the flags in the run record say why"
        )


if __name__ == "__main__":
    raise SystemExit(run_job(main, __file__, __doc__))
