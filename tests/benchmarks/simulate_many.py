#!/usr/bin/env python
r"""Simulate a survey of tens of thousands of galaxies with spectra, a few tiles at a time, and keep its training set.

    python tests/benchmarks/simulate_many.py FOLDER [--parts 1,2,3,4]

Each part is ten tiles as `make demo` makes them, of a seed and a place of their own: simulated, ingested, matched with
spectra and cut out; what is left is FOLDER/N/training, which compare_on_many.py reads, and FOLDER/N/truth.parquet: what
the simulation drew of each source, and the seeing of its tile. Survey files and tiles are removed, 8 GB a part.
"""

import argparse
import logging
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from cluster.commands import ingest, simulate
from cluster.training.set import build_training_set
from photoz.settings.config import Config, load_config
from photoz.simulate.render import draw_psf
from photoz.simulate.sky import Centre, Recipe, make_sources
from photoz.simulate.survey import format_name

ROOT = Path(__file__).resolve().parents[2]
ACROSS, DOWN, STEP = 5, 2, 0.2
SHAPES = ("redshift", "early", "radius", "bulge_index", "bulge_radius", "disc_radius", "bulge_ratio", "disc_ratio")


def make_config(folder: Path, part: int) -> Config:
    """Take the demo's settings, with ten tiles of a seed and a place of their own."""
    centres = [
        (round(180.0 + 5 * part + STEP * column, 1), round(-0.5 + STEP * row, 1))
        for row in range(DOWN)
        for column in range(ACROSS)
    ]
    places = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
    return load_config(
        str(ROOT / "jobs" / "dr4.toml"),
        [
            f"run.seed={1500 + part}",
            f"simulation.centres={[list(centre) for centre in centres]}",
            "engine.name=serial",
            *(f"locations.{place}={folder / str(part) / place}" for place in places),
        ],
    )


def write_truth(config: Config, location: Path) -> None:
    """Write what the simulation drew of all sources, by the identifiers of the survey's catalogue."""
    recipe = Recipe(config.simulation, config.survey, config.run.seed)
    tables = [read_truth(recipe, config.locations.survey, centre) for centre in config.simulation.centres]
    pq.write_table(pa.concat_tables(tables), location)


def read_truth(recipe: Recipe, survey: str, centre: Centre) -> pa.Table:
    """Read a tile's identifiers, which are in the order of its sources, and draw those again."""
    sources, bands = make_sources(recipe, centre), recipe.survey.bands
    with fits.open(Path(survey) / format_name(recipe.survey.catalogue_file, centre)) as hdus:
        names = np.array(hdus[1].data["ID"])
    assert len(names) == len(sources)
    columns = {name: getattr(sources, name) for name in SHAPES}
    columns |= {f"bulge_{band}": sources.bulge_fraction[:, bands.index(band)] for band in bands}
    for band in recipe.survey.image_bands:
        columns[f"seeing_{band}"] = np.full(len(names), draw_psf(recipe, centre, band).seeing)
    return pa.table({"object_id": names, **columns})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", default="1,2,3,4")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for part in map(int, options.parts.split(",")):
        config = make_config(options.folder.absolute(), part)
        simulate.main(config)
        ingest.main(config)
        summary = build_training_set(config)
        write_truth(config, options.folder / str(part) / "truth.parquet")
        for place in (config.locations.survey, config.locations.tiles):
            shutil.rmtree(place)
        print(f"part {part}: {summary.splits}", flush=True)


if __name__ == "__main__":
    main()
