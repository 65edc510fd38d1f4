"""Write the galaxies of a simulated survey as a plain catalogue, without rendering a pixel.

python tests/benchmarks/write_simulated.py CONFIG.toml CATALOGUE.parquet

Magnitudes and errors as the survey's catalogue has them, the true redshift as z_spec; the sources that the KiDS-Bright
file would list, without the masked ones. For jobs/compare_estimators.py.
"""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from photoz.settings.config import load_config
from photoz.simulate.catalogue import measure_sources, select_bright
from photoz.simulate.sky import Recipe, make_sources
from photoz.simulate.survey import MASKED_BITS, plan_survey


def main(settings: str, location: str) -> None:
    config = load_config(settings)
    recipe, limit = Recipe(config.simulation, config.survey, config.run.seed), config.selection.mag_auto_below
    parts = [read_tile(recipe, plan.centre, limit) for plan in plan_survey(config.simulation, config.survey)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    pq.write_table(pa.table(columns), location)
    print(f"{len(columns['z_spec'])} galaxies in {location}")


def read_tile(recipe, centre, limit: float) -> dict[str, np.ndarray]:
    sources = make_sources(recipe, centre)
    measured = measure_sources(recipe, centre, sources, sources)
    chosen = select_bright(measured, limit) & (measured["MASK"] & MASKED_BITS == 0) & ~sources.star
    columns = {"object_id": measured["ID"][chosen], "z_spec": sources.redshift[chosen]}
    for band in recipe.survey.bands:
        for ours, theirs in (("mag", "MAG_GAAP"), ("magerr", "MAGERR_GAAP")):
            values = measured[f"{theirs}_{band}"][chosen].astype(np.float64)
            columns[f"{ours}_{band}"] = np.where(np.abs(values) < 90, values, np.nan)
    return columns


if __name__ == "__main__":
    main(*sys.argv[1:])
