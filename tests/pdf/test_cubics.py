"""The cubic that rises with its two ends: its values there, its slopes, and that it never falls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline

from photoz.pdf.cubics import rise_cubically

SHARES = np.linspace(0.0, 1.0, 201)


@given(rise=st.floats(0.0, 10.0), first=st.floats(0.0, 3.0), last=st.floats(0.0, 3.0))
def test_slopes_up_to_three_times_the_rise_keep_it_from_falling(rise: float, first: float, last: float) -> None:
    values = rise_cubically(SHARES, rise, first * rise, last * rise)
    assert values[0] == 0.0
    assert values[-1] == pytest.approx(rise, abs=1e-12)
    assert (np.diff(values) >= -1e-12).all()


def test_it_is_hermites_cubic() -> None:
    expected = CubicHermiteSpline([0.0, 1.0], [0.0, 2.0], [1.5, 0.25])(SHARES)
    np.testing.assert_allclose(rise_cubically(SHARES, 2.0, 1.5, 0.25), expected, atol=1e-12)
