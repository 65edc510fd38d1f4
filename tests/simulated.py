"""A small simulated survey, and the galaxies that it is made of."""

from pathlib import Path

import numpy as np
from astropy.io import fits

from photoz.settings.config import Config, convert_config
from photoz.simulate.population import draw_galaxies
from photoz.simulate.seds import SedLibrary, load_library
from photoz.simulate.settings import Simulation
from photoz.simulate.sky import Recipe
from photoz.simulate.survey import TilePlan, plan_survey, simulate_tile, write_survey_tables
from photoz.survey.settings import Survey

CENTRE = (180.0, -0.5)
CENTRES = [[180.0, -0.5], [180.1, -0.5]]
BANDS = Survey().bands


def get_library() -> SedLibrary:
    """Return the fitted galaxies, which a process fits once."""
    responses = Simulation().responses
    return load_library(BANDS, tuple(responses[band] for band in BANDS))


def draw_bright(number: int = 4000):
    """Draw galaxies as the bright sample has them: rows of the library, redshifts."""
    rng = np.random.default_rng(3)
    return draw_galaxies(get_library(), rng, number, magnitudes=(15.5, 20.0), highest_redshift=0.6, mean_redshift=0.23)


def make_small_recipe(seed: int = 1, **simulation) -> Recipe:
    """Make the recipe of one small tile, with other settings as given."""
    small = {"pixels": 300, "galaxies_per_tile": 25, "faint_per_tile": 10, "stars_per_tile": 8}
    return Recipe(Simulation(centres=(CENTRE,), **(small | simulation)), Survey(), seed)


def make_config(folder: Path, *, seed: int = 1, survey: dict | None = None, **simulation) -> Config:
    small = {"centres": CENTRES, "pixels": 300, "galaxies_per_tile": 25, "faint_per_tile": 10, "stars_per_tile": 8}
    names = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
    return convert_config(
        {
            "run": {"name": "simulated", "seed": seed},
            "locations": {name: str(folder / name) for name in names},
            "survey": survey or {},
            "simulation": small | simulation,
        }
    )


def plan(config: Config) -> list[TilePlan]:
    return plan_survey(config.simulation, config.survey)


def make_recipe(config: Config) -> Recipe:
    return Recipe(config.simulation, config.survey, config.run.seed)


def write_survey(config: Config, *, backwards: bool = False) -> Path:
    plans, recipe = plan(config), make_recipe(config)
    folder, limit = config.locations.survey, config.selection.mag_auto_below
    for tile in reversed(plans) if backwards else plans:
        simulate_tile(recipe, folder, tile, limit=limit)
    write_survey_tables(recipe, folder, plans, limit=limit, spectra_file=config.crossmatch.file)
    return Path(config.locations.survey)


def simulate_first(config: Config) -> None:
    """Simulate the first tile alone."""
    recipe, folder = make_recipe(config), config.locations.survey
    simulate_tile(recipe, folder, plan(config)[0], limit=config.selection.mag_auto_below)


def read_catalogue(folder: Path, tile: str = "180.0_-0.5") -> fits.FITS_rec:
    return fits.getdata(folder / f"KiDS_DR4.0_{tile}_ugriZYJHKs_cat.fits", 1)
