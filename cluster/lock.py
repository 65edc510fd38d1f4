"""One run at a time writes an output: a lock file beside the catalogue, kept fresh by the run that holds it."""

import errno
import logging
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import psutil
from fsspec.implementations.local import LocalFileSystem

from photoz.errors import CatalogueError, PhotozError
from photoz.storage import (
    PART_SUFFIX,
    exists,
    find_filesystem,
    is_store_trouble,
    join,
    read_json,
    remove,
    write_json,
)

logger = logging.getLogger(__name__)

# Nine before the lock expires, since a store that is slow or away may cost some of them.
_SECONDS_BETWEEN_BEATS = 5.0
SECONDS_TO_EXPIRE = 45.0
"""[s] without a new beat, and a lock no longer counts: its run is dead or cut off."""
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BETWEEN_TRIES = 0.1
_TRIES = 5
# The kernel's own steps in which a process begins: finer digits are rounding's, and differ from one look to the next.
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100  # a second


@dataclass(frozen=True)
class Holder:
    """Who holds an output, or held it when it died.

    Parameters
    ----------
    process : int or None
    host : str or None
        None where the lock, which is not one of ours then, does not tell.
    run_key : str
        What the run does; "" where others cannot work beside it.
    beat : float
        [s since 1970] of its last sign of life, by its own host's clock, which may differ from this one's.
    alive : bool
    """

    process: int | None
    host: str | None
    run_key: str
    beat: float
    alive: bool


@dataclass(frozen=True)
class _Machine:
    """Whose process table a process sees; None where the machine does not tell, as only Linux does."""

    host: str
    boot: str | None = None
    namespace: int | None = None


@dataclass(frozen=True)
class _Hold:
    """What a lock file holds, in this order; None for what it lacks: another version or another program wrote it.

    Parameters
    ----------
    host, boot, namespace
        As in `_Machine`.
    token : str
        Tells this hold from any other, also of the same process.
    process, started : int
        Number of the process, and when it began (`_read_start`).
    run_key, beat
        As in `Holder`.
    """

    host: str | None
    boot: str | None
    namespace: int | None
    token: str | None
    process: int | None
    started: int | None
    run_key: str | None
    beat: float

    def to_json(self) -> dict[str, str | float | None]:
        """Return the content of the lock file."""
        return asdict(self)


class Lock:
    """The lock of an output, held by this run.

    Parameters
    ----------
    folder : str
        The run folder of the output.
    run_key : str
        What the run does (`cluster.ledger.compute_run_key`); "" where others cannot work beside it.
    """

    def __init__(self, folder: str, run_key: str) -> None:
        self.location = join(folder, "lock.json")
        self._own = _Hold(
            **asdict(_describe_machine()),
            token=uuid.uuid4().hex,
            process=os.getpid(),
            started=_read_start(os.getpid()),
            run_key=run_key,
            beat=time.time(),
        )
        self._stop = threading.Event()
        # A daemon, or a job that ends by an error would live on for its lock.
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def take(self, *, wait: bool) -> None:
        """Take the lock, from a run that died where need be, and keep it fresh."""
        told = False
        while not self._create(self.location):
            holder = _read(self.location)
            if holder is None or not _is_alive(self.location, holder):
                self._take_over(holder)
            elif wait:
                if not told:
                    logger.info("waiting for process %s on %s (%s)", holder.process, holder.host, self.location)
                told = True
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            else:
                join_in = ", or work beside it with --set inference.join=true" if self._own.run_key else ""
                raise CatalogueError(
                    f"process {holder.process} on {holder.host} is writing this output ({self.location}): wait "
                    f"for it{join_in}"
                )
        self._beats.start()

    def check(self) -> None:
        """Raise unless this run still holds the lock.

        Raises
        ------
        CatalogueError
            Another run took the output over while this one was cut off or stopped.
        """
        if not self._owns(self.location):
            raise CatalogueError(
                f"another run took the output over ({self.location}) while this one gave no sign of life for "
                f"{SECONDS_TO_EXPIRE:.0f} s: let it finish, or run the job again"
            )

    def release(self) -> None:
        """Give the lock back; where the store does not answer it expires."""
        self._stop.set()
        # Before the file goes: a beat that comes after its removal would write it anew.
        self._beats.join()
        try:
            if self._owns(self.location):
                remove(self.location)
        except Exception as error:
            if not is_store_trouble(error):
                raise
            logger.warning("%s could not be removed (%s), and will expire", self.location, error)

    def _create(self, location: str) -> bool:
        """Create the lock file, or the claim to it, unless there is one."""
        for _ in range(_TRIES):
            refusal = self._ask_to_create(location)
            if refusal is None or exists(location):
                # It may be our own: the store's answer was lost and its client asked again.
                return self._owns(location)
            time.sleep(_SECONDS_BETWEEN_TRIES)  # it may have been another's, just removed: once is no proof
        raise CatalogueError(
            f"{location} could not be created though it is not there ({refusal}): the lock needs a store that supports "
            "conditional writes (If-None-Match), or a disk with hard links: choose a location on one"
        ) from refusal

    def _ask_to_create(self, location: str) -> OSError | None:
        """Ask for the file; return a refusal that leaves open whether it exists or the store cannot do this."""
        filesystem, path = find_filesystem(location)
        # The store's client may hold a listing from before another run took or gave back the lock.
        filesystem.invalidate_cache()
        content = msgspec.json.encode(self._beat_now())
        try:
            if isinstance(filesystem, LocalFileSystem):
                _create_local(path, content)
            else:
                filesystem.pipe_file(path, content, mode="create")  # object stores do this with a conditional write
        except FileExistsError:
            pass
        except OSError as error:
            # s3fs makes EINVAL of a file that exists where the store, as Ceph, names no condition; and of an argument
            # that a store does not know. ENOSYS is what others answer to it.
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            return error
        return None

    def _take_over(self, holder: _Hold | None) -> None:
        """Remove a dead run's lock. Only who holds the claim to it may: a slow one would remove its successor's."""
        claim = f"{self.location}.claim"
        while not self._create(claim):
            other = _read(claim)
            # Who claims may die, too. Read again, since watching for a beat takes as long as a lock takes to expire.
            if other and not _is_alive(claim, other) and _read(claim) == other:
                remove(claim)
            time.sleep(_SECONDS_BETWEEN_TRIES)
            if _read(self.location) != holder:
                return
        try:
            # Once more under the claim: the lock may be a successor's by now.
            if exists(self.location) and _read(self.location) == holder:
                process, host = (None, None) if holder is None else (holder.process, holder.host)
                logger.info("taking the output over from process %s on %s", process, host)
                remove(self.location)
        finally:
            remove(claim)

    def _owns(self, location: str) -> bool:
        """Tell whether a lock file, or the claim to one, is this hold's own."""
        found = _read(location)
        return found is not None and found.token == self._own.token

    def _beat_now(self) -> dict[str, str | float | None]:
        """Make what the lock file holds from now on."""
        return replace(self._own, beat=time.time()).to_json()

    def _beat(self) -> None:
        while not self._stop.wait(_SECONDS_BETWEEN_BEATS):
            # Whatever a store that is away for a moment raises must not end the beating.
            with suppress(Exception):
                if not self._owns(self.location):
                    return  # taken over: never beat on another run's lock
                write_json(self.location, self._beat_now())


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


def find_holder(folder: str) -> Holder | None:
    """Find the run that holds an output, and tell whether it lives.

    By its process on this machine; on others by its next beat, which takes some seconds to see. That there comes none
    shows only after `SECONDS_TO_EXPIRE`.

    Parameters
    ----------
    folder : str
        The run folder of the output.

    Returns
    -------
    Holder or None
        None where nobody holds it.
    """
    location = join(folder, "lock.json")
    while found := _read(location):
        alive = _is_alive(location, found)
        if alive or _read(location) == found:  # else another run took it over while this one watched
            return Holder(found.process, found.host, found.run_key or "", found.beat, alive)
    return None


def _create_local(path: str, content: bytes) -> None:
    """Create a file with its content in one step: a link to one written aside."""
    folder = os.path.dirname(path)  # noqa: PTH120 - fsspec's paths are strings
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    # A link fails where its name is taken, and shows the content from the first moment. Opened with "x" the file would
    # be empty for a while, and a lock that cannot be read is a dead run's.
    aside = f"{folder}/.lock.{uuid.uuid4().hex}{PART_SUFFIX}"
    with open(aside, "wb") as file:  # noqa: PTH123
        file.write(content)
    try:
        os.link(aside, path)
    finally:
        os.remove(aside)  # noqa: PTH107


def _read(location: str) -> _Hold | None:
    """Read a lock file, or the claim to one; None where there is none: what is no lock proves nobody alive."""
    try:
        found = read_json(location)
    except (FileNotFoundError, PhotozError):
        return None
    if not isinstance(found, dict) or "beat" not in found:
        return None
    values: dict[str, Any] = {each.name: found.get(each.name) for each in fields(_Hold)}
    return _Hold(**values)


def _is_alive(location: str, holder: _Hold) -> bool:
    """Tell whether a lock's run lives: by its process on this machine, by its beat on others."""
    runs = _look_up_process(holder)
    return _beats(location, holder) if runs is None else runs


def _beats(location: str, holder: _Hold) -> bool:
    """Watch a lock until its beat changes. How old the beat is cannot be told: clocks of two hosts differ."""
    begun, told = time.monotonic(), False
    while (silent := time.monotonic() - begun) < SECONDS_TO_EXPIRE:
        if not told and silent > 2 * _SECONDS_BETWEEN_BEATS:  # a live run, looked at again and again, fills no log
            told = True
            logger.warning(
                "process %s on %s holds %s and gives no sign of life: waiting another %.0f s for one before it counts "
                "as dead", holder.process, holder.host, location, SECONDS_TO_EXPIRE - silent,
            )  # fmt: skip
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        seen = _read(location)
        if seen is None or seen.token != holder.token:
            return False
        if seen.beat != holder.beat:
            return True
    return False


def _look_up_process(holder: _Hold) -> bool | None:
    """Tell whether a lock's process runs; None where this machine's process table does not tell."""
    machine = _describe_machine()
    # Another host, another boot or another container's numbers: this process table does not hold it.
    if (holder.host, holder.boot, holder.namespace) != astuple(machine) or holder.process is None:
        return None
    if sys.platform == "linux" and None in (machine.boot, machine.namespace):
        return None  # a sandbox that hides what tells it from another
    started = _read_start(holder.process)
    if started is not None and holder.started is not None:
        return started == holder.started
    # A number proves only absence: by now it may be another process's.
    return None if psutil.pid_exists(holder.process) else False


def _describe_machine() -> _Machine:
    """Describe whose process table this process sees.

    A host name does not: containers, and pods on the host's network, may share one and not see each other's processes.
    """
    boot, namespace = None, None
    with suppress(OSError):  # only Linux has these, and only there do containers run
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    return _Machine(socket.gethostname(), boot, namespace)


def _read_start(process: int) -> int | None:
    """Read when a process began [clock ticks since boot]: its number alone may be another's by now.

    0 of a dead one whose end nobody took note of; None where there is no such process or no telling.
    """
    try:
        found, booted = psutil.Process(process), psutil.boot_time()
        if found.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return 0
        # Not since 1970, as psutil tells it: that moves with the clock, and a live run would be another process.
        began = found.create_time() - booted
        return round(began * _TICKS) if psutil.boot_time() == booted else _read_start(process)
    except psutil.Error:
        return None
