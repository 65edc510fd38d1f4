"""The record of a training: one entry an epoch, as a line of the log and as JSON."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from photoz.storage import write_json


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch gave. Metrics are of the validation galaxies.

    Parameters
    ----------
    epoch : int
        From 1.
    train_loss, valid_loss : float
        Huber loss on ln(1 + z); that of training is the mean over the epoch, with dropout and turned images.
    smad, r2, mse, mae : float
        SMAD of dz = (z_phot - z_spec) / (1 + z_spec); R², mean squared and mean absolute error of z.
    galaxies_per_second : float
        [1/s] trained on, over all workers.
    learning_rate : float
        At the end of the epoch.
    seconds : float
        [s] with validation.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    smad: float
    r2: float
    mse: float
    mae: float
    galaxies_per_second: float
    learning_rate: float
    seconds: float

    def describe(self, max_epochs: int) -> str:
        """Return the line for the log; the time left is that of all epochs, early stopping may save some."""
        left = self.seconds * (max_epochs - self.epoch)
        return (
            f"epoch {self.epoch}/{max_epochs}: loss {self.train_loss:.3e}, validation loss {self.valid_loss:.3e}, "
            f"SMAD {self.smad:.4f}, R2 {self.r2:.3f}, MSE {self.mse:.2e}, MAE {self.mae:.4f}, "
            f"{self.galaxies_per_second:,.0f} galaxies/s, {self.seconds:.1f} s, at most {left:.0f} s left"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


def write_history(location: str, records: Sequence[EpochRecord], *, info: dict[str, Any]) -> None:
    """Write the records as JSON: ``{"epochs": [...], **info}``.

    Parameters
    ----------
    location : str
        File, a path or any URL that fsspec opens.
    records : sequence of EpochRecord
    info : dict
        Anything that JSON holds.
    """
    # The epochs last, so that nothing in `info` can take their place.
    write_json(location, {**info, "epochs": [record.to_dict() for record in records]})
