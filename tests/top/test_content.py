"""Keys of content: equal for equal content, whatever its order, and different for anything else."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photoz.content import compute_key, hash_bytes

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def test_known_keys_of_finished_runs_stay() -> None:
    """A tile's checksum is such a key: were it another, every survey would be ingested again."""
    known = "d26d46d79ac08bac31826119c33bc86ef4011c9b0b89abf3dd5ade080c863a0e"
    text = b'[{"image/u": "ab"}, {"bands": ["u", "g"], "scale": 0.2, "\\u00fc": null}]'
    assert hashlib.sha256(text).hexdigest() == known
    assert compute_key([{"image/u": "ab"}, {"scale": 0.2, "ü": None, "bands": ("u", "g")}]) == known


@given(st.dictionaries(st.text(), PLAIN, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(content: dict[str, object], random: object) -> None:
    names = list(content)
    random.shuffle(names)  # type: ignore[attr-defined]
    assert compute_key({name: content[name] for name in names}) == compute_key(content)


@given(st.lists(PLAIN, max_size=4), PLAIN)
def test_other_content_has_another_key(content: list[object], more: object) -> None:
    assert compute_key([*content, more]) != compute_key(content)
    assert compute_key(content) != compute_key([content])


def test_values_of_other_types_have_other_keys() -> None:
    assert len({compute_key(value) for value in (1, 1.0, "1", True, [1], {"1": 1}, None)}) == 7


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        compute_key({"file": b"bytes"})


@given(st.binary(), st.integers(0, 40))
def test_bytes_hash_alike_however_they_are_cut(content: bytes, at: int) -> None:
    assert hash_bytes([content[:at], content[at:]]) == hash_bytes([content]) == hashlib.sha256(content).hexdigest()
