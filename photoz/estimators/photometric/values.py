"""Values that a caller gives as settings: made plain, and held against their defaults."""

from typing import Any

import numpy as np


def to_plain(value: Any) -> Any:
    """Turn NumPy's numbers, texts and arrays into Python's own, in lists and tuples, too, which a manifest holds.

    >>> to_plain(np.int64(5)), to_plain(np.array([1, 2])), to_plain((np.float32(0.5), "a"))
    (5, [1, 2], (0.5, 'a'))
    """
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return type(value)(to_plain(each) for each in value)
    return value


def is_number(value: Any) -> bool:
    """Tell whether a value is one of Python's numbers, of which True is one to Python alone."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_like(value: Any, usual: Any) -> bool:
    """Tell whether a setting's value is of the kind of its default: numbers 0 or more, whole ones 1 or more.

    >>> is_like([5, 8], (7,)), is_like(3, (7,)), is_like(0, 7), is_like(0.5, 7), is_like(1, 0.5), is_like("a", 0.5)
    (True, False, False, False, True, False)
    """
    if isinstance(usual, list | tuple):
        return isinstance(value, list | tuple) and len(value) > 0 and all(is_like(each, usual[0]) for each in value)
    if isinstance(usual, bool | str):
        return isinstance(value, type(usual))
    if isinstance(usual, int):
        return isinstance(value, int) and is_number(value) and value >= min(usual, 1)
    if isinstance(usual, float):
        return is_number(value) and 0 <= value < np.inf
    return True
