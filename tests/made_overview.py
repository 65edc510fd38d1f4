"""Rows of a photo-z catalogue and overviews of them, made of numbers."""

from dataclasses import fields

import numpy as np
from scipy.stats import norm

from photoz.catalogue.hats import Partition
from photoz.catalogue.records import PastRun
from photoz.evaluate.skymap import SkyMap
from photoz.overview.examples import Examples
from photoz.overview.overview import Model, Overview
from photoz.overview.partition import Plan
from photoz.overview.sums import CatalogueSums, Rows, sum_rows
from photoz.pdf import encode_quantiles
from photoz.ranges import Ranges, count_ranges, summarize_photometry
from photoz.schema import LEVELS, Flag

BANDS = ("g", "r", "i")


def make_rows(count: int, *, seed: int = 1, with_pdf: bool = True) -> Rows:
    """Draw rows with some of everything: no redshift, flags, unknown distances and magnitudes."""
    rng = np.random.default_rng(seed)
    z_N = rng.gamma(4.0, 0.1, count)
    z_N[rng.random(count) < 0.1] = np.nan
    distance_N = rng.gamma(3.0, 0.2, count)
    distance_N[rng.random(count) < 0.1] = np.nan
    flags_N = np.where(np.isnan(z_N), int(Flag.ESTIMATE_FAILED), 0)
    flags_N |= np.where(distance_N > 1, int(Flag.OUTSIDE_TRAINING), 0)
    mag_N = rng.uniform(17, 24, count)
    mag_N[rng.random(count) < 0.2] = np.nan
    spread_N = 0.02 + 0.1 * rng.random(count)
    quantiles_NQ = np.maximum(norm.ppf(np.array(LEVELS)[None], z_N[:, None], spread_N[:, None]), 0)
    return Rows(
        healpix_N=rng.integers(0, 12 * 4**29, count),
        object_id_N=np.array([f"o{number}" for number in range(count)], dtype=object),
        ra_N=rng.uniform(0, 360, count),
        dec_N=rng.uniform(-60, 60, count),
        mag_auto_N=mag_N,
        z_phot_N=z_N,
        flags_N=flags_N,
        distance_N=distance_N,
        codes_NQ=encode_quantiles(quantiles_NQ) if with_pdf else None,
    )


def take(rows: Rows, part: np.ndarray) -> Rows:
    return Rows(*(None if (own := getattr(rows, each.name)) is None else own[part] for each in fields(rows)))


def assert_same(found: CatalogueSums, expected: CatalogueSums) -> None:
    """Assert that all sums are equal to the last digit."""
    for each in fields(expected):
        mine, theirs = getattr(found, each.name), getattr(expected, each.name)
        if isinstance(theirs, SkyMap | Examples):
            for inner in fields(theirs):
                np.testing.assert_array_equal(getattr(mine, inner.name), getattr(theirs, inner.name))
        else:
            np.testing.assert_array_equal(mine, theirs)


def make_magnitudes(count: int, *, shift: float = 0.0, seed: int = 1) -> np.ndarray:
    """Draw magnitudes in g, r and i; ``shift`` [mag] makes g fainter."""
    values_NF = np.random.default_rng(seed).normal([21.0, 20.0, 19.6], 0.5, (count, 3))
    return values_NF + np.array([shift, 0.0, 0.0])


def make_overview(sums: CatalogueSums | None = None, **changes: object) -> Overview:
    """Make an overview of drawn rows, whose target is 2 mag fainter in g than its training sample."""
    ranges = Ranges.read(summarize_photometry(make_magnitudes(2000), BANDS), BANDS)
    assert ranges is not None
    manifest = {"estimator": "mlp", "bands": list(BANDS), "record": {"training_rows": 2000}}
    run = PastRun("2026-11-27T18:00:00Z", 12.3, "models/mlp", "first", {"photoz": "1"}, {"run": {"name": "first"}})
    values = {
        "plan": Plan("somewhere", (Partition(0, 0),), algorithm="mlp"),
        "sums": sum_rows(make_rows(2000)) if sums is None else sums,
        "model": Model("models/mlp", manifest, ranges, ""),
        "counts": count_ranges(make_magnitudes(500, shift=2.0, seed=2), ranges),
        "problem": "",
        "run": run,
    }
    return Overview(**(values | changes))
