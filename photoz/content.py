"""One recipe for content: whether work must be done again is decided by a SHA-256 of what it depends on.

Here of values in memory; that of a file is `photoz.storage.compute_checksum`. Hashes that stand for a random number (of
an object's identifier, for its split) are none of these and stay with who draws them.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any


def compute_key(content: Any) -> str:
    """Compute the key of settings, names and checksums: SHA-256 of their canonical JSON.

    Parameters
    ----------
    content : object
        What JSON can hold: mappings, sequences, str, int, float, bool and None, nested. The order of a mapping's keys
        does not matter; a tuple counts as the list of the same; NaN is a value like any other.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    TypeError
        Something in it is nothing that JSON can hold.

    Examples
    --------
    >>> compute_key({"a": 1, "b": (2, 3)}) == compute_key({"b": [2, 3], "a": 1})
    True
    """
    # These are json's defaults and must stay: the keys of finished runs and the checksums of tiles are made so.
    # They write ASCII alone, so a file's name that is no UTF-8 has a key, too.
    return hash_bytes([json.dumps(content, sort_keys=True).encode()])


def hash_bytes(parts: Iterable[bytes | memoryview]) -> str:
    """Compute the SHA-256 of bytes one after the other, as hexadecimal; where one part ends does not matter."""
    # Not Python's hash, which is another in each process.
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
