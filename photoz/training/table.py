"""Fit an estimator to any table of galaxies with known redshifts."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from photoz.errors import ConfigError, TableError, TrainingError
from photoz.estimators.folder import MANIFEST
from photoz.estimators.photometric.base import PhotometricEstimator, Sample
from photoz.estimators.photometric.values import is_like, to_plain
from photoz.estimators.registry import check_estimators, list_fitted, load_class
from photoz.inputs import read_fluxes
from photoz.measured import describe_repeated, describe_repeated_fluxes
from photoz.storage import exists, is_file, join, remove
from photoz.tables import Table, TableSurvey, check_columns, load_survey, open_survey_table
from photoz.tables import read_sources as read_part
from photoz.tables.identifiers import REPEATED_REMEDY, count_duplicates
from photoz.tables.load import describe_survey
from photoz.training.crossmatch import assign_splits
from photoz.training.photometric import measure_estimator, use_threads
from photoz.training.recorded import SURVEY
from photoz.training.settings import Fit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Galaxies:
    """Galaxies of a table that can be learnt from.

    Parameters
    ----------
    sample : Sample
        Fluxes in float32.
    object_id : pyarrow.Array of string
    counts : dict of str to int
        What became of the table's rows, as `photoz.tables.Converted` counts, with ``without_redshift``.
    """

    sample: Sample
    object_id: pa.Array
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted estimator, and what it was fitted to.

    Parameters
    ----------
    estimator : PhotometricEstimator
        Its record holds the survey and the figures of the galaxies for validation.
    counts : mapping of str to int
        As of `Galaxies`.
    """

    estimator: PhotometricEstimator[Any]
    counts: Mapping[str, int]

    @property
    def valid(self) -> Mapping[str, float | int | None]:
        """``rows``, ``smad`` and ``r2`` of the galaxies for validation."""
        figures: Mapping[str, float | int | None] = self.estimator.parts.record["valid"]
        return figures


def fit_table(settings: Fit) -> Fitted:
    """Fit an estimator to a table with redshifts, and write its folder.

    Raises
    ------
    ConfigError
        A setting is wrong, the table is not what its survey's file says, or the folder holds another model.
    TableError
        The table is missing or damaged.
    TrainingError
        Its galaxies cannot be learnt from.
    """
    kind = choose_class(settings.estimator)
    survey = settings.table.settle(load_survey(settings.table.survey or "plain"))
    if exists(join(settings.model, MANIFEST)) and not settings.overwrite:
        raise ConfigError(
            f"{settings.model!r} holds a model: give another folder, or replace it with --set overwrite=true"
        )
    # Before the fit, which may take hours: what it gives is written into this folder.
    if is_file(settings.model):
        raise ConfigError(f"model = {settings.model!r} is a file: give a folder")
    table = open_survey_table(settings.table.location, survey)
    checked = check_columns(table, survey, settings.bands or None, need=("z_spec",))
    galaxies = read_galaxies(table, survey, checked.bands, z_max=settings.z_max)
    logger.info("%d galaxies with a redshift, bands %s", len(galaxies.sample), ", ".join(checked.bands))
    estimator = fit_galaxies(
        kind,
        galaxies,
        seed=settings.seed,
        valid_fraction=settings.valid_fraction,
        settings=settings.settings,
        threads=settings.threads,
    )
    estimator = estimator.with_record({SURVEY: describe_survey(survey)})
    # Without a manifest the folder is no estimator: so a crash never leaves an old manifest with new weights.
    remove(join(settings.model, MANIFEST))
    estimator.save(settings.model)
    return Fitted(estimator, galaxies.counts)


def choose_class(name: str) -> Any:
    """Return the class of an estimator that is fitted to photometry alone; raises `ConfigError` for others."""
    # Text, whatever a notebook gives.
    check_estimators([str(name)], "estimator")
    kind: Any = load_class(name)
    if kind.trained != "fitted":
        raise ConfigError(
            f"estimator = {name!r} is trained on images, or spread over workers: choose of {list_fitted()}, or train "
            "it on a survey with photoz train"
        )
    return kind


def read_galaxies(table: Table, survey: TableSurvey, bands: Sequence[str], *, z_max: float | None = None) -> Galaxies:
    """Read the galaxies of a table that have a redshift, batch by batch.

    Parameters
    ----------
    table : Table
    survey : TableSurvey
    bands : sequence of str
    z_max : float
        Galaxies beyond it are left out.

    Returns
    -------
    Galaxies
        4 bytes a number are held of those with a redshift, whatever the size of the table.
    """
    batches = (found for part in table.parts for found in read_part(table, part, survey, bands))
    gathered = ((found.table, found.counts) for found in batches)
    return gather_galaxies(gathered, bands, z_max=z_max, duplicates=survey.duplicates)


def gather_galaxies(
    batches: Iterable[tuple[pa.Table, Mapping[str, int]]],
    bands: Sequence[str],
    *,
    z_max: float | None = None,
    duplicates: str = "keep",
) -> Galaxies:
    """Gather what can be learnt from of batches of `photoz.tables.Converted`.

    Raises
    ------
    ConfigError
        They have no column of redshifts.
    TableError
        ``duplicates`` is "refuse", and several galaxies have one identifier, whichever parts of the table they are in.
    TrainingError
        No galaxy has a redshift, or none with one a flux in some band.
    """
    counts: Counter[str] = Counter()
    parts: list[tuple[pa.Array, npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []
    for table, counted in batches:
        counts.update(counted)
        if "z_spec" not in table.column_names:
            raise ConfigError(
                "the table has no z_spec: name the column of spectroscopic redshifts in the survey's file"
            )
        z_N = table["z_spec"].to_numpy()
        far_N = z_N > (np.inf if z_max is None else z_max)
        known_N = np.isfinite(z_N) & ~far_N
        counts["without_redshift"] += int((~np.isfinite(z_N)).sum())
        counts["beyond_z_max"] += int(far_N.sum())
        if known_N.any():
            kept = table.filter(pa.array(known_N))
            parts.append((kept["object_id"].combine_chunks(), *read_fluxes(kept, bands), z_N[known_N]))
    if not parts:
        told = {reason: count for reason, count in counts.items() if count}
        raise TrainingError(f"no galaxy has a redshift ({told}): correct survey.z_spec, its quality or z_max")
    ids, fluxes, errors, redshifts = zip(*parts, strict=True)
    sample = Sample(tuple(bands), np.concatenate(fluxes), np.concatenate(errors), np.concatenate(redshifts))
    galaxies = Galaxies(sample, pa.chunked_array(ids).combine_chunks(), dict(counts))
    _check_galaxies(galaxies, duplicates)
    return galaxies


def _check_galaxies(galaxies: Galaxies, duplicates: str) -> None:
    sample = galaxies.sample
    if duplicates == "refuse" and (again := count_duplicates(galaxies.object_id)):
        raise TableError(f"{again} galaxies with a redshift have the identifier of another one: {REPEATED_REMEDY}")
    seen_NF = np.isfinite(sample.fluxes_NF)
    if absent := [band for place, band in enumerate(sample.bands) if not seen_NF[:, place].any()]:
        raise TrainingError(
            f"the bands {absent} have no flux in any of the {len(sample)} galaxies with a redshift: leave them out of "
            "the bands that are asked for"
        )
    if beyond := galaxies.counts.get("redshift_out_of_range", 0):
        logger.warning(
            "%d of %d rows have a redshift out of survey.z_min to z_max and are left out: is it a redshift, and no "
            "velocity or percentage?", beyond, galaxies.counts["rows"],
        )  # fmt: skip
    if said := describe_repeated(sample.z_N):
        logger.warning("%s: leave out by a cut, or by survey.z_quality, z_min or z_max, what stands for none", said)
    for place, band in enumerate(sample.bands):
        if said := describe_repeated_fluxes(sample.fluxes_NF[:, place], band):
            logger.warning("%s", said)


def fit_galaxies(
    kind: Any, galaxies: Galaxies, *, seed: int, valid_fraction: float, settings: Mapping[str, Any], threads: int = 2
) -> PhotometricEstimator[Any]:
    """Fit to all galaxies but some, and measure the accuracy on these.

    Parameters
    ----------
    kind : type
        Of the estimator, from `choose_class`.
    galaxies : Galaxies
    seed : int
    valid_fraction : float
        Of the galaxies that are not learnt from. Which they are depends on their identifiers and the seed alone.
    settings : mapping
        Of the estimator.
    threads : int
        Of the fit, as of `photoz.training.photometric.use_threads`.

    Returns
    -------
    PhotometricEstimator
        Its record holds the figures of the validation: ``valid``.

    Raises
    ------
    ConfigError
        ``valid_fraction`` is none, or the seed below 0.
    TrainingError
        The galaxies that are left cannot be learnt from.
    """
    seed, valid_fraction = to_plain(seed), to_plain(valid_fraction)
    if not (is_like(valid_fraction, 0.1) and valid_fraction < 1):
        raise ConfigError(f"valid_fraction = {valid_fraction!r} must be at least 0 and below 1")
    if not is_like(seed, 0):
        raise ConfigError(f"seed = {seed!r}: give a whole number of 0 or more")
    splits = assign_splits(
        galaxies.object_id.to_pylist(), seed=seed, fractions=(1 - valid_fraction, valid_fraction, 0.0, 0.0)
    )
    train_N = np.array([split == "train" for split in splits], dtype=bool)
    with use_threads(threads):
        estimator: PhotometricEstimator[Any] = kind.fit(galaxies.sample.take(train_N), seed=seed, **settings)
    valid = measure_estimator(estimator, galaxies.sample.take(~train_N)) if not train_N.all() else {"rows": 0}
    return estimator.with_record({"valid": {"smad": None, "r2": None} | valid})
