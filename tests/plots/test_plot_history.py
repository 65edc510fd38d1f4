"""Training curves: which figures are shown, where the dot of the kept epoch lies, what damaged records do."""

import numpy as np
import pytest
from drawn import find_line, list_legend, list_texts
from hypothesis import given, settings
from hypothesis import strategies as st

from photoz.plots.history import plot_history


def make_history(losses: list[float], **others: list[float]) -> list[dict[str, float]]:
    columns = {"epoch": list(range(1, len(losses) + 1)), "valid_loss": losses, **others}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def find_dot(axes) -> tuple[float, float]:
    (dot,) = [line for line in axes.lines if line.get_marker() == "o"]
    return float(np.ravel(dot.get_xdata())[0]), float(np.ravel(dot.get_ydata())[0])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 10.0), min_size=1, max_size=15))
def test_the_dot_is_the_first_epoch_of_the_least_validation_loss(losses: list[float]) -> None:
    axes = plot_history({"mlp": make_history(losses)}).axes[0]
    assert find_dot(axes) == (1 + losses.index(min(losses)), min(losses))


def test_the_dot_of_another_figure_is_at_the_epoch_of_the_loss() -> None:
    history = make_history([3.0, 1.0, 2.0], valid_smad=[0.05, 0.04, 0.01])
    loss, smad = plot_history({"mlp": history}).axes
    assert find_dot(loss) == (2, 1.0)
    assert find_dot(smad) == (2, 0.04)  # not at epoch 3, whose SMAD is less: its weights are not kept


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_loss_that_is_no_number_is_never_the_least(place: int) -> None:
    losses = [2.0, 1.0]
    losses.insert(place, np.nan)
    axes = plot_history({"mlp": make_history(losses)}).axes[0]
    assert find_dot(axes) == (1 + losses.index(1.0), 1.0)


def test_a_diverged_epoch_does_not_take_the_logarithmic_scale_away() -> None:
    axes = plot_history({"mlp": make_history([np.nan, 2.0, 1.0])}).axes[0]
    assert axes.get_yscale() == "log"


def test_nothing_but_nan_has_no_dot_and_raises_nothing() -> None:
    axes = plot_history({"mlp": make_history([np.nan, np.nan])}).axes[0]
    assert [line for line in axes.lines if line.get_marker() == "o"] == []
    assert axes.get_yscale() == "linear"


def test_training_is_dashed_and_validation_solid() -> None:
    history = [{"epoch": epoch, "train_loss": 2.0 / epoch, "valid_loss": 3.0 / epoch} for epoch in (1, 2, 3)]
    axes = plot_history({"mlp": history}).axes[0]
    dashed, solid = axes.lines[0], axes.lines[1]
    assert list(dashed.get_ydata()) == [2.0, 1.0, 2.0 / 3]
    assert dashed.is_dashed()
    assert not solid.is_dashed()
    assert find_line(axes, "mlp") == (pytest.approx([1, 2, 3]), pytest.approx([3.0, 1.5, 1.0]))
    assert list_legend(axes) == ["mlp", "training", "validation"]


def test_figures_come_in_their_order_and_no_more_than_asked_for() -> None:
    history = make_history([2.0, 1.0], r2=[0.1, 0.2], mse=[0.3, 0.2], valid_smad=[0.2, 0.1])
    labels = [axes.get_ylabel() for axes in plot_history({"mlp": history}, panels=3).axes]
    assert labels == ["loss", r"SMAD($\Delta z$)", "MSE"]
    assert [axes.get_ylabel() for axes in plot_history({"mlp": history}, panels=1).axes] == ["loss"]


def test_a_name_without_prefix_is_a_figure_of_validation() -> None:
    axes = plot_history({"mlp": [{"epoch": 1, "loss": 2.0, "lr": 0.1}, {"epoch": 2, "loss": 1.0, "lr": 0.1}]}).axes
    assert len(axes) == 1  # the learning rate is no figure
    assert find_dot(axes[0]) == (2, 1.0)


def test_a_record_of_training_losses_alone_has_a_curve_and_no_dot() -> None:
    axes = plot_history({"mlp": [{"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": 1.0}]}).axes[0]
    assert [list(line.get_ydata()) for line in axes.lines[:1]] == [[2.0, 1.0]]
    assert not any(line.get_marker() == "o" for line in axes.lines)


def test_an_epoch_that_lacks_a_figure_is_left_out_of_its_curve() -> None:
    history = make_history([3.0, 2.0, 1.0])
    del history[1]["valid_loss"]
    assert list(find_line(plot_history({"mlp": history}).axes[0], "mlp")[0]) == [1, 3]


@pytest.mark.parametrize("histories", [{}, {"mlp": []}, {"mlp": [{"loss": 1.0}]}])
def test_a_record_without_epochs_says_so(histories) -> None:
    assert list_texts(plot_history(histories)) == ["no epoch recorded"]


def test_estimators_have_colours_of_their_own_in_both_panels() -> None:
    one, two = make_history([2.0, 1.0], valid_smad=[0.2, 0.1]), make_history([3.0, 1.0], valid_smad=[0.3, 0.1])
    figure = plot_history({"one": one, "two": two})
    for axes in figure.axes:
        colours = {line.get_label(): line.get_color() for line in axes.lines}
        assert colours["one"] != colours["two"]
    first, second = ({line.get_label(): line.get_color() for line in axes.lines} for axes in figure.axes)
    assert first["one"] == second["one"]
