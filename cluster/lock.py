"""One run at a time writes an output: a lock file beside the catalogue, kept fresh by the run that holds it."""

import errno
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
from fsspec.implementations.local import LocalFileSystem

from photoz.errors import CatalogueError, PhotozError
from photoz.storage import PART_SUFFIX, exists, join, read_json, remove, write_json

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_BEATS = 5.0
SECONDS_TO_EXPIRE = 45.0
"""[s] after its last beat a lock no longer counts: its run is dead or cut off."""
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BETWEEN_TRIES = 0.1


class Lock:
    """The lock of an output, held by this run.

    Parameters
    ----------
    folder : str
        The run folder of the output.
    run_key : str
        What the run does (`cluster.ledger.compute_run_key`).
    """

    def __init__(self, folder: str, run_key: str) -> None:
        self.location = join(folder, "lock.json")
        self._own = {
            "token": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "run_key": run_key,
        }
        self._stop = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def take(self, *, wait: bool) -> None:
        """Take the lock, from a run that died where need be, and keep it fresh."""
        while not self._create(self.location):
            holder = _read(self.location)
            if not _is_alive(self.location, holder):
                self._take_over(holder)
            elif wait:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            else:
                raise CatalogueError(
                    f"process {holder['process']} on {holder['host']} is writing this output ({self.location}): wait "
                    "for it, or work beside it with --set inference.join=true"
                )
        self._beats.start()

    def check(self) -> None:
        """Raise unless this run still holds the lock.

        Raises
        ------
        CatalogueError
            Another run took the output over while this one was cut off or stopped.
        """
        if _read(self.location).get("token") != self._own["token"]:
            raise CatalogueError(
                f"another run took the output over ({self.location}) while this one gave no sign of life for "
                f"{SECONDS_TO_EXPIRE:.0f} s: let it finish, or run the job again"
            )

    def release(self) -> None:
        """Give the lock back."""
        self._stop.set()
        self._beats.join()
        if _read(self.location).get("token") == self._own["token"]:
            remove(self.location)

    def _create(self, location: str) -> bool:
        """Create the lock file, or the claim to it, unless there is one."""
        filesystem, path = url_to_fs(location)
        filesystem.invalidate_cache()
        content = msgspec.json.encode(self._own | {"beat": time.time()})
        try:
            if isinstance(filesystem, LocalFileSystem):
                _create_local(path, content)
            else:
                filesystem.pipe_file(path, content, mode="create")  # object stores do this with a conditional write
        except OSError as error:
            if not _says_that_it_exists(error):
                raise
        # It may be our own: the store's answer was lost and its client asked again.
        return bool(_read(location).get("token") == self._own["token"])

    def _take_over(self, holder: dict[str, Any]) -> None:
        """Remove a dead run's lock. Only who holds the claim to it may: a slow one would remove its successor's."""
        claim = f"{self.location}.claim"
        if not self._create(claim):
            other = _read(claim)
            if other and not _is_alive(claim, other):
                remove(claim)
            time.sleep(_SECONDS_BETWEEN_TRIES)
            return
        try:
            if exists(self.location) and _read(self.location) == holder:
                logger.info("taking the output over from process %s on %s", holder.get("process"), holder.get("host"))
                remove(self.location)
        finally:
            remove(claim)

    def _beat(self) -> None:
        while not self._stop.wait(_SECONDS_BETWEEN_BEATS):
            # Whatever a store that is away for a moment raises must not end the beating.
            with suppress(Exception):
                if _read(self.location).get("token") != self._own["token"]:
                    return  # taken over: never beat on another run's lock
                write_json(self.location, self._own | {"beat": time.time()})


@contextmanager
def hold_lock(folder: str, *, run_key: str = "", wait: bool = False) -> Iterator[Lock]:
    """Hold the lock of an output for the time of the block.

    Parameters
    ----------
    folder : str
        The run folder of the output.
    run_key : str
        What the run does.
    wait : bool
        Wait for a run that holds it, instead of refusing.

    Raises
    ------
    CatalogueError
        Another run holds it and is alive.
    """
    lock = Lock(folder, run_key)
    lock.take(wait=wait)
    try:
        yield lock
    finally:
        lock.release()


def find_holder(folder: str) -> dict[str, Any]:
    """Find the live run that holds an output; empty where there is none."""
    location = join(folder, "lock.json")
    holder = _read(location)
    return holder if holder and _is_alive(location, holder) else {}


def _create_local(path: str, content: bytes) -> None:
    """Create a file with its content in one step: a link to one written aside."""
    folder = os.path.dirname(path)  # noqa: PTH120 - fsspec's paths are strings
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    aside = f"{folder}/.lock.{uuid.uuid4().hex}{PART_SUFFIX}"
    with open(aside, "wb") as file:  # noqa: PTH123
        file.write(content)
    try:
        os.link(aside, path)
    finally:
        os.remove(aside)  # noqa: PTH107


def _says_that_it_exists(error: OSError) -> bool:
    """Tell a refused conditional write: s3fs makes EINVAL of it where the store, as Ceph, names no condition."""
    return isinstance(error, FileExistsError) or error.errno == errno.EINVAL


def _read(location: str) -> dict[str, Any]:
    try:
        found = read_json(location)
    except (FileNotFoundError, PhotozError):
        return {}
    return found if isinstance(found, dict) and "beat" in found else {}


def _is_alive(location: str, holder: dict[str, Any]) -> bool:
    """Tell whether a lock's run lives: by its process on this host, by its beat on others."""
    if holder.get("host") == socket.gethostname():
        return _is_fresh(holder) and _runs(holder["process"])
    seen = holder
    while _is_fresh(seen):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        seen = _read(location)
        if seen.get("token") == holder["token"] and seen["beat"] != holder["beat"]:
            return True
    return False


def _is_fresh(holder: dict[str, Any]) -> bool:
    return bool(holder) and time.time() - holder["beat"] <= SECONDS_TO_EXPIRE


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
