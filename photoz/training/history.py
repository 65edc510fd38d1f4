"""The record of a training: one entry an epoch, as a line of the log, as JSON and as a figure."""

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from photoz.storage import open_atomic, write_json


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
    """Write the records as JSON: ``{"epochs": [...], **info}``."""
    write_json(location, {**info, "epochs": [record.to_dict() for record in records]})


def plot_history(location: str, records: Sequence[EpochRecord], *, title: str) -> None:
    """Draw loss and validation metrics against the epoch into a PNG; the epoch that was kept is marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    loss, scatter = figure.subplots(2, 1, sharex=True)
    epochs = [record.epoch for record in records]
    best = min(records, key=lambda record: record.valid_loss)
    _draw_losses(loss, epochs, records)
    _draw_scatter(scatter, epochs, records)
    for axes in (loss, scatter):
        axes.axvline(best.epoch, color="0.6", linestyle=":", linewidth=1.0, zorder=0)
        axes.spines[["top"]].set_visible(False)
    loss.text(
        best.epoch, 0.98, f" kept: epoch {best.epoch}", transform=loss.get_xaxis_transform(), va="top", color="0.35"
    )
    loss.set_title(title, loc="left", fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    with open_atomic(location) as file:
        file.write(buffer.getvalue())


def _draw_losses(axes: Any, epochs: list[int], records: Sequence[EpochRecord]) -> None:
    axes.plot(epochs, [r.train_loss for r in records], color="#0072B2", label="training (dropout on)")
    axes.plot(epochs, [r.valid_loss for r in records], color="#D55E00", label="validation")
    axes.set_yscale("log")
    axes.set_ylabel("Huber loss on ln(1 + z)")
    axes.legend(frameon=False, loc="upper right")
    axes.spines[["right"]].set_visible(False)


def _draw_scatter(axes: Any, epochs: list[int], records: Sequence[EpochRecord]) -> None:
    axes.plot(epochs, [r.smad for r in records], color="#009E73", label="SMAD")
    axes.set_yscale("log")
    axes.set_ylabel(r"validation SMAD of $\Delta z/(1+z)$", color="#009E73")
    axes.set_xlabel("epoch")
    right = axes.twinx()
    right.plot(epochs, [r.r2 for r in records], color="#CC79A7", label="R²")
    right.set_ylabel("validation R²", color="#CC79A7")
    right.set_ylim(min(0.5, max(0.0, *(r.r2 for r in records)) - 0.1), 1.0)
    right.spines[["top"]].set_visible(False)
