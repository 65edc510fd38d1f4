"""What a training is, apart from Ray: its plan and key, what is refused before any work is done, what is written."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from photoz.content import compute_key
from photoz.errors import ConfigError, EstimatorError, TrainingError
from photoz.estimators.folder import MANIFEST, read_manifest
from photoz.estimators.networks.base import NetworkEstimator
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.objectives import Objective
from photoz.estimators.networks.preparation import Preparation
from photoz.plots import plot_history
from photoz.plots.style import render_png
from photoz.settings import config_to_dict
from photoz.settings.config import Config
from photoz.storage import exists, join, open_atomic, remove
from photoz.training.history import write_history
from photoz.training.photometric import read_sample
from photoz.training.recalibrate import calibrate_estimator
from photoz.training.settings import Training
from photoz.training.state import TrainingState
from photoz.training.weights import Smoothing, leave_out_parts

logger = logging.getLogger(__name__)

Weights = Mapping[str, torch.Tensor]

# How the work is spread changes no more than rounding, so it makes no other estimator; ``fit`` no network reads.
_NOT_IN_KEY = ("spreading", "overwrite", "fit")


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """What every worker is told; pickled once.

    Parameters
    ----------
    config : Config
        With the settings that the estimator's training has.
    kind : type of NetworkEstimator
        Class of the estimator: its network, and what that is trained for.
    layout : InputLayout
        What the network reads.
    preparation : Preparation
        Fitted to the training galaxies.
    target_scale : tuple of two float
        Mean and spread of ln(1 + z) of the training galaxies.
    smoothing : Smoothing or None
        Weights that smooth their n(z).
    steps : int
        Of the whole training.
    """

    config: Config
    kind: type[NetworkEstimator]
    layout: InputLayout
    preparation: Preparation
    target_scale: tuple[float, float] = (0.0, 1.0)
    smoothing: Smoothing | None = None
    steps: int = 1

    def make_network(self) -> nn.Module:
        """Build the network with fresh weights, knowing the scale of its targets."""
        return self.kind.make_network(self.layout, self.target_scale)

    def make_objective(self) -> Objective:
        """Return what the network is trained for."""
        return self.kind.make_objective(self.layout, self.config.training)

    def weigh(self, object_ids: Sequence[str], z_spec_N: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Weigh training galaxies for each member, shape (N, K)."""
        # By object_id, so that a galaxy weighs the same whichever worker it comes to.
        weight_NK = leave_out_parts(object_ids, seed=self.config.run.seed, members=self.layout.members)
        return weight_NK if self.smoothing is None else weight_NK * self.smoothing.weigh(z_spec_N)


def plan_training(config: Config, kind: type[NetworkEstimator]) -> TrainingPlan:
    """Derive from the training split what every worker must know; the training's settings are as the kind has them."""
    layout = kind.make_layout(config.survey, config.training)
    # Of the training split alone: scales that knew the other splits would leak into what is validated.
    sample = read_sample(config.locations.training, config.survey.bands)
    z_N = sample.z_N.astype(np.float64)
    y_N, width = np.log1p(z_N), config.training.loss.smooth_nz_width
    # Not 0, which the spread is where all redshifts are one: targets are divided by it.
    scale = (float(y_N.mean()), float(y_N.std()) or 1.0)
    smoothing = Smoothing.fit(z_N, width=width) if width > 0 else None
    schedule = config.training.schedule
    steps = schedule.max_epochs * max(1, len(sample) // schedule.batch_size)
    return TrainingPlan(config, kind, layout, kind.PREPARATION.fit(sample.check()), scale, smoothing, steps)


def check_workers(settings: Training, available: Mapping[str, float]) -> None:
    """Refuse settings under which Ray would wait for ever for a processor.

    Parameters
    ----------
    settings : Training
        ``spreading`` is read, and the batch size.
    available : mapping of str to float
        CPUs and GPUs of the cluster, as Ray names them.

    Raises
    ------
    ConfigError
        The workers take every CPU, so that none is left to read the training set, or want more GPUs than there are.
    """
    spreading, batch_size = settings.spreading, settings.schedule.batch_size
    wanted, cpus = spreading.workers * spreading.cpus_per_worker, available.get("CPU", 0.0)
    # Room for a whole CPU: the tasks of Ray Data that read ask for one each.
    if wanted > cpus - 1:
        raise ConfigError(
            f"training.spreading.workers x training.spreading.cpus_per_worker = {wanted:g} CPUs leaves less than one "
            f"of the cluster's {cpus:g} to read the training set with: lower one of them, or start Ray with more CPUs"
        )
    gpus = available.get("GPU", 0.0)
    if spreading.use_gpu and spreading.workers > gpus:
        raise ConfigError(
            f"training.spreading.workers = {spreading.workers} with training.spreading.use_gpu, the cluster has "
            f"{gpus:g} GPUs: lower the one, or set the other to false"
        )
    # In training batch normalisation refuses a batch of one.
    if batch_size < 2 * spreading.workers:
        raise ConfigError(
            f"training.schedule.batch_size = {batch_size} gives {spreading.workers} workers fewer than 2 galaxies each"
        )


def check_training_set(settings: Training, counts: Mapping[str, int]) -> None:
    """Refuse a training set from which not one batch, or no validation loss, can be made; raises `TrainingError`."""
    batch_size, workers = settings.schedule.batch_size, settings.spreading.workers
    # Each worker drops what fills no batch, and with fewer might make no step at all.
    if counts["train"] < batch_size + workers or counts["valid"] < workers:
        raise TrainingError(
            f"the training set has {counts['train']} galaxies to train on and {counts['valid']} to validate with, "
            f"too few for training.schedule.batch_size = {batch_size} on {workers} workers: lower it, or "
            "match more galaxies"
        )


def compute_training_key(settings: Training, layout: InputLayout, *, seed: int, set_hash: str) -> str:
    """Hash everything a trained estimator depends on.

    Parameters
    ----------
    settings : Training
        Those that the estimator's training has.
    layout : InputLayout
        What it reads.
    seed : int
    set_hash : str
        Of the training set (`photoz.training.set.compute_set_hash`).
    """
    read = {name: value for name, value in config_to_dict(settings).items() if name not in _NOT_IN_KEY}
    # Of the survey only what the network reads: names and files make no other estimator.
    parts = [read, seed, layout.bands, layout.image_bands, layout.pixel_scale, set_hash]
    return compute_key(parts)


def is_trained(location: str, key: str, *, version: int, overwrite: bool) -> bool:
    """Tell whether a folder holds the estimator of this training.

    Parameters
    ----------
    location : str
        Folder of the estimator.
    key : str
        Hash of what the training depends on.
    version : int
        Format of folders that the estimator reads.
    overwrite : bool
        Let it hold another, which will be replaced.

    Raises
    ------
    EstimatorError
        It holds another, and is not to be replaced.
    """
    # Weights without a manifest are those of a training that died while it wrote them.
    if not exists(join(location, MANIFEST)):
        return False
    manifest = read_manifest(location)
    record, found = manifest.get("record"), manifest.get("format_version")
    # The same settings, but a folder that this version cannot read, is none.
    if found == version and isinstance(record, dict) and record.get("key") == key:
        return True
    if overwrite:
        logger.info("%s holds another training and will be replaced", location)
        return False
    other = "with other settings or on another training set"
    if found != version:
        other = f"by another version of photoz (format {found}, this one reads {version})"
    raise EstimatorError(
        f"{location!r} holds an estimator trained {other}: give "
        "--set training.overwrite=true to replace it, another locations.models, or remove the folder"
    )


def save_estimator(plan: TrainingPlan, weights: Weights, location: str, record: dict[str, Any]) -> None:
    """Make the estimator of these weights, recalibrate it and write its folder.

    Parameters
    ----------
    plan : TrainingPlan
    weights : mapping of str to Tensor
        Of the network that the plan makes.
    location : str
        Folder of the estimator.
    record : dict
        Goes into its manifest.
    """
    network = plan.make_network()
    network.load_state_dict(weights)
    # Without a manifest the folder is no estimator: so a crash never leaves an old manifest with new weights.
    remove(join(location, MANIFEST))
    estimator = plan.kind(plan.layout, plan.preparation, network, record)
    training, seed = plan.config.locations.training, plan.config.run.seed
    # Recalibrated in memory: no folder ever holds an estimator whose p(z) is still raw.
    calibrate_estimator(estimator, training, seed=seed).save(location)


def write_estimator(
    plan: TrainingPlan,
    state: TrainingState,
    location: str,
    *,
    record: dict[str, Any],
    save: Callable[[TrainingPlan, Weights, str, dict[str, Any]], None] = save_estimator,
) -> None:
    """Write the best epoch's network as an estimator folder, and the history beside the training set.

    Parameters
    ----------
    plan : TrainingPlan
    state : TrainingState
        At the end of the training.
    location : str
        Folder of the estimator.
    record : dict
        Goes into its manifest, with the settings and the best epoch.
    save : callable
        `save_estimator`, or what has another process do it.
    """
    config, best = plan.config, state.best_record
    training = config_to_dict(config)["training"]
    record = {**record, "settings": training, "epochs": state.epoch, "best_epoch": best.to_dict()}
    # Before the history, which would tell of an estimator that is not there.
    save(plan, state.best, location, record)
    # Beside the set and not in the estimator's folder, whose every file counts as weights (`describe_weights`).
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
