#!/usr/bin/env python
"""Write a small simulated survey in KiDS DR4's file formats: images, catalogues, KiDS-Bright and GAMA-like tables.

`python jobs/simulate_survey.py [--config FILE] [--set section.key=value ...] [--dry-run]`
"""

import logging
from functools import partial

from cluster.engines.choose import choose_engine
from cluster.engines.tasks import run_tasks
from cluster.job import run_job
from photoz.settings.config import Config
from photoz.simulate.survey import plan_survey, simulate_tile, write_survey_tables

logger = logging.getLogger("photoz.jobs.simulate_survey")


def main(config: Config) -> None:
    """Plan the tiles, render them over the cores, write the tables."""
    plans = plan_survey(config.simulation, config.survey)
    for result in run_tasks(partial(simulate_tile, config), plans, choose_engine(config), label="tiles"):
        logger.info(
            "%s: %d bright galaxies, %d files, %.1f s", result.tile, result.galaxies, result.files, result.seconds
        )
    # Last, since the tables are made from the catalogues of all tiles.
    write_survey_tables(config, plans)


if __name__ == "__main__":
    raise SystemExit(run_job(main, __file__, __doc__))
