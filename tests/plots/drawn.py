"""What a figure shows, read back from its axes: texts, filled and open steps, lines."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

Floats = npt.NDArray[np.float64]


def list_texts(figure: Figure) -> list[str]:
    """List what is written within the panels, their titles and labels left out."""
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def list_steps(axes: Axes) -> list[tuple[Floats, Floats]]:
    """List heights and edges of the histograms of a panel, as they were drawn."""
    patches = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    return [(np.asarray(patch.get_data().values), np.asarray(patch.get_data().edges)) for patch in patches]


def find_line(axes: Axes, label: str) -> tuple[Floats, Floats]:
    """Find the points of the line of a legend's entry."""
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def list_legend(axes: Axes) -> list[str]:
    """List the entries of a panel's legend."""
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]
