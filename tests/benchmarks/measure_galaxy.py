"""What a galaxy costs on its way from tiles to catalogue, by part: microseconds of one thread's processor time.

python tests/benchmarks/measure_galaxy.py [float32|bfloat16]

Some 3,000 galaxies at the density of KiDS-Bright in eight partitions; the lean `hybrid` with a training distance of
20,000 galaxies in nine bands. The least of three passes counts, of each part by itself.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bright_sample import make_magnitudes
from conftest import save_untrained
from from_magnitudes import convert
from measure_reading import make_rows, write_tiles
from runs import change
from tiny_survey import make_config

from photoz.catalogue.hats import PRIMARY, Partition, read_partition, write_partition
from photoz.estimators import Estimates, load_estimator
from photoz.estimators.distance import TrainingDistance
from photoz.estimators.networks.hybrid import HybridEstimator
from photoz.estimators.photometric.features import select_distinct
from photoz.inference import estimate_rows, keep_memory, make_table, read_cutouts
from photoz.inputs import make_inputs
from photoz.schema import HEALPIX_COLUMN, HEALPIX_ORDER
from photoz.settings.config import Config
from photoz.tiles.settings import Tiles

PARTITIONS, NAMES, BATCH, ROUNDS = 8, 24, 256, 3


class Costs:
    """Seconds of processor time by part; of several passes the least."""

    def __init__(self) -> None:
        self.best: dict[str, float] = {}
        self._now: dict[str, float] = defaultdict(float)

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self._now[part] += time.process_time() - start

    def end_pass(self) -> None:
        for part, seconds in self._now.items():
            self.best[part] = min(seconds, self.best.get(part, seconds))
        self._now.clear()


def make_survey(folder: Path) -> tuple[Config, list[Partition]]:
    """Write tiles, a source catalogue of equal partitions and an estimator with a training distance."""
    config = make_config(folder)
    write_tiles(Path(config.locations.tiles), Tiles(), side=6144, names=NAMES)
    first = Partition(4, 16)
    rows = make_rows(Path(config.locations.tiles), config.survey.bands, first)
    size, parts = len(rows) // PARTITIONS, []
    for number in range(PARTITIONS):
        part, own = Partition(first.order, first.pixel + number), rows.slice(number * size, size)
        healpix_N = (part.pixel << 2 * (HEALPIX_ORDER - part.order)) + np.arange(size)
        own = own.set_column(0, own.schema.field(HEALPIX_COLUMN), [healpix_N])
        write_partition(f"{config.locations.sources}/{PRIMARY}", part, own)
        parts.append(part)
    save_untrained(config, "hybrid")
    return config, parts


def add_distance(estimator: HybridEstimator) -> HybridEstimator:
    magnitudes_NF = make_magnitudes(np.random.default_rng(3), 20_000, len(estimator.bands))
    features_NC = estimator.preparation.features.apply(*convert(magnitudes_NF, 0.03))
    return replace(estimator, distance=TrainingDistance.fit(select_distinct(features_NC)))


def go_through(config: Config, parts: list[Partition], estimator: HybridEstimator, costs: Costs) -> int:
    galaxies = 0
    for part in parts:
        with costs.of("source rows read"):
            sources = read_partition(config.locations.sources, part)
        with costs.of("cutouts read"):
            rows = read_cutouts(sources, config.locations.tiles, estimator).table
        with costs.of("arrays of columns"):
            inputs = make_inputs(rows, estimator.bands)
        estimates = estimate(estimator, inputs, costs)
        with costs.of("columns of the catalogue"):
            table = make_table(rows, estimates, algorithm=estimator.name)
        with costs.of("partition written"):
            write_partition(config.locations.catalogue, part, table)
        with costs.of("all of estimating, as it is called"):
            estimate_rows(rows, estimator, batch_size=BATCH)
        galaxies += len(rows)
    return galaxies


def estimate(estimator: HybridEstimator, inputs: object, costs: Costs) -> Estimates:
    """Do what the estimator does with each batch a second time, one part after another, for what each takes."""
    for start in range(0, len(inputs), BATCH):
        some = inputs.take(slice(start, start + BATCH))
        model = estimator.model
        with torch.inference_mode():
            with costs.of("pixels and fluxes prepared"):
                view = model.show(some)
            with costs.of("forward pass"):
                points_NK, density = model.read(model.run(view))
            with costs.of("point from density"):
                estimator._find_points(points_NK, density)
            with costs.of("distance from the training sample"):
                estimator.measure_distance(some)
            with costs.of("quantiles"):
                estimator._find_quantiles(some, view, density)
    return estimator.estimate(inputs, batch_size=BATCH)


def main() -> None:
    precision = sys.argv[1] if len(sys.argv) > 1 else "float32"
    torch.set_num_threads(1)
    keep_memory()
    with tempfile.TemporaryDirectory() as folder:
        config, parts = make_survey(Path(folder))
        config = change(config, inference__precision=precision)
        estimator = add_distance(load_estimator(f"{config.locations.models}/hybrid").prepare(precision))
        costs = Costs()
        for _ in range(ROUNDS):
            galaxies = go_through(config, parts, estimator, costs)
            costs.end_pass()
    for part, seconds in costs.best.items():
        print(f"{part:<40}{1e6 * seconds / galaxies:8.1f} µs")


if __name__ == "__main__":
    main()
