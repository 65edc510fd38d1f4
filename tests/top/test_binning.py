"""Bins of a quantity: every value in one of them, edges that a reader likes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from photoz.binning import assign_bins, choose_round_edges
from photoz.errors import EvaluationError

VALUES = arrays(np.float64, st.integers(1, 80), elements=st.floats(-30, 30, width=32))


@given(VALUES, st.integers(1, 12))
def test_every_value_lies_in_the_bin_whose_edges_hold_it(values: np.ndarray, bins: int) -> None:
    edges = choose_round_edges(values, bins, least=1)
    if not edges.size:
        assert np.ptp(values) < 1e-9
        return
    index = assign_bins(values, edges)
    assert index.min() >= 0
    assert (edges[index] <= values).all()
    assert (values <= edges[index + 1]).all()


@pytest.mark.parametrize("span", [0.003, 1.0, 40.0, 70_000.0])
def test_inner_edges_are_multiples_of_a_round_step(span: float) -> None:
    edges = choose_round_edges(np.linspace(0.1 * span, 1.1 * span, 400), 6)
    step = edges[2] - edges[1]
    mantissa = step / 10 ** np.floor(np.log10(step))
    assert any(mantissa == pytest.approx(factor) for factor in (1, 2, 2.5, 5, 10))
    np.testing.assert_allclose(edges[1:-1] / step, np.round(edges[1:-1] / step))
    assert 3 <= len(edges) - 1 <= 8


def test_extremes_do_not_stretch_the_spacing_and_lie_in_the_outer_bins() -> None:
    values = np.append(np.linspace(16, 20, 1000), [3.0, 40.0])
    edges = choose_round_edges(values, 8)
    assert (edges[0], edges[-1]) == (3.0, 40.0)
    assert np.diff(edges[1:-1]).max() == pytest.approx(0.5)


def test_a_small_sample_gets_fewer_bins() -> None:
    assert len(choose_round_edges(np.linspace(0, 1, 30), 8)) - 1 <= 3


@pytest.mark.parametrize("edges", [[1.0], [], [0.0, 0.0, 1.0], [1.0, 0.0]])
def test_edges_that_do_not_increase_are_refused(edges: list[float]) -> None:
    with pytest.raises(EvaluationError, match="must be at least two and increase"):
        assign_bins([0.5], edges)
