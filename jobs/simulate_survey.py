#!/usr/bin/env python
"""Write a small simulated survey in KiDS DR4's file formats: images, catalogues, KiDS-Bright and GAMA-like tables.

`python jobs/simulate_survey.py [--config FILE] [--set section.key=value ...] [--dry-run]`
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("simulate", __file__, __doc__))
