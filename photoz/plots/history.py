"""Training curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from photoz.plots.style import COLOURS, GREY, WIDTH, draw_nothing, styled

_LABELS = {"loss": "loss", "smad": r"SMAD($\Delta z$)", "mae": "MAE", "mse": "MSE", "r2": "$R^2$"}
_SHOWN = ("loss", "smad", "mae", "mse", "r2")


@styled
def plot_history(histories: Mapping[str, Sequence[Mapping[str, Any]]], *, panels: int = 2) -> Figure:
    """Plot loss and accuracy against the epoch for each trained estimator.

    Parameters
    ----------
    histories : mapping of str to sequence of mapping
        By the estimator's name: one mapping an epoch, with ``epoch`` and any of ``train_<figure>``, ``valid_<figure>``
        or ``<figure>``, which is that of validation too; a figure is ``loss``, ``smad``, ``mae``, ``mse`` or ``r2``.
        Other keys are ignored.
    panels : int
        Figures shown at most, in that order.

    Returns
    -------
    Figure
        Training dashed, validation solid; the dot is the epoch of the least validation loss, whose weights are kept.
    """
    found = {
        key.removeprefix("train_").removeprefix("valid_")
        for history in histories.values()
        for epoch in history
        for key in epoch
    }
    shown = [name for name in _SHOWN if name in found][:panels] or ["loss"]
    figure = Figure(figsize=(WIDTH if len(shown) > 1 else WIDTH * 0.6, 2.9), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for number, (label, history) in enumerate(histories.items()):
            _draw_curves(axes, history, name, (COLOURS[number % len(COLOURS)], label))
        _finish(axes, name)
    return figure


def _draw_curves(axes: Axes, history: Sequence[Mapping[str, Any]], name: str, look: tuple[str, str]) -> None:
    colour, label = look
    epochs = [epoch for epoch in history if "epoch" in epoch]
    training = [(epoch["epoch"], epoch[f"train_{name}"]) for epoch in epochs if f"train_{name}" in epoch]
    validation = [
        (epoch["epoch"], _validation(epoch, name)) for epoch in epochs if _validation(epoch, name) is not None
    ]
    if training:
        axes.plot(*zip(*training, strict=True), color=colour, linestyle=(0, (4, 2)))
    if not validation:
        return
    axes.plot(*zip(*validation, strict=True), color=colour, label=label)
    # By the loss whichever figure is drawn: its epoch's weights are kept (`photoz.training`). Of finite ones alone: NaN
    # is neither less nor more than anything, so that `min` would keep it if it came first.
    judged = [epoch for epoch in epochs if np.isfinite(_to_float(_validation(epoch, "loss")))]
    best = min(judged, key=lambda epoch: float(_validation(epoch, "loss")), default={})
    if _validation(best, name) is not None:
        axes.plot(best["epoch"], _validation(best, name), "o", color=colour, markersize=5)


def _validation(epoch: Mapping[str, Any], name: str) -> Any:
    # Some records name the figures of validation without a prefix.
    return epoch.get(f"valid_{name}", epoch.get(name))


def _to_float(value: Any) -> float:
    return np.nan if value is None else float(value)


def _finish(axes: Axes, name: str) -> None:
    axes.set(xlabel="epoch", ylabel=_LABELS[name])
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if not axes.lines:
        draw_nothing(axes, "no epoch recorded")
        return
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines])
    # A likelihood's may be negative. An epoch that diverged is no reason against the logarithm: it is drawn on neither.
    if name == "loss" and np.isfinite(drawn).any() and (drawn[np.isfinite(drawn)] > 0).all():
        axes.set_yscale("log")
    # Empty lines, for the legend to explain the dashes once and not for each estimator.
    axes.plot([], [], color=GREY, linestyle=(0, (4, 2)), label="training")
    axes.plot([], [], color=GREY, label="validation")
    axes.legend()
