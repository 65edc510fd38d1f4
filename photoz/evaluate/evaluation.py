"""Compare photo-z catalogues with the spectroscopic redshifts of the test galaxies."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from photoz.errors import EvaluationError
from photoz.evaluate.binning import choose_edges
from photoz.evaluate.calibration import Calibration, Calibrations, measure_calibration
from photoz.evaluate.metrics import (
    STATISTICS,
    Bin,
    FloatArray,
    Measurement,
    Metrics,
    compute_binned,
    compute_metrics,
    compute_paired_difference,
)
from photoz.evaluate.scan import Galaxies, Scan, read_test_galaxies, scan_catalogue
from photoz.settings.config import Config

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Result:
    """One catalogue's accuracy: overall, and in bins of ``mag_auto``, ``z_spec``, ``z_phot`` and ``colour``.

    The two bins ``colour_half`` are the blue and the red half of the test galaxies. ``calibration`` is that of p(z),
    None for a catalogue without.
    """

    label: str
    location: str
    scan: Scan
    metrics: Metrics
    bins: Mapping[str, Sequence[Bin]]
    calibration: Calibrations | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All compared catalogues against the same test galaxies.

    ``differences`` holds, for each catalogue after the first, the first one's figures minus its own on the galaxies
    that both estimated.
    """

    galaxies: Galaxies
    results: Sequence[Result]
    differences: Mapping[str, Mapping[str, Measurement]]


def evaluate_catalogues(config: Config) -> Evaluation:
    """Measure every catalogue of ``evaluation.catalogues`` on the test split of the training set.

    Parameters
    ----------
    config : Config

    Returns
    -------
    Evaluation

    Raises
    ------
    ConfigError
        ``evaluation.colour`` names a band that the survey lacks.
    TrainingError
        There is no training set, or its test split is empty.
    CatalogueError
        A catalogue is missing, unfinished or damaged.
    EvaluationError
        A catalogue holds none of the test galaxies.
    """
    galaxies = read_test_galaxies(config)
    scans = {label: scan_catalogue(location, galaxies) for label, location in list_catalogues(config).items()}
    for label, scan in scans.items():
        _check_match(scan, galaxies, f"{label!r} ({list_catalogues(config)[label]})")
    edges = _choose_all_edges(galaxies, list(scans.values()), config.evaluation.bins)
    results = [measure_catalogue(config, galaxies, scan, label=label, edges=edges) for label, scan in scans.items()]
    first, *others = results
    differences = {
        other.label: compute_paired_difference(
            first.scan.z_phot,
            other.scan.z_phot,
            galaxies.z_spec,
            resamples=config.evaluation.resamples,
            seed=config.run.seed,
        )
        for other in others
    }
    return Evaluation(galaxies=galaxies, results=results, differences=differences)


def list_catalogues(config: Config) -> dict[str, str]:
    """Return label -> location of the catalogues to compare: those of the settings, or the run's own."""
    return dict(config.evaluation.catalogues) or {config.inference.estimator: config.locations.catalogue}


def measure_catalogue(
    config: Config, galaxies: Galaxies, scan: Scan, *, label: str, edges: Mapping[str, FloatArray]
) -> Result:
    """Compute the metrics of one catalogue, overall and in bins.

    Parameters
    ----------
    config : Config
    galaxies : Galaxies
    scan : Scan
    label : str
    edges : mapping of str to ndarray
        Bin edges of what `get_quantities` returns; no bins where there are no edges.

    Returns
    -------
    Result
    """
    options = {"resamples": config.evaluation.resamples, "seed": config.run.seed}
    values = get_quantities(galaxies, scan)
    return Result(
        label=label,
        location=list_catalogues(config)[label],
        scan=scan,
        metrics=compute_metrics(scan.z_phot, galaxies.z_spec, **options),
        bins={
            name: compute_binned(scan.z_phot, galaxies.z_spec, values[name], limits, **options) if limits.size else []
            for name, limits in edges.items()
        },
        calibration=measure_calibration(config, list_catalogues(config)[label], galaxies),
    )


def get_quantities(galaxies: Galaxies, scan: Scan) -> dict[str, FloatArray]:
    """Return what accuracy is binned in, by name, each of shape (T,)."""
    return {
        "mag_auto": galaxies.mag_auto,
        "z_spec": galaxies.z_spec,
        "z_phot": scan.z_phot,
        "colour": galaxies.colour,
        "colour_half": galaxies.colour,
    }


def list_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """List the metrics as flat rows, one for each catalogue and bin (``quantity`` is "all" for the whole sample).

    The rows of p(z) follow, with other keys: ``quantity`` is "p(z), all", "p(z), faintest fifth, before
    recalibration" and so on.
    """
    rows = []
    for result in evaluation.results:
        rows.append(_make_row(result.label, ("all", None, None, None), result.metrics))
        for quantity, bins in result.bins.items():
            rows += [_make_row(result.label, (quantity, b.low, b.high, b.centre), b.metrics) for b in bins]
    for result in evaluation.results:
        if result.calibration is not None:
            rows += [_make_pdf_row(result.label, group) for group in result.calibration.groups]
    return rows


def _make_pdf_row(label: str, group: Calibration) -> dict[str, Any]:
    quantity = f"p(z), {group.group}" + ("" if group.recalibrated else ", before recalibration")
    row = {"catalogue": label, "quantity": quantity, "rows": group.count, "count": group.count, "pit_ks": group.ks}
    names = ("coverage_68", "coverage_95", "crps", "cde_loss")
    return row | {name: getattr(group, name) for name in names}


def _make_row(
    label: str, place: tuple[str, float | None, float | None, float | None], metrics: Metrics
) -> dict[str, Any]:
    quantity, low, high, centre = place
    row: dict[str, Any] = {"catalogue": label, "quantity": quantity, "low": low, "high": high, "median": centre}
    row |= {"rows": metrics.rows, "count": metrics.count, "completeness": metrics.completeness}
    for name in STATISTICS:
        row[name], row[f"{name}_error"] = metrics[name]
    return row


def _check_match(scan: Scan, galaxies: Galaxies, name: str) -> None:
    if not scan.found.any():
        raise EvaluationError(
            f"catalogue {name} with {scan.rows:,} rows holds none of the {len(galaxies):,} test galaxies (the first is "
            f"{galaxies.object_id[0].as_py()!r}): estimate the catalogue from the sources that the training set was "
            "made of, or make the training set again with jobs/train_dr4.py"
        )
    missing = int((~scan.found).sum())
    if missing:
        logger.warning("catalogue %s lacks %d of the %d test galaxies", name, missing, len(galaxies))


def _choose_all_edges(galaxies: Galaxies, scans: Sequence[Scan], bins: int) -> dict[str, FloatArray]:
    """The same edges for every catalogue, so that bins can be compared."""
    spread = np.concatenate([scan.z_phot for scan in scans])
    edges = {
        name: choose_edges(values, bins)
        for name, values in get_quantities(galaxies, scans[0]).items()
        if name not in ("z_phot", "colour_half")
    }
    edges["colour_half"] = _choose_halves(galaxies.colour)
    return {**edges, "z_phot": choose_edges(spread, min(bins, max(1, len(galaxies) // 15)))}


def _choose_halves(values: FloatArray) -> FloatArray:
    """Edges of two bins that meet at the median; none when all known values are the same."""
    known = values[np.isfinite(values)]
    edges: FloatArray = np.quantile(known, [0.0, 0.5, 1.0]) if known.size else np.empty(0)
    return edges if np.unique(edges).size == 3 else np.empty(0)
