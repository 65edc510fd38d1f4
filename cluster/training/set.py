"""Build the training set: one task a partition of the source catalogue."""

import logging
from dataclasses import asdict, dataclass
from functools import partial

from cluster.engines.choose import choose_engine
from cluster.engines.tasks import run_tasks
from cluster.lock import hold_lock
from photoz.errors import TrainingError
from photoz.settings.config import Config
from photoz.sources import check_source_columns, list_source_partitions
from photoz.storage import join, list_folder, remove, write_json
from photoz.survey.spectra import read_redshifts
from photoz.training.set import (
    Matching,
    compute_set_hash,
    count_splits,
    locate_part,
    plan_matching,
    set_location,
    write_part,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SetSummary:
    """What a training set holds, also written as ``set.json`` beside it.

    Parameters
    ----------
    rows : int
        Galaxies in it.
    matched : int
        Sources that have a redshift.
    without_image, without_photometry : int
        Those of them that were left out.
    hash : str
        Of the whole set.
    splits : dict of str to int
        Galaxies of each split.
    """

    rows: int
    matched: int
    without_image: int
    without_photometry: int
    hash: str
    splits: dict[str, int]


def plan_set(config: Config) -> Matching:
    """Take what a training set is made of from the settings."""
    return Matching(
        sources=config.locations.sources,
        tiles=config.locations.tiles,
        training=config.locations.training,
        bands=config.survey.bands,
        image_bands=config.survey.image_bands,
        crossmatch=config.crossmatch,
        margin_arcsec=config.sources.margin_arcsec,
        cutout_size=config.training.cutout_size,
        seed=config.run.seed,
        partial_bands=config.survey.partial_bands,
    )


def build_training_set(config: Config) -> SetSummary:
    """Match the source catalogue with the spectroscopic table, cut the cutouts and write the training set.

    Parts that are there and were made from the same settings, sources, spectra and tiles are kept; parts of partitions
    that are no longer there are removed. Waits for another job that is at the same training set.

    Returns
    -------
    SetSummary
        Also written as ``set.json`` in ``locations.training``.

    Raises
    ------
    TrainingError
        No galaxy with a usable image has a redshift.
    """
    # Two trainings may begin at once on one set: the second finds it made.
    with hold_lock(config.locations.training, wait=True):
        return _bring_up_to_date(config)


def _bring_up_to_date(config: Config) -> SetSummary:
    # Read once, here: each task is given the spectra around its partition and no others.
    spectra = read_redshifts(config.locations.survey, config.crossmatch)
    matching, training = plan_set(config), config.locations.training
    check_source_columns(matching.sources, matching.bands)
    tasks = plan_matching(matching, list_source_partitions(config.locations.sources), spectra)
    # Parts that stay would count: the hash and the training take whatever lies in the folder.
    _remove_stale(training, {locate_part(training, task.partition) for task in tasks})
    # One use of the engine, so it joins its cluster for that alone.
    parts = list(
        run_tasks(
            partial(write_part, matching),
            tasks,
            choose_engine(config.engine, config.storage_options),
            label="partitions matched",
        )
    )
    counts = {
        name: sum(getattr(part, name) for part in parts)
        for name in ("rows", "matched", "without_image", "without_photometry")
    }
    # Told here, where the counts say which step lost them; a training would only find too few.
    if not counts["rows"]:
        limit = config.crossmatch.max_redshift
        cut = "" if limit is None else f", and that crossmatch.max_redshift = {limit} leaves some"
        raise TrainingError(
            f"no source has a redshift in {config.crossmatch.file} within {config.crossmatch.radius_arcsec} arcsec and "
            f"a usable image ({counts['matched']} matched): check that the two cover the same sky{cut}"
        )
    summary = SetSummary(**counts, hash=compute_set_hash(training), splits=count_splits(training))
    write_json(join(training, "set.json"), asdict(summary))
    _log_summary(summary)
    return summary


def _remove_stale(training: str, wanted: set[str]) -> None:
    names = {location.rsplit("/", 1)[-1] for location in wanted}
    for location in list_folder(set_location(training), "part-*.parquet"):
        if location.rsplit("/", 1)[-1] not in names:
            logger.info("removing %s: its partition is not in the source catalogue any more", location)
            remove(location)


def _log_summary(summary: SetSummary) -> None:
    logger.info(
        "training set: %d galaxies (%s) of %d matched; left out: %d without a usable image, %d without a detection",
        summary.rows,
        ", ".join(f"{count} {split}" for split, count in summary.splits.items()),
        summary.matched,
        summary.without_image,
        summary.without_photometry,
    )
