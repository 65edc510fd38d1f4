#!/usr/bin/env python
"""Fetch the release's files of some tiles into the survey folder; resumes what was begun.

`python jobs/download_dr4.py [--config FILE] [--set 'download.tiles=["KIDS_180.0_-0.5"]'] [--dry-run]`
"""

from functools import partial

from cluster.engines.choose import choose_engine
from cluster.engines.tasks import run_tasks
from cluster.job import run_job
from photoz.settings.config import Config
from photoz.survey.download import fetch_file, plan_download, report_download


def main(config: Config) -> int:
    """Plan what to fetch, fetch it, report what could not be had."""
    plan = plan_download(config.download, config.survey)
    fetch = partial(fetch_file, config.locations.survey)
    return report_download(run_tasks(fetch, plan, choose_engine(config), label="files"))


if __name__ == "__main__":
    raise SystemExit(run_job(main, __file__, __doc__))
