#!/usr/bin/env python
"""From nothing to a photo-z catalogue on one machine: simulate a small survey, then run the survey's own jobs on it.

simulate -> ingest -> train (combined and photometry-only) -> infer (submitted to Ray) -> evaluate

    python jobs/demo.py [--config FILE] [--set section.key=value ...]
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("demo", __file__, __doc__))
