"""One run at a time writes an output: a lock file beside the catalogue, kept fresh by the run that holds it."""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from fsspec.core import url_to_fs

from photoz.errors import CatalogueError, PhotozError
from photoz.storage import join, read_json, remove, write_json

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_BEATS = 5.0
SECONDS_TO_EXPIRE = 45.0
"""[s] after its last beat a lock no longer counts: its run is dead or cut off."""


@contextmanager
def hold_lock(folder: str, *, share: bool = False) -> Iterator[None]:
    """Hold the lock of an output for the time of the block.

    Parameters
    ----------
    folder : str
        The run folder of the output.
    share : bool
        Go on without the lock when another run holds it.

    Raises
    ------
    CatalogueError
        Another run holds it and is alive.
    """
    location = join(folder, "lock.json")
    own = {"token": uuid.uuid4().hex, "host": socket.gethostname(), "process": os.getpid()}
    if not _take(location, own, share=share):
        yield
        return
    stop = threading.Event()
    beats = threading.Thread(target=_beat, args=(location, own, stop), daemon=True)
    beats.start()
    try:
        yield
    finally:
        stop.set()
        beats.join()
        if _read(location).get("token") == own["token"]:
            remove(location)


def _take(location: str, own: dict[str, Any], *, share: bool) -> bool:
    while not _create(location, own):
        holder = _read(location)
        if not _is_alive(holder):
            logger.info("taking the output over from a run that died: %s", holder)
            remove(location)
        elif share:
            logger.info("sharing the output with the run of process %s on %s", holder["process"], holder["host"])
            return False
        else:
            raise CatalogueError(
                f"process {holder['process']} on {holder['host']} is writing this output ({location}): wait for it, or "
                "work beside it with --set inference.join=true"
            )
    return True


def _create(location: str, own: dict[str, Any]) -> bool:
    """Create the lock file unless there is one; object stores do this with a conditional write."""
    filesystem, path = url_to_fs(location)
    filesystem.makedirs(filesystem._parent(path), exist_ok=True)
    filesystem.invalidate_cache()
    try:
        filesystem.pipe_file(path, _encode(own), mode="create")
    except FileExistsError:
        return False
    return bool(_read(location).get("token") == own["token"])


def _beat(location: str, own: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(_SECONDS_BETWEEN_BEATS):
        with suppress(OSError):  # a store that is away for a moment must not end the run
            write_json(location, own | {"beat": time.time()})


def _read(location: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read_json(location)
    except (FileNotFoundError, PhotozError):
        return {}
    return found


def _is_alive(holder: dict[str, Any]) -> bool:
    if not holder or time.time() - holder["beat"] > SECONDS_TO_EXPIRE:
        return False
    if holder["host"] != socket.gethostname():
        return True
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _encode(own: dict[str, Any]) -> bytes:
    return msgspec.json.encode(own | {"beat": time.time()})
