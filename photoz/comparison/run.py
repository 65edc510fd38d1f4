"""Fit estimators to the training rows of a plain catalogue and measure them on the others."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from photoz.binning import choose_round_edges
from photoz.comparison.plain import PlainCatalogue, read_plain_catalogue, read_survey_catalogue
from photoz.comparison.settings import Comparison, check_comparison, list_bands, list_estimators
from photoz.errors import ConfigError
from photoz.estimators.base import Inputs
from photoz.estimators.photometric.base import PhotometricEstimator, Sample
from photoz.estimators.registry import list_fitted, load_class
from photoz.metrics import Bin, FloatArray, Metrics, compute_binned, compute_metrics
from photoz.pdf import compute_cde_losses, compute_crps
from photoz.storage import join, open_atomic

logger = logging.getLogger(__name__)

Value = TypeVar("Value")
_ROWS = 20_000  # galaxies whose p(z) is in memory at a time


@dataclass(frozen=True, eq=False)
class Result:
    """What one estimator did.

    Parameters
    ----------
    name : str
    z_phot_N : ndarray of float32, shape (N,)
        Of the test galaxies.
    metrics : Metrics
    crps, cde_loss : float
        NaN where the estimator gives no p(z).
    train_s, estimate_s : float
        [s] wall time of the fit, and of estimating the test galaxies once.
    train_mib, estimate_mib : float
        [MiB] by which the process grew at most meanwhile; NaN where the system does not tell.
    bins : mapping of str to sequence of Bin
    without : mapping of str to Metrics
        By the band that was removed from the test galaxies; empty when that was not asked for.
    """

    name: str
    z_phot_N: npt.NDArray[np.float32]
    metrics: Metrics
    crps: float
    cde_loss: float
    train_s: float
    estimate_s: float
    train_mib: float
    estimate_mib: float
    bins: Mapping[str, Sequence[Bin]]
    without: Mapping[str, Metrics]


@dataclass(frozen=True, eq=False)
class Outcome:
    """All estimators' results on one catalogue, and the test galaxies they were measured on."""

    train_rows: int
    test: Sample
    results: Sequence[Result]


@dataclass(frozen=True)
class Usage:
    """What a call took: wall time [s], and memory [MiB] that the process grew by; NaN where the system does not say."""

    seconds: float
    mib: float


def compare_estimators(config: Comparison) -> Outcome:
    """Fit and measure the estimators of the settings; write ``estimates/<name>.parquet`` and ``models/<name>``.

    Raises
    ------
    ConfigError
        A setting is missing or names an estimator that does not read photometry alone.
    CatalogueError, TableError
        The catalogue cannot be used; see `read_plain_catalogue` and `read_survey_catalogue`.
    TrainingError
        Its training rows cannot be learnt from.
    """
    check_comparison(config)
    names = choose_estimators(config)
    catalogue = read_catalogue(config)
    train, test = catalogue.sample.take(catalogue.train_N), catalogue.sample.take(~catalogue.train_N)
    # Before the first fit, some of which take a minute or more, and not by each estimator in its turn.
    train.check()
    logger.info("%d galaxies to learn from, %d to test on, bands %s", len(train), len(test), ", ".join(train.bands))
    results = [compare_one(config, name, catalogue, train, test) for name in names]
    return Outcome(len(train), test, results)


def read_catalogue(config: Comparison) -> PlainCatalogue:
    """Read the catalogue of the settings, by a survey's file where they name one."""
    data = config.data
    if data.survey:
        bands = list_bands(config) if data.bands else None
        return read_survey_catalogue(
            data.catalogue, data.survey, bands, test_fraction=data.test_fraction, seed=config.seed, z_max=data.z_max
        )
    return read_plain_catalogue(
        data.catalogue, list_bands(config), test_fraction=data.test_fraction, seed=config.seed, z_max=data.z_max
    )


def choose_estimators(config: Comparison) -> list[str]:
    """Return the names of the estimators to compare; raises `ConfigError` for one that this job cannot fit."""
    known = list_fitted()
    asked = list_estimators(config)
    names = known if asked == ("all",) else list(asked)
    # Settings for an estimator that does not exist are a misspelling, which would else change nothing in silence.
    strange = [name for name in [*names, *config.fit] if name not in known]
    if strange or not names:
        raise ConfigError(
            f"estimators {strange} cannot be fitted to a plain catalogue: choose of {known}, or 'all' (those that read "
            "images are trained by jobs/train_dr4.py and compared by jobs/evaluate_dr4.py)"
        )
    # An estimator named twice would overwrite its own files.
    return list(dict.fromkeys(names))


def compare_one(config: Comparison, name: str, catalogue: PlainCatalogue, train: Sample, test: Sample) -> Result:
    """Fit one estimator, save it, and measure it on the test galaxies."""
    kind: Any = load_class(name)
    fit: Callable[[], PhotometricEstimator[Any]] = partial(
        kind.fit, train, seed=config.seed, **config.fit.get(name, {})
    )
    estimator, fitting = measure_usage(fit)
    # Saved before it is measured: a fit of minutes is not lost to a failure of the test rows.
    estimator.save(join(config.output, "models", name))
    inputs = test.make_inputs()
    estimates, estimating = measure_usage(partial(estimator.estimate, inputs))
    z_N = estimates.z_phot_N
    object_id = catalogue.object_id.filter(pa.array(~catalogue.train_N))
    table = pa.table({"object_id": object_id, "z_spec": test.z_N, "z_phot": z_N, "flags": estimates.flags_N})
    # By the training galaxies: the grid must not know the redshifts that are to be estimated.
    top = 1.2 * float(np.max(train.z_N))
    crps, cde_loss = write_estimates(
        config, estimator, table, inputs, np.linspace(0.0, max(top, 0.1), config.pdf_points)
    )
    metrics = compute_metrics(z_N, test.z_N, resamples=config.resamples, seed=config.seed)
    logger.info("%s: SMAD %.4f, fitted in %.1f s", name, metrics["smad"].value, fitting.seconds)
    return Result(
        name=name,
        z_phot_N=z_N,
        metrics=metrics,
        crps=crps,
        cde_loss=cde_loss,
        train_s=fitting.seconds,
        estimate_s=estimating.seconds,
        train_mib=fitting.mib,
        estimate_mib=estimating.mib,
        bins=_measure_in_bins(config, z_N, test),
        without=_remove_bands(config, estimator, test) if config.without_bands else {},
    )


def write_estimates(
    config: Comparison, estimator: PhotometricEstimator[Any], table: pa.Table, inputs: Inputs, z_grid: FloatArray
) -> tuple[float, float]:
    """Write ``estimates/<name>.parquet``, with p(z) where there is one; return mean CRPS and CDE loss (or NaN).

    The column ``pdf`` holds densities at the redshifts in the metadata ``z_grid`` (JSON) of the file's schema.
    """
    location = join(config.output, "estimates", f"{estimator.name}.parquet")
    # p(z) is no part of what every estimator must have.
    estimate_pdf = getattr(estimator, "estimate_pdf", None)
    with open_atomic(location) as file:
        if estimate_pdf is None:
            pq.write_table(table, file)
            return float("nan"), float("nan")
        pdf_type = pa.list_(pa.float32(), len(z_grid))
        grid = {"z_grid": str([round(float(z), 9) for z in z_grid])}
        schema = table.schema.append(pa.field("pdf", pdf_type)).with_metadata(grid)
        scores = []
        # In runs of rows: p(z) on 301 redshifts of a million galaxies would take 1.2 GB.
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for start in range(0, len(table), _ROWS):
                rows = table.slice(start, _ROWS)
                pdf_NZ = estimate_pdf(inputs.take(slice(start, start + _ROWS)), z_grid)
                column = pa.FixedSizeListArray.from_arrays(pa.array(pdf_NZ.reshape(-1)), len(z_grid))
                writer.write_table(pa.table([*rows.columns, column], schema=schema))
                z_spec = rows["z_spec"].to_numpy()
                scores.append([compute_crps(pdf_NZ, z_grid, z_spec), compute_cde_losses(pdf_NZ, z_grid, z_spec)])
    # A galaxy without an estimate has no p(z) and counts in the completeness.
    crps, cde = np.nanmean(np.concatenate(scores, axis=1), axis=1)
    return float(crps), float(cde)


def list_quantities(test: Sample) -> dict[str, FloatArray]:
    """Return what accuracy is binned in: the magnitude in r (or the middle band), z_spec, and a colour, by label."""
    bands = list(test.bands)
    middle = bands.index("r") if "r" in bands else len(bands) // 2
    magnitudes_NF = np.asarray(test.magnitudes.magnitudes_NF, dtype=np.float64)
    quantities = {bands[middle]: magnitudes_NF[:, middle]}
    quantities["z_spec"] = np.asarray(test.z_N, dtype=np.float64)
    if len(bands) > 1:
        # Of neighbouring bands, on the blue side of the middle one: g - r where there are these.
        blue = max(middle - 1, 0)
        quantities[f"{bands[blue]} - {bands[blue + 1]}"] = magnitudes_NF[:, blue] - magnitudes_NF[:, blue + 1]
    return quantities


def _measure_in_bins(config: Comparison, z_N: npt.NDArray[np.float32], test: Sample) -> dict[str, list[Bin]]:
    options = {"resamples": config.resamples, "seed": config.seed}
    bins = {}
    for label, values in list_quantities(test).items():
        edges = choose_round_edges(values, config.bins)
        bins[label] = compute_binned(z_N, test.z_N, values, edges, **options) if edges.size else []
    return bins


def _remove_bands(config: Comparison, estimator: PhotometricEstimator[Any], test: Sample) -> dict[str, Metrics]:
    """Metrics with each band of the test galaxies missing in turn."""
    found = {}
    for i, band in enumerate(test.bands):
        # A removed band is one that was not observed.
        fluxes_NF = np.where(np.arange(len(test.bands)) == i, np.nan, test.fluxes_NF)
        z_N = estimator.estimate(replace(test, fluxes_NF=fluxes_NF).make_inputs()).z_phot_N
        found[band] = compute_metrics(z_N, test.z_N, resamples=config.resamples, seed=config.seed)
    return found


def measure_usage(action: Callable[[], Value]) -> tuple[Value, Usage]:
    """Call a function; return what it returns, and what it took.

    Memory is how far the process rose above where it stood, at most; only Linux tells.
    """
    # The kernel's own highest figure, since sampling from a thread would miss a short peak.
    before = _reset_peak()
    start = time.perf_counter()
    value = action()
    return value, Usage(time.perf_counter() - start, max(0.0, _read_status("VmHWM") - before))


def _reset_peak() -> float:
    """Make the kernel forget the highest memory so far; return the present memory [MiB]."""
    if os.path.exists("/proc/self/clear_refs"):  # noqa: PTH110
        with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123
            file.write("5")  # proc(5): resets VmHWM
    return _read_status("VmRSS")


def _read_status(key: str) -> float:
    """Read a value of /proc/self/status [MiB]; NaN where there is none."""
    if not os.path.exists("/proc/self/status"):  # noqa: PTH110
        return float("nan")
    with open("/proc/self/status") as file:  # noqa: PTH123
        # The kernel writes kB and means KiB.
        return next((float(line.split()[1]) / 1024 for line in file if line.startswith(f"{key}:")), float("nan"))
