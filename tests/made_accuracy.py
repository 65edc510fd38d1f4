"""The accuracy of catalogues that were never written: galaxies, scans and figures made of arrays."""

import numpy as np
import pyarrow as pa

from photoz.catalogue.hats import Partition
from photoz.evaluate.calibration import Calibration, Calibrations
from photoz.evaluate.evaluation import Accuracy, CatalogueAccuracy
from photoz.evaluate.galaxies import Galaxies
from photoz.evaluate.scan import Z_EDGES, Scan
from photoz.evaluate.skymap import SkyMap
from photoz.metrics import compute_binned, compute_metrics, compute_paired_difference
from photoz.schema import Flag

COUNT = 400


def make_galaxies() -> Galaxies:
    generator = np.random.default_rng(1)
    z_spec = generator.gamma(4.2, 0.056, COUNT)
    return Galaxies(
        object_id=pa.array([f"g{i}" for i in range(COUNT)]),
        z_spec=z_spec,
        mag_auto=generator.uniform(17, 20, COUNT),
        colour=0.4 + 1.3 * z_spec,
        repeated=0,
    )


def make_result(galaxies: Galaxies, label: str, scatter: float, *, with_pdf: bool) -> CatalogueAccuracy:
    """Make the accuracy of a catalogue with normal scatter in dz."""
    generator = np.random.default_rng(2)
    z_phot = galaxies.z_spec + scatter * (1 + galaxies.z_spec) * generator.standard_normal(COUNT)
    flags = dict.fromkeys((str(flag.name) for flag in Flag), 0) | {"MASKED_PIXELS": 4}
    scan = Scan(
        rows=1000,
        estimated=900,
        flags=flags,
        z_counts=np.histogram(z_phot, Z_EDGES)[0].astype(float),
        sky=SkyMap(5, np.array([10, 11]), np.array([600, 400])),
        partitions=[Partition(3, 0)],
        z_phot=z_phot,
        flags_T=np.where(np.arange(COUNT) < 4, int(Flag.MASKED_PIXELS), 0),
        place_T=np.zeros(COUNT, dtype=np.int64),
        repeated=0,
    )
    options = {"resamples": 10, "seed": 1}
    bins = {
        name: compute_binned(z_phot, galaxies.z_spec, values, np.quantile(values, [0.0, 0.5, 1.0]), **options)
        for name, values in (("mag_auto", galaxies.mag_auto), ("colour_half", galaxies.colour))
    }
    calibration = None
    if with_pdf:
        figures = {"count": COUNT, "ks": 0.03, "coverage_68": 0.67, "coverage_95": 0.94, "crps": 0.01, "cde_loss": -9.0}
        groups = [Calibration("all", recalibrated, **figures) for recalibrated in (True, False)]
        pit = generator.uniform(size=COUNT)
        calibration = Calibrations(label, groups, pit, np.clip(1.3 * pit - 0.15, 0, 1), scan.z_counts)
    metrics = compute_metrics(z_phot, galaxies.z_spec, **options)
    return CatalogueAccuracy(label, f"/nowhere/{label}", scan, metrics, bins, calibration)


def make_accuracy(*labels: str, with_pdf: bool = False) -> Accuracy:
    """Make the accuracy of catalogues, each a half worse than the one before."""
    galaxies = make_galaxies()
    results = [
        make_result(galaxies, label, 0.02 * 1.5**number, with_pdf=with_pdf) for number, label in enumerate(labels)
    ]
    first, *others = results
    differences = {
        other.label: compute_paired_difference(
            first.scan.z_phot, other.scan.z_phot, galaxies.z_spec, resamples=10, seed=1
        )
        for other in others
    }
    return Accuracy(galaxies, results, differences)
