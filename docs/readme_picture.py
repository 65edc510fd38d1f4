#!/usr/bin/env python
"""Draw docs/readme.png: redshifts of real galaxies on the left, simulated ones with images and p(z) on the right.

    python docs/readme_picture.py [--set section.key=value ...]

After `make demo`, whose first catalogue is on the right. Left: `mlp`, fitted to half of kcorrect's SDSS galaxies and
tested on the others. Some two minutes.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

import photoz
from cluster.command import main as run
from photoz.evaluate.evaluation import evaluate_catalogues
from photoz.evaluate.examples import read_shown
from photoz.plots import Sample, plot_redshifts, render_png
from photoz.plots.galaxies import plot_galaxies
from photoz.settings.config import load_config

HERE = Path(__file__).resolve().parent
HEIGHT = 640  # [pixel]
COLOURS = 128  # of the file: fewer bytes than a photograph's


def draw_real(folder: Path) -> Image.Image:
    """Draw z_phot against z_spec of real galaxies that the estimator has not seen."""
    run(["example", f"{folder}/readme.parquet"])
    galaxies = pq.read_table(f"{folder}/readme.parquet")
    order = np.random.default_rng(1).permutation(len(galaxies))
    half = len(order) // 2
    model = photoz.fit(galaxies.take(order[:half]), bands="ugriz")
    target = galaxies.take(order[half:])
    z_phot = photoz.estimate(model, target).z_phot
    return render(plot_redshifts([Sample("SDSS, u g r i z, mlp", z_phot, target["z_spec"].to_numpy())]))


def draw_simulated(overrides: list[str]) -> Image.Image:
    """Draw simulated galaxies with their images and p(z)."""
    config = load_config(str(HERE.parent / "jobs" / "dr4.toml"), [*overrides, "evaluation.resamples=0"])
    accuracy = evaluate_catalogues(config)
    bands, size = config.survey.image_bands, config.training.cutout_size
    shown = read_shown(accuracy, config.locations.tiles, bands, size=size, seed=config.run.seed)
    return render(plot_galaxies(shown, [str(kind) for kind in shown.kinds]))


def render(figure: object) -> Image.Image:
    """Render a figure at the picture's height."""
    image = Image.open(io.BytesIO(render_png(figure, dpi=200))).convert("RGB")  # type: ignore[arg-type]
    return image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.Resampling.LANCZOS)


def main() -> None:
    """Draw both and put them side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parts = [draw_real(Path("data")), draw_simulated(parser.parse_args().set)]
    whole = Image.new("RGB", (sum(part.width for part in parts), HEIGHT), "white")
    whole.paste(parts[0], (0, 0))
    whole.paste(parts[1], (parts[0].width, 0))
    whole.quantize(COLOURS).save(HERE / "readme.png", optimize=True)


if __name__ == "__main__":
    main()
