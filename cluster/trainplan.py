"""What a training is, apart from Ray: its plan and key, what is refused before any work is done, what is written."""

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

import msgspec
import torch

from photoz.config import Config, Training, config_to_dict
from photoz.errors import ConfigError, EstimatorError, TrainingError
from photoz.estimators.base import MANIFEST, read_manifest
from photoz.estimators.hybrid import HybridEstimator, InputLayout
from photoz.photometry import MagnitudeScaling
from photoz.plots import plot_history
from photoz.plots.style import render_png
from photoz.storage import exists, join, open_atomic
from photoz.training import TrainingState, write_history

logger = logging.getLogger(__name__)

# How the work is spread changes no more than rounding, so these settings do not make another estimator.
_SPREADING = ("workers", "use_gpu", "cpus_per_worker", "threads_per_worker", "overwrite", "max_failures", "hold_gib")
_OF_OTHERS = ("fit",)  # settings that the networks do not read


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """What every worker is told; pickled once.

    Parameters
    ----------
    config : Config
    layout : InputLayout
        What the network reads.
    scaling : MagnitudeScaling
        Of the training galaxies.
    """

    config: Config
    layout: InputLayout
    scaling: MagnitudeScaling


def check_resources(settings: Training, available: dict[str, float]) -> None:
    """Refuse settings under which Ray would wait for ever for a processor.

    Raises
    ------
    ConfigError
        The workers take every CPU, so that none is left to read the training set, or want more GPUs than there are.
    """
    wanted, cpus = settings.workers * settings.cpus_per_worker, available.get("CPU", 0.0)
    if wanted > cpus - 1:
        raise ConfigError(
            f"training.workers x training.cpus_per_worker = {wanted:g} CPUs leaves less than one of the cluster's "
            f"{cpus:g} to read the training set with: lower one of them, or start Ray with more CPUs"
        )
    gpus = available.get("GPU", 0.0)
    if settings.use_gpu and settings.workers > gpus:
        raise ConfigError(f"training.workers = {settings.workers} with training.use_gpu, the cluster has {gpus:g} GPUs")
    if settings.batch_size < 2 * settings.workers:
        raise ConfigError(
            f"training.batch_size = {settings.batch_size} gives {settings.workers} workers fewer than 2 galaxies each"
        )


def check_training_set(config: Config, counts: dict[str, int]) -> None:
    """Refuse a training set from which not one batch, or no validation loss, can be made; raises `TrainingError`."""
    settings = config.training
    if counts["train"] < settings.batch_size + settings.workers or counts["valid"] < settings.workers:
        raise TrainingError(
            f"the training set has {counts['train']} galaxies to train on and {counts['valid']} to validate with, "
            f"too few for training.batch_size = {settings.batch_size} on {settings.workers} workers: lower it, or "
            "match more galaxies"
        )


def compute_training_key(config: Config, layout: InputLayout, set_hash: str) -> str:
    """Hash everything a trained estimator depends on: settings, inputs, seed, training set."""
    unread = (*_SPREADING, *_OF_OTHERS)
    settings = {name: value for name, value in config_to_dict(config)["training"].items() if name not in unread}
    parts = [settings, config.run.seed, layout.bands, layout.image_bands, layout.pixel_scale, set_hash]
    return hashlib.blake2b(msgspec.json.encode(parts, order="sorted"), digest_size=16).hexdigest()


def is_trained(config: Config, location: str, key: str) -> bool:
    """Tell whether a folder holds the estimator of this training.

    Raises
    ------
    EstimatorError
        It holds another, and ``training.overwrite`` is not set.
    """
    if not exists(join(location, MANIFEST)):
        return False
    record = read_manifest(location).get("record")
    if isinstance(record, dict) and record.get("key") == key:
        return True
    if config.training.overwrite:
        logger.info("%s holds another training and will be replaced", location)
        return False
    raise EstimatorError(
        f"{location!r} holds an estimator trained with other settings or on another training set: give "
        "--set training.overwrite=true to replace it, another locations.models, or remove the folder"
    )


def write_estimator(plan: TrainingPlan, state: TrainingState, location: str, *, record: dict[str, Any]) -> None:
    """Write the best epoch's network as an estimator folder, and the history beside the training set."""
    config, best = plan.config, state.best_record
    network = plan.layout.make_network()
    network.load_state_dict(state.best)
    training = config_to_dict(config)["training"]
    record = {**record, "settings": training, "epochs": state.epoch, "best_epoch": best.to_dict()}
    HybridEstimator(plan.layout, plan.scaling, network, record, torch.device("cpu")).save(location)
    history = join(config.locations.training, f"history-{config.training.estimator}")
    write_history(f"{history}.json", state.records, info={"estimator": config.training.estimator, **record})
    figure = plot_history({config.training.estimator: [epoch.to_dict() for epoch in state.records]})
    with open_atomic(f"{history}.png") as file:
        file.write(render_png(figure))
    logger.info(
        "%s: epoch %d of %d kept, validation SMAD %.4f, R2 %.3f; history in %s.png",
        location,
        best.epoch,
        state.epoch,
        best.smad,
        best.r2,
        history,
    )
