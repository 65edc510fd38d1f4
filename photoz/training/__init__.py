"""Training of the combined network: batches, an epoch, a validation pass, the record. Spreads nothing itself."""

from photoz.training.batches import Batch, augment, prepare_batch
from photoz.training.epoch import make_optimizer, make_schedule, train_epoch, validate
from photoz.training.history import EpochRecord, write_history
from photoz.training.objectives import make_objective
from photoz.training.state import TrainingState

__all__ = [
    "Batch",
    "EpochRecord",
    "TrainingState",
    "augment",
    "make_objective",
    "make_optimizer",
    "make_schedule",
    "prepare_batch",
    "train_epoch",
    "validate",
    "write_history",
]
