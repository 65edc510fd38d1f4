"""Values of settings: NumPy's become Python's, and what is none of a default's kind is told."""

import json
from typing import Any

import numpy as np
import pytest

from photoz.estimators.photometric.values import is_like, is_number, to_plain


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(5), "5"),
        (np.float32(0.5), "0.5"),
        (np.str_("a"), '"a"'),
        (np.bool_(True), "true"),
        (np.arange(3), "[0, 1, 2]"),
        ([np.int8(1), (np.float64(2),)], "[1, [2.0]]"),
    ],
)
def test_numpys_values_become_what_a_manifest_holds(value: Any, plain: str) -> None:
    assert json.dumps(to_plain(value)) == plain


@pytest.mark.parametrize(("value", "expected"), [(1, True), (0.5, True), (True, False), ("1", False), (None, False)])
def test_true_is_no_number(value: object, expected: bool) -> None:
    assert is_number(value) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, "0.1", True, None])
def test_what_is_no_number_from_0_is_none_of_a_defaults_kind(value: object) -> None:
    assert not is_like(value, 0.1)
