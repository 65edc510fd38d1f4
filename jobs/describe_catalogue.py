#!/usr/bin/env python
"""Describe a photo-z catalogue without spectroscopic redshifts: training sample, n(z), p(z), flags, sky.

photo-z catalogue + source catalogue + the estimator's folder -> one HTML page, figures, overview.json

    python jobs/describe_catalogue.py [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("describe", __file__, __doc__))
