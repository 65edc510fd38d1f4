"""Ray Train and Ray Data around `photoz.training`: workers, streaming, checkpoints, recovery."""

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow.fs
import ray.data
import ray.train
import ray.train.torch
import torch
import torch.distributed
from fsspec.implementations.local import LocalFileSystem
from ray.data.expressions import col

from cluster.engines.base import WORKER_VARIABLES
from cluster.engines.ray import find_resources, log_in_worker, ray_cluster
from cluster.training.photometric import train_photometric
from cluster.training.plan import (
    TrainingPlan,
    Weights,
    check_training_set,
    check_workers,
    compute_training_key,
    is_trained,
    plan_training,
    save_estimator,
    write_estimator,
)
from photoz.errors import TrainingError
from photoz.estimators.networks.batches import Batch, prepare_batch
from photoz.estimators.registry import load_class
from photoz.inputs import make_inputs
from photoz.settings.config import Config
from photoz.storage import find_filesystem, join, remove, use_options
from photoz.training.epoch import Learner, LossSum, Predictions, make_learner, train_epoch, validate
from photoz.training.history import EpochRecord
from photoz.training.set import compute_set_hash, count_splits, list_columns, list_parts
from photoz.training.settings import Spreading
from photoz.training.state import TrainingState

logger = logging.getLogger(__name__)

# Ray Train looks at its workers every 2 s, and a worker that reports waits for that; and it gives up on workers that
# take over a minute to start, which a busy machine or an autoscaler does.
_RAY_TRAIN = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600"}
_KEPT_CHECKPOINTS = 2


def train_estimator(config: Config) -> str:
    """Train the estimator the settings name on the training set, and write its folder.

    Returns
    -------
    str
        Location of the folder. One that was trained with the same settings on the same set is kept.

    Raises
    ------
    TrainingError
        There is no training set, it is too small, or the folder holds another training.
    ConfigError
        The workers would leave Ray no CPU to read the training set with, or need GPUs that are not there.
    """
    kind: Any = load_class(config.training.estimator)
    # What a single task fits needs no Ray Train, and runs on any engine.
    if kind.trained == "fitted":
        return train_photometric(config)
    config = msgspec.structs.replace(config, training=kind.resolve_settings(config.training))
    location = join(config.locations.models, config.training.estimator)
    set_hash = compute_set_hash(config.locations.training)
    layout = kind.make_layout(config.survey, config.training)
    key = compute_training_key(config.training, layout, seed=config.run.seed, set_hash=set_hash)
    # Asked before Ray is started, which takes longer than the answer.
    if is_trained(location, key, version=kind.FORMAT_VERSION, overwrite=config.training.overwrite):
        logger.info("%s is trained already with these settings on this training set", location)
        return location
    check_training_set(config.training, count_splits(config.locations.training))
    plan = plan_training(config, kind)
    with ray_cluster(config.engine):
        check_workers(config.training, find_resources(config.engine))
        # The key is in the name, under which Ray Train resumes: other settings must not take up these weights.
        state = run_training(plan, name=f"{config.training.estimator}-{key[:12]}")
        record = {"key": key, "training_set": set_hash, "seed": config.run.seed}
        write_estimator(plan, state, location, record=record, save=_save_on_ray)
    # Only now: a job that dies while the folder is written takes the training up from its last checkpoint.
    remove(join(_runs_location(config.locations.training), f"{config.training.estimator}-{key[:12]}"))
    return location


def _save_on_ray(plan: TrainingPlan, weights: Weights, location: str, record: dict[str, Any]) -> None:
    """Have a worker, which may have the GPU, recalibrate the estimator and write its folder."""
    settings = plan.config.training.spreading
    task = ray.remote(_save_in_worker).options(
        num_cpus=settings.cpus_per_worker, num_gpus=int(settings.use_gpu), runtime_env={"env_vars": WORKER_VARIABLES}
    )
    ray.get(task.remote(plan, weights, location, record))


def _save_in_worker(plan: TrainingPlan, weights: Weights, location: str, record: dict[str, Any]) -> None:
    use_options(plan.config.storage_options)
    # All of the machine's, since the workers of the training have ended.
    torch.set_num_threads(plan.config.training.spreading.threads_per_worker or os.cpu_count() or 1)
    save_estimator(plan, weights, location, record)


def run_training(plan: TrainingPlan, *, name: str) -> TrainingState:
    """Train on the running Ray cluster; a run of the same name that was cut short is taken up from its checkpoint.

    Returns
    -------
    TrainingState
        The record, and the weights of the best epoch.

    Raises
    ------
    TrainingError
        Not one epoch was trained.
    """
    settings = plan.config.training.spreading
    for variable, value in _RAY_TRAIN.items():
        os.environ.setdefault(variable, value)
    filesystem, path = _open_filesystem(_runs_location(plan.config.locations.training))
    trainer = ray.train.torch.TorchTrainer(
        train_worker,
        train_loop_config={"plan": plan},
        datasets={split: _hold_small(plan, _open_split(plan, split), split) for split in ("train", "valid")},
        dataset_config=ray.train.DataConfig(execution_options=_make_execution_options()),
        # NCCL knows GPUs alone.
        torch_config=ray.train.torch.TorchConfig(backend="nccl" if settings.use_gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.workers,
            use_gpu=settings.use_gpu,
            resources_per_worker={"CPU": settings.cpus_per_worker, **({"GPU": 1} if settings.use_gpu else {})},
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=ray.train.FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=_KEPT_CHECKPOINTS),
            worker_runtime_env={"env_vars": WORKER_VARIABLES},
        ),
    )
    result = trainer.fit()
    if result.checkpoint is None:
        raise TrainingError("training ended without a checkpoint: raise training.schedule.max_epochs above 0")
    with result.checkpoint.as_directory() as folder:
        state, _ = TrainingState.read(folder)
    return state


def train_worker(told: dict[str, Any]) -> None:
    """Train on one worker: the loop over epochs that Ray Train runs in each of its processes."""
    plan: TrainingPlan = told["plan"]
    config = plan.config
    log_in_worker()
    use_options(config.storage_options)
    torch.set_num_threads(_count_threads(config.training.spreading))
    torch.manual_seed(config.run.seed)
    settings = config.training.schedule
    learner = make_learner(ray.train.torch.prepare_model(plan.make_network()), settings, steps=plan.steps)
    state = TrainingState()
    if (checkpoint := ray.train.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            state, content = TrainingState.read(folder)
        learner.restore(content)
        _log_first("taking up the training after epoch %d", state.epoch)
    # Each worker decides by the same gathered losses: one that went on alone would wait for the others for ever.
    while not state.is_finished(max_epochs=settings.max_epochs, patience=settings.patience):
        record = _run_epoch(plan, state.epoch + 1, learner)
        state = state.add(record, learner.kept)
        # By name: two trainings may run beside each other and write into one log.
        _log_first("%s: %s", config.training.estimator, record.describe(settings.max_epochs))
        _report(state, learner)


def _run_epoch(plan: TrainingPlan, epoch: int, learner: Learner) -> EpochRecord:
    start = time.monotonic()
    # Each worker turns its images by its own numbers, and each epoch by others, also after a restart.
    rank = ray.train.get_context().get_world_rank()
    generator = torch.Generator().manual_seed(plan.config.run.seed * 1_000_003 + epoch * 1_009 + rank)
    objective = plan.make_objective()
    own = train_epoch(learner, _stream(plan, "train", epoch), objective=objective, generator=generator)
    trained = time.monotonic()
    predictions = validate(learner.kept, _stream(plan, "valid", epoch), objective=objective)
    losses, parts = _gather(own), _gather(predictions)
    total = LossSum(sum(part.loss for part in losses), sum(part.galaxies for part in losses))
    return EpochRecord(
        epoch=epoch,
        train_loss=total.mean,
        galaxies_per_second=total.galaxies / (trained - start),
        learning_rate=float(learner.schedule.get_last_lr()[0]),
        seconds=time.monotonic() - start,
        **Predictions.concatenate(parts).compute_metrics(),
    )


def _stream(plan: TrainingPlan, split: str, epoch: int) -> Iterator[Batch]:
    """Stream this worker's share of a split, the training galaxies in another order each epoch."""
    settings = plan.config.training.schedule
    training = split == "train"
    # In training the last, short batch is dropped: a step of few galaxies counts as much as one of many, and batch
    # normalisation refuses a single one. Each epoch draws others.
    tables = ray.train.get_dataset_shard(split).iter_batches(
        batch_size=settings.batch_size // plan.config.training.spreading.workers if training else 256,
        batch_format="pyarrow",
        prefetch_batches=2,
        drop_last=training,
        local_shuffle_buffer_size=settings.shuffle_rows if training else None,
        # Seed and epoch in one number, apart by more than there are epochs: no two seeds have an order in common.
        local_shuffle_seed=plan.config.run.seed * 1_000_003 + epoch if training else None,
    )
    device = ray.train.torch.get_device()
    for table in tables:
        yield prepare_batch(
            make_inputs(table, plan.layout.bands),
            table["z_spec"].to_numpy(),
            preparation=plan.preparation,
            device=device,
            weight_NK=plan.weigh(table["object_id"].to_pylist(), table["z_spec"].to_numpy()) if training else None,
        )


def _report(state: TrainingState, learner: Learner) -> None:
    metrics = state.records[-1].to_dict()
    # Every worker must report, or Ray Train waits for it; the weights are the same in all, so one sends them.
    if ray.train.get_context().get_world_rank() != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        state.save(folder, learner)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _gather(value: Any) -> list[Any]:
    """Give every worker the values of all, in the order of the ranks: so all decide alike."""
    world = ray.train.get_context().get_world_size()
    if world == 1:
        return [value]
    values: list[Any] = [None] * world
    torch.distributed.all_gather_object(values, value)
    return values


def _log_first(message: str, *values: object) -> None:
    if ray.train.get_context().get_world_rank() == 0:
        logger.info(message, *values)


def _count_threads(settings: Spreading) -> int:
    local = ray.train.get_context().get_local_world_size()
    return settings.threads_per_worker or max(1, (os.cpu_count() or 1) // local)


def _open_split(plan: TrainingPlan, split: str) -> Any:
    parts = list_parts(plan.config.locations.training)
    # With this process's storage options: Ray Data opens in workers that know none (`photoz.storage`).
    filesystem = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(find_filesystem(parts[0])[0]))
    columns = list_columns(plan.layout.bands, images=bool(plan.layout.image_bands))
    # A file is one piece of the sky, and the buffer in `_stream` mixes only rows that come near each other.
    shuffle = ray.data.FileShuffleConfig(seed=plan.config.run.seed) if split == "train" else None
    data = ray.data.read_parquet(
        [find_filesystem(part)[1] for part in parts],
        filesystem=filesystem,
        shuffle=shuffle,
    )
    # Ray Data reads no other columns: photometry alone leaves the cutouts on disk.
    return data.select_columns([*columns, "split"]).filter(expr=col("split") == split).select_columns(columns)


def _hold_small(plan: TrainingPlan, data: Any, split: str) -> Any:
    """Read a small split once into Ray's object store, which all workers of a node share; a large one each epoch."""
    count = count_splits(plan.config.locations.training)[split]
    pixels = len(plan.layout.image_bands) * plan.layout.cutout_size**2
    # float32: the cutout, and in each band a magnitude and its error.
    gib = count * 4 * (pixels + 2 * len(plan.layout.bands)) / 2**30
    # Or the blocks lie in the order in which the files happened to be read, and a seed gives another network on a busy
    # machine. Of this dataset's own context: others need no order.
    data.context.execution_options.preserve_order = True
    return data.materialize() if gib <= plan.config.training.spreading.hold_gib else data


def _make_execution_options() -> Any:
    options = ray.train.DataConfig.default_ingest_options()
    options.preserve_order = True  # so that a seed gives the same order of galaxies again
    return options


def _runs_location(training: str) -> str:
    return join(training, "runs")


def _open_filesystem(location: str) -> tuple[Any, str]:
    """Return the pyarrow file system and path that Ray Train stores under; None for a local path."""
    filesystem, path = find_filesystem(location)
    if isinstance(filesystem, LocalFileSystem):
        return None, path
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(filesystem)), path
