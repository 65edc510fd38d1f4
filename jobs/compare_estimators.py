#!/usr/bin/env python
"""Fit estimators to a plain catalogue with known redshifts, test them on its other galaxies, and set them side by side.

plain catalogue -> fit on its training rows -> estimates of the others -> metrics.csv, estimates, one HTML page

    python jobs/compare_estimators.py --set data.catalogue=FILE --set data.bands=u,g,r,i,z --set output=DIR \
        [--set estimators=all] [--config FILE] [--set section.key=value ...] [--dry-run]

Each fitted estimator is kept in DIR/models/<name>: jobs/infer_dr4.py runs it over a survey that has its bands with
--set locations.models=DIR/models --set inference.estimator=<name>.
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("compare", __file__, __doc__))
