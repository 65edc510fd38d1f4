"""One run at a time writes an output, whoever holds the lock and however it ended."""

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from other_runs import keep_beating, write_lock

import cluster.lock
from cluster.lock import Holder, find_holder, hold_lock
from photoz.errors import CatalogueError
from photoz.storage import exists, read_json, remove, write_json

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the process table tells no start times")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(cluster.lock, "SECONDS_TO_EXPIRE", 3.0)
    monkeypatch.setattr(cluster.lock, "_SECONDS_BETWEEN_LOOKS", 0.1)
    monkeypatch.setattr(cluster.lock, "_SECONDS_BETWEEN_BEATS", 0.2)
    return str(tmp_path / "run")


def describe_own_lock(tmp_path: Path) -> dict[str, Any]:
    """Return a lock as this process writes it, without the token."""
    with hold_lock(str(tmp_path / "aside")) as lock:
        own: dict[str, Any] = read_json(lock.location)
    return {name: value for name, value in own.items() if name != "token"}


def find_living(folder: str) -> int:
    """Return the process that holds the output and lives; 0 where none does."""
    holder = find_holder(folder)
    return holder.process if holder is not None and holder.alive else 0


def assert_taken_at_once(folder: str) -> None:
    begun = time.monotonic()
    holder = find_holder(folder)
    assert holder is not None
    assert not holder.alive
    with hold_lock(folder) as lock:
        lock.check()
    assert time.monotonic() - begun < cluster.lock.SECONDS_TO_EXPIRE / 2


def test_the_lock_is_gone_afterwards(folder: str) -> None:
    with hold_lock(folder, run_key="key"):
        found = find_holder(folder)
        assert found == Holder(
            os.getpid(), socket.gethostname(), "key", read_json(f"{folder}/lock.json")["beat"], alive=True
        )
    assert find_holder(folder) is None
    assert list(Path(folder).iterdir()) == []


@pytest.mark.parametrize("clock", [-7200.0, 0.0, 7200.0])
def test_a_run_on_another_host_that_beats_is_respected_whatever_its_clock_says(folder: str, clock: float) -> None:
    with keep_beating(folder, clock=clock):
        assert find_living(folder) == read_json(f"{folder}/lock.json")["process"]
        with pytest.raises(CatalogueError, match="process 1 on elsewhere is writing this output"), hold_lock(folder):
            pass


@pytest.mark.parametrize("clock", [-7200.0, 7200.0])
def test_a_run_on_another_host_that_stopped_is_replaced(folder: str, clock: float, caplog) -> None:
    write_lock(folder, beat=time.time() + clock)
    with caplog.at_level("WARNING"), hold_lock(folder) as lock:
        lock.check()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"process 1 on elsewhere holds {lock.location} and gives no sign of life: waiting another ")


def test_a_run_on_another_host_that_stopped_is_a_dead_holder(folder: str) -> None:
    write_lock(folder, beat=12.0, run_key="key")
    assert find_holder(folder) == Holder(1, "elsewhere", "key", 12.0, alive=False)


@linux
@pytest.mark.parametrize("changes", [{"namespace": 1}, {"boot": "another"}])
def test_a_run_in_another_container_of_the_same_name_is_respected(
    folder: str, tmp_path: Path, changes: dict[str, object]
) -> None:
    """Its process cannot be seen from here."""
    changes = describe_own_lock(tmp_path) | {"process": 2**22 + 1} | changes
    with keep_beating(folder, **changes):
        assert find_living(folder) == read_json(f"{folder}/lock.json")["process"]
        with pytest.raises(CatalogueError, match=f"process {2**22 + 1} on {socket.gethostname()}"), hold_lock(folder):
            pass


@linux
def test_an_earlier_process_of_the_same_number_is_replaced_at_once(folder: str, tmp_path: Path) -> None:
    """As in a container that was started again: the number is that of the run that looks."""
    own = describe_own_lock(tmp_path)
    assert own["process"] == os.getpid()
    write_lock(folder, **own | {"started": own["started"] - 1, "beat": time.time()})
    assert_taken_at_once(folder)


@pytest.mark.parametrize("collected", [True, pytest.param(False, marks=linux)])
def test_a_killed_run_on_this_machine_is_replaced_at_once(folder: str, collected: bool) -> None:
    code = (
        "import sys\nfrom cluster.lock import hold_lock\n"
        "with hold_lock(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "held\n"
        assert find_living(folder) == run.pid
        run.kill()
        if collected:
            run.wait()
        else:
            os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOWAIT)  # it has ended, its parent takes no note
        assert_taken_at_once(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_a_lock_that_says_nothing_is_replaced(folder: str, content: bytes) -> None:
    Path(folder).mkdir()
    (Path(folder) / "lock.json").write_bytes(content)
    with hold_lock(folder) as lock:
        lock.check()


def test_a_waiting_run_goes_on_when_the_other_has_ended(folder: str) -> None:
    order = []

    def wait() -> None:
        with hold_lock(folder, wait=True):
            order.append("second")

    with hold_lock(folder):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.5)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_the_lock_is_kept_fresh_and_never_over_another_runs(folder: str) -> None:
    with hold_lock(folder) as lock:
        begun = read_json(lock.location)["beat"]
        time.sleep(0.6)
        assert read_json(lock.location)["beat"] > begun
        write_lock(folder)
        time.sleep(0.6)
        with pytest.raises(CatalogueError, match="another run took the output over"):
            lock.check()
    assert read_json(lock.location)["token"] == "other"


def test_a_claim_that_a_dead_run_left_does_not_stay(folder: str) -> None:
    """It was killed just when it took the output over from another dead run."""
    begun = time.monotonic()
    write_lock(folder, beat=0.0)
    dead = {"token": "late", "host": "elsewhere", "process": 1, "run_key": "", "beat": 0.0}
    write_json(f"{folder}/lock.json.claim", dead)
    with hold_lock(folder):
        assert not exists(f"{folder}/lock.json.claim")
    assert not exists(f"{folder}/lock.json")
    assert time.monotonic() - begun < 2.8 * cluster.lock.SECONDS_TO_EXPIRE  # each of the two was watched once


def test_nobody_takes_over_while_another_does(folder: str, tmp_path: Path) -> None:
    own = describe_own_lock(tmp_path)
    write_lock(folder, **own | {"process": 2**22 + 1})
    write_json(f"{folder}/lock.json.claim", own | {"token": "busy"})
    held = threading.Event()

    def take() -> None:
        with hold_lock(folder):
            held.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert not held.wait(1.0)
    remove(f"{folder}/lock.json.claim")
    assert held.wait(20.0)
    thread.join()


@pytest.fixture
def store(folder: str) -> Iterator[str]:
    """Name a folder in a store that is no disk."""
    yield "memory://locked/run"
    remove("memory://locked")


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
def test_a_store_without_conditional_writes_is_refused(
    store: str, monkeypatch: pytest.MonkeyPatch, number: int, dead: bool
) -> None:
    """Also where a lock lies there, left by whatever wrote it."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "Unsupported header")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    if dead:
        write_lock(store)
    expected = r"memory://locked/run/lock.json.* \(.*Unsupported header\): .* conditional writes \(If-None-Match\)"
    with pytest.raises(CatalogueError, match=expected), hold_lock(store):
        pass


def test_a_store_that_names_no_condition_is_understood(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ceph answers so; the other run may be gone when we look."""
    create, gone = MemoryFileSystem.pipe_file, []

    def answer(self: MemoryFileSystem, path: str, *values: object, **options: object) -> None:
        if not gone:
            gone.append(path)
            raise OSError(errno.EINVAL, "PreconditionFailed")
        try:
            create(self, path, *values, **options)
        except FileExistsError:
            raise OSError(errno.EINVAL, "PreconditionFailed") from None

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", answer)
    with hold_lock(store):
        with pytest.raises(CatalogueError, match="is writing this output"), hold_lock(store):
            pass
        assert find_living(store) == os.getpid()
    assert gone
    assert find_holder(store) is None
