"""The state of a training between two epochs, and its folder on disk."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from photoz.errors import TrainingError
from photoz.training.epoch import Learner
from photoz.training.history import EpochRecord

STATE_FILE = "state.pt"


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What early stopping and a resumed training need: the record so far and the best weights.

    Parameters
    ----------
    records : tuple of EpochRecord
        One an epoch done.
    best : dict of str to Tensor
        Weights of the epoch with the lowest validation loss, on the CPU; empty before the first.
    """

    records: tuple[EpochRecord, ...] = ()
    best: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.records)

    @property
    def best_record(self) -> EpochRecord:
        """The epoch with the lowest validation loss; the first of equals."""
        return min(self.records, key=lambda record: record.valid_loss)

    def add(self, record: EpochRecord, network: nn.Module) -> Self:
        """Return the state after an epoch more, whose weights are kept when its validation loss is the lowest.

        Raises
        ------
        TrainingError
            A loss is not finite.
        """
        # Nothing compares as lower than NaN: as the first loss it would stay the best one, whatever came after.
        if not math.isfinite(record.train_loss + record.valid_loss):
            raise TrainingError(
                f"epoch {record.epoch}: loss {record.train_loss}, validation loss {record.valid_loss}: "
                "lower training.schedule.learning_rate, and look for redshifts below -1 or infinite magnitudes in the "
                "training set"
            )
        state = replace(self, records=(*self.records, record))
        if state.best_record is not record:
            return state
        # Cloned: on a CPU the tensors of state_dict are the network's own, which the next epoch changes.
        return replace(state, best={key: value.detach().cpu().clone() for key, value in network.state_dict().items()})

    def is_finished(self, *, max_epochs: int, patience: int) -> bool:
        """Tell whether all epochs are done, or the last ``patience`` of them were no better than one before."""
        # `best_record` takes the least of at least one.
        if not self.records:
            return max_epochs <= 0
        return self.epoch >= max_epochs or self.epoch - self.best_record.epoch >= patience

    def save(self, folder: str, learner: Learner) -> None:
        """Write everything a resumed training needs into a local folder.

        Parameters
        ----------
        folder : str
            A local path, as Ray Train gives it.
        learner : Learner
            As it is after the last epoch.
        """
        content = {
            "records": [record.to_dict() for record in self.records],
            "best": dict(self.best),
            **learner.to_dict(),
        }
        torch.save(content, Path(folder) / STATE_FILE)

    @classmethod
    def read(cls, folder: str) -> tuple[Self, Mapping[str, Any]]:
        """Read a folder that `save` wrote: the state, and what `Learner.restore` reads. Loads weights only."""
        # weights_only: a pickle could run any code. To the CPU, since the worker that saved it may have had a GPU and
        # this one none.
        content = torch.load(Path(folder) / STATE_FILE, map_location="cpu", weights_only=True)
        # By today's fields: what an older version recorded besides is passed over.
        names = {item.name for item in dataclasses.fields(EpochRecord)}
        records = (EpochRecord(**{name: values[name] for name in names}) for values in content["records"])
        return cls(tuple(records), content["best"]), content
