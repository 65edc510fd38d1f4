"""Write a small simulated survey in KiDS DR4's file formats.

images, masks, weights, catalogues, and tables like KiDS-Bright and GAMA, with known redshifts

photoz simulate [--config FILE] [--set section.key=value ...] [--dry-run]
"""

import logging
from functools import partial

from photoz.settings.config import Config

logger = logging.getLogger("photoz.jobs.simulate_survey")


def main(config: Config) -> None:
    """Plan the tiles, render them over the cores, write the tables."""
    from cluster.engines.choose import choose_engine
    from cluster.engines.tasks import run_tasks
    from photoz.simulate.sky import Recipe
    from photoz.simulate.survey import plan_survey, simulate_tile, write_survey_tables

    recipe, folder = Recipe(config.simulation, config.survey, config.run.seed), config.locations.survey
    limit = config.selection.mag_auto_below
    plans = plan_survey(config.simulation, config.survey)
    engine = choose_engine(config.engine, config.storage_options)
    for result in run_tasks(partial(simulate_tile, recipe, folder, limit=limit), plans, engine, label="tiles"):
        logger.info(
            "%s: %d bright galaxies, %d files, %.1f s", result.tile, result.galaxies, result.files, result.seconds
        )
    # Last, since the tables are made from the catalogues of all tiles.
    write_survey_tables(recipe, folder, plans, limit=limit, spectra_file=config.crossmatch.file)
