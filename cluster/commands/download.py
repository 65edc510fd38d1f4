"""Fetch the release's files of some tiles; resumes what was begun.

photoz download [--config FILE] [--set 'download.tiles=["KIDS_180.0_-0.5"]'] [--dry-run]
"""

from functools import partial

from photoz.settings.config import Config


def main(config: Config) -> int:
    """Plan what to fetch, fetch it, report what could not be had."""
    from cluster.engines.choose import choose_engine
    from cluster.engines.tasks import run_tasks
    from photoz.survey.download import fetch_file, plan_download, report_download

    plan = plan_download(config.download, config.survey)
    fetch = partial(fetch_file, config.locations.survey)
    return report_download(run_tasks(fetch, plan, choose_engine(config.engine, config.storage_options), label="files"))
