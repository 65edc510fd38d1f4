"""Compare photo-z catalogues with the spectroscopic redshifts of the test galaxies."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from photoz.binning import choose_round_edges
from photoz.catalogue.hats import list_partitions, read_partition
from photoz.catalogue.records import read_past_run
from photoz.errors import EvaluationError, PhotozError
from photoz.estimators.folder import read_manifest
from photoz.evaluate.calibration import Calibrations, measure_calibration
from photoz.evaluate.galaxies import Galaxies, RowReader, read_test_galaxies
from photoz.evaluate.scan import Scan, scan_catalogue
from photoz.evaluate.settings import Evaluation, Truth
from photoz.evaluate.truth import open_source_rows, read_truth_galaxies
from photoz.metrics import (
    Bin,
    FloatArray,
    Measurement,
    Metrics,
    compute_binned,
    compute_metrics,
    compute_paired_difference,
)
from photoz.schema import find_algorithm
from photoz.settings.config import Config
from photoz.settings.run import Locations
from photoz.training.set import read_split

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CatalogueAccuracy:
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
class Accuracy:
    """All compared catalogues against the same test galaxies.

    ``differences`` holds, for each catalogue after the first, the first one's figures minus its own on the galaxies
    that both estimated.
    """

    galaxies: Galaxies
    results: Sequence[CatalogueAccuracy]
    differences: Mapping[str, Mapping[str, Measurement]]


def evaluate_catalogues(config: Config) -> Accuracy:
    """Measure every catalogue of ``evaluation.catalogues`` on the test split of the training set, or on another table.

    With ``evaluation.truth`` the redshifts are that table's, and no training set is asked for.

    Parameters
    ----------
    config : Config

    Returns
    -------
    Accuracy

    Raises
    ------
    ConfigError
        ``evaluation.colour`` names a band that the survey lacks.
    TrainingError
        There is no training set, or its test split is empty.
    CatalogueError
        A catalogue is missing, unfinished or damaged.
    EvaluationError
        A catalogue holds none of the test galaxies, or ``evaluation.truth`` has none.
    TableError
        ``evaluation.truth`` is missing or damaged.
    """
    settings = config.evaluation
    locations = list_catalogues(settings, config.locations.catalogue)
    # Read once, as figures of two catalogues can be compared only where they are of the same galaxies.
    galaxies = _read_galaxies(config, next(iter(locations.values())))
    # All catalogues before any figure: their bins of z_phot must be the same, and one that does not match shows before
    # the bootstrap.
    scans = {label: scan_catalogue(location, galaxies) for label, location in locations.items()}
    for label, scan in scans.items():
        _check_match(scan, galaxies, f"{label!r} ({locations[label]})")
    edges = _choose_all_edges(galaxies, list(scans.values()), settings.bins)
    # The same for all catalogues: their bootstrap samples hold the same galaxies, and errors differ by the estimates.
    options = {"resamples": settings.resamples, "seed": config.run.seed}
    results = [
        CatalogueAccuracy(
            label=label,
            location=locations[label],
            scan=scan,
            metrics=compute_metrics(scan.z_phot, galaxies.z_spec, **options),
            bins=measure_bins(galaxies, scan, edges, **options),
            calibration=measure_calibration(
                locations[label], galaxies, _open_rows(config.locations, settings.truth, locations[label])
            ),
        )
        for label, scan in scans.items()
    ]
    # The first of the settings is what the others are compared with; a dict keeps their order.
    first, *others = results
    differences = {
        other.label: compute_paired_difference(first.scan.z_phot, other.scan.z_phot, galaxies.z_spec, **options)
        for other in others
    }
    return Accuracy(galaxies=galaxies, results=results, differences=differences)


def _read_galaxies(config: Config, catalogue: str) -> Galaxies:
    if config.evaluation.truth.table:
        return read_truth_galaxies(config.evaluation, catalogue, config.locations.sources)
    return read_test_galaxies(
        config.locations.training,
        bands=config.survey.bands,
        colour=config.evaluation.colour,
        crossmatch=config.crossmatch,
    )


def _open_rows(locations: Locations, truth: Truth, catalogue: str) -> RowReader:
    """Return what reads the photometry of the test galaxies."""
    if truth.table:
        return open_source_rows(catalogue, locations.sources)
    return partial(read_split, locations.training, "test")


def list_catalogues(settings: Evaluation, own: str) -> dict[str, str]:
    """Return label -> location of the catalogues that are measured: the run's own where the settings name none.

    Parameters
    ----------
    settings : Evaluation
    own : str
        Catalogue of the run, whose label is its estimator's name, or its own where nothing tells that.
    """
    if settings.catalogues:
        return dict(settings.catalogues)
    # What lies beside the catalogue, not the settings, which may be of another run with another estimator.
    return {find_estimator(own) or own.rstrip("/").rpartition("/")[2]: own}


def find_estimator(catalogue: str) -> str:
    """Find the name of the estimator that made a catalogue.

    Parameters
    ----------
    catalogue : str
        Location.

    Returns
    -------
    str
        As the estimator's manifest has it; else the name of its folder, which the run record gives; else that of the
        columns of p(z); "" where nothing tells.
    """
    folder = read_past_run(catalogue).estimator
    try:
        if folder is not None:
            return str(read_manifest(folder)["estimator"])
        partitions = list_partitions(catalogue)
        return find_algorithm(read_partition(catalogue, partitions[0]).column_names) if partitions else ""
    # A folder may have been moved since, and training calls it by its estimator. That there is no catalogue is told by
    # who reads it.
    except (PhotozError, KeyError):
        return (folder or "").rstrip("/").rpartition("/")[2]


def measure_bins(
    galaxies: Galaxies, scan: Scan, edges: Mapping[str, FloatArray], *, resamples: int, seed: int
) -> dict[str, list[Bin]]:
    """Compute the metrics of one catalogue in bins of each quantity.

    Parameters
    ----------
    galaxies : Galaxies
    scan : Scan
        Of the catalogue, for these galaxies.
    edges : mapping of str to ndarray
        Bin edges of what `get_quantities` returns; no bins where there are no edges.
    resamples, seed : int
        As in `photoz.metrics.compute_metrics`.

    Returns
    -------
    dict of str to list of Bin
        By quantity.
    """
    values = get_quantities(galaxies, scan)
    return {
        name: compute_binned(scan.z_phot, galaxies.z_spec, values[name], limits, resamples=resamples, seed=seed)
        if limits.size
        else []
        for name, limits in edges.items()
    }


def get_quantities(galaxies: Galaxies, scan: Scan) -> dict[str, FloatArray]:
    """Return what accuracy is binned in, by name, each of shape (T,)."""
    return {
        "mag_auto": galaxies.mag_auto,
        "z_spec": galaxies.z_spec,
        "z_phot": scan.z_phot,
        "colour": galaxies.colour,
        # Two bins of their own: the paper's gain from images is larger for blue galaxies, which eight bins show less
        # clearly.
        "colour_half": galaxies.colour,
    }


def _check_match(scan: Scan, galaxies: Galaxies, name: str) -> None:
    # None at all is a catalogue of other identifiers, a mistake; some may be missing for good reasons.
    if not scan.found.any():
        remedy = (
            "compare catalogues of the same sources"
            if galaxies.truth
            else "estimate the catalogue from the sources that the training set was made of, or make the training set "
            "again with jobs/train_dr4.py"
        )
        raise EvaluationError(
            f"catalogue {name} with {scan.rows:,} rows holds none of the {len(galaxies):,} test galaxies (the first is "
            f"{galaxies.object_id.drop_null()[0].as_py()!r}): {remedy}"
        )
    missing = int((~scan.found).sum())
    if missing:
        logger.warning("catalogue %s lacks %d of the %d test galaxies", name, missing, len(galaxies))


def _choose_all_edges(galaxies: Galaxies, scans: Sequence[Scan], bins: int) -> dict[str, FloatArray]:
    """The same edges for every catalogue, so that bins can be compared."""
    spread = np.concatenate([scan.z_phot for scan in scans])
    edges = {
        name: choose_round_edges(values, bins)
        for name, values in get_quantities(galaxies, scans[0]).items()
        if name not in ("z_phot", "colour_half")
    }
    edges["colour_half"] = _choose_halves(galaxies.colour)
    # Several catalogues pooled have as many values as galaxies times catalogues, so the limit of 15 a bin is taken of
    # the galaxies here.
    return {**edges, "z_phot": choose_round_edges(spread, min(bins, max(1, len(galaxies) // 15)))}


def _choose_halves(values: FloatArray) -> FloatArray:
    """Edges of two bins that meet at the median; none when all known values are the same."""
    known = values[np.isfinite(values)]
    edges: FloatArray = np.quantile(known, [0.0, 0.5, 1.0]) if known.size else np.empty(0)
    # Where half of the galaxies have one value, median and extreme are the same and no two bins are left.
    return edges if np.unique(edges).size == 3 else np.empty(0)
