#!/usr/bin/env python
"""Fit estimators to a plain catalogue with known redshifts, test them on its other galaxies, and set them side by side.

plain catalogue -> fit on its training rows -> estimates of the others -> metrics.csv, estimates, one HTML page

    python jobs/compare_estimators.py --set data.catalogue=FILE --set data.bands=u,g,r,i,z --set output=DIR \
        [--set estimators=all] [--config FILE] [--set section.key=value ...] [--dry-run]

Each fitted estimator is kept in DIR/models/<name>: jobs/infer_dr4.py runs it over a survey that has its bands with
--set locations.models=DIR/models --set inference.estimator=<name>.
"""

from cluster.job import run_job_with
from photoz.comparison import Comparison, compare_estimators, write_comparison


def main(config: Comparison) -> None:
    outcome = compare_estimators(config)
    page = write_comparison(config, outcome)
    print(f"metrics: {config.output}/metrics.csv")
    print(f"page: {page}")


if __name__ == "__main__":
    # $PHOTOZ_CONFIG, which names a survey run's settings, does not count for these.
    raise SystemExit(run_job_with(Comparison, main, __file__, __doc__, defaults="compare.toml"))
