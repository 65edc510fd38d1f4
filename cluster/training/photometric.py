"""Fit an estimator that reads magnitudes alone: one task, where the engine has room for it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from cluster.engines.base import Needs
from cluster.engines.choose import choose_engine
from cluster.training.plan import is_trained
from photoz.content import compute_key
from photoz.errors import ConfigError
from photoz.estimators.folder import MANIFEST
from photoz.estimators.registry import list_fitted, load_class
from photoz.settings.config import Config
from photoz.storage import join, remove, use_options
from photoz.training.photometric import fit_photometric, use_threads
from photoz.training.set import compute_set_hash
from photoz.training.settings import Spreading, Training

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """What a fit is told by in the log, as its manifest records it.

    Parameters
    ----------
    training_rows, valid_rows : int
        Galaxies that it was fitted to, and validated with.
    smad, r2 : float or None
        Of the latter; None where they are not defined.
    """

    training_rows: int
    valid_rows: int
    smad: float | None
    r2: float | None


def train_photometric(config: Config) -> str:
    """Fit the photometric estimator the settings name to the training set, and write its folder.

    Returns
    -------
    str
        Location of the folder. One that was fitted with the same settings to the same set is kept.

    Raises
    ------
    TrainingError
        There is no training set, or it cannot be learnt from.
    EstimatorError
        The folder holds another training.
    ConfigError
        ``training.fit`` names no such estimator, or the cluster lacks what the task asks for.
    """
    location = join(config.locations.models, config.training.estimator)
    set_hash = compute_set_hash(config.locations.training)
    key = compute_photometric_key(config.training, config.survey.bands, seed=config.run.seed, set_hash=set_hash)
    # Asked before the engine joins its cluster, which takes longer than the answer.
    kind: Any = load_class(config.training.estimator)
    if is_trained(location, key, version=kind.FORMAT_VERSION, overwrite=config.training.overwrite):
        logger.info("%s is trained already with these settings on this training set", location)
        return location
    settings = config.training.spreading
    # The engine calls the check once it has joined its cluster: before, nobody knows what that has.
    needs = Needs(
        cpus=settings.cpus_per_worker,
        gpus=int(settings.use_gpu),
        retries=settings.max_failures,
        check=partial(check_task, settings),
    )
    fit = partial(fit_and_save, config, location, {"key": key, "training_files": set_hash})
    fitted = choose_engine(config.engine, config.storage_options).run_alone(fit, needs)
    logger.info(
        "%s: fitted to %d galaxies; of the %d for validation SMAD %s, R2 %s",
        location,
        fitted.training_rows,
        fitted.valid_rows,
        *("–" if value is None else f"{value:.4f}" for value in (fitted.smad, fitted.r2)),
    )
    return location


def compute_photometric_key(settings: Training, bands: tuple[str, ...], *, seed: int, set_hash: str) -> str:
    """Hash everything a fitted estimator depends on.

    Parameters
    ----------
    settings : Training
        Method and its own settings are read.
    bands : tuple of str
    seed : int
    set_hash : str
        Of the training set (`photoz.training.set.compute_set_hash`).

    Raises
    ------
    ConfigError
        ``training.fit`` names an estimator that is not fitted this way.
    """
    name, fit, known = settings.estimator, settings.fit, list_fitted()
    # Whichever is fitted now: settings under a name that is misspelt would do nothing, without a word.
    if strange := [each for each in fit if each not in known]:
        raise ConfigError(f"training.fit holds settings of {strange}: those that are fitted so are {known}")
    kind: Any = load_class(name)
    # With the defaults: one that changes makes another estimator, and one that is written out makes the same.
    parts = [name, {**kind.DEFAULTS, **fit.get(name, {})}, seed, bands, set_hash]
    return compute_key(parts)


def fit_and_save(config: Config, location: str, record: Mapping[str, Any]) -> Fitted:
    """Fit in this process and write the folder.

    Parameters
    ----------
    config : Config
    location : str
        Folder of the estimator.
    record : mapping
        Goes into the manifest's record.
    """
    # The task may run in a worker that has heard of no settings yet.
    use_options(config.storage_options)
    settings, training = config.training, config.locations.training
    with use_threads(settings.spreading.threads_per_worker or 1):
        estimator = fit_photometric(settings, training, config.survey.bands, seed=config.run.seed, record=record)
    # Without a manifest the folder is no estimator: so a crash never leaves an old manifest with new weights.
    remove(join(location, MANIFEST))
    estimator.save(location)
    found, valid = estimator.parts.record, estimator.parts.record["valid"]
    return Fitted(found["training_rows"], valid["rows"], valid["smad"], valid["r2"])


def check_task(settings: Spreading, available: Mapping[str, float]) -> None:
    """Refuse a task that Ray would never start.

    Raises
    ------
    ConfigError
        It wants more CPUs than the cluster has, or a GPU where there is none.
    """
    wanted, cpus = settings.cpus_per_worker, available.get("CPU", 0.0)
    # All of them are allowed: one task alone leaves nobody waiting.
    if wanted > cpus:
        raise ConfigError(
            f"training.spreading.cpus_per_worker = {wanted:g} is more than the cluster's {cpus:g} CPUs: lower it"
        )
    if settings.use_gpu and available.get("GPU", 0.0) < 1:
        raise ConfigError("training.spreading.use_gpu is set, the cluster has no GPU: start Ray where there is one")
