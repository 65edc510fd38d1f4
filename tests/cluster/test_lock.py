"""One run at a time writes an output, whoever holds the lock and however it ended."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

import cluster.lock
from cluster.lock import find_holder, hold_lock
from photoz.errors import CatalogueError
from photoz.storage import exists, read_json, remove, write_json


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(cluster.lock, "SECONDS_TO_EXPIRE", 3.0)
    monkeypatch.setattr(cluster.lock, "_SECONDS_BETWEEN_LOOKS", 0.1)
    monkeypatch.setattr(cluster.lock, "_SECONDS_BETWEEN_BEATS", 0.2)
    return str(tmp_path / "run")


def write_lock(folder: str, **changes: object) -> None:
    lock = {"token": "other", "host": "elsewhere", "process": 1, "run_key": "", "beat": time.time()}
    write_json(f"{folder}/lock.json", lock | changes)


def test_the_lock_is_gone_afterwards(folder: str) -> None:
    with hold_lock(folder, run_key="key"):
        assert find_holder(folder)["run_key"] == "key"
    assert find_holder(folder) == {}
    assert list(Path(folder).iterdir()) == []


def test_a_run_on_another_host_that_beats_is_respected(folder: str) -> None:
    write_lock(folder)
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.2):
            write_lock(folder)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(CatalogueError, match="process 1 on elsewhere is writing this output"), hold_lock(folder):
            pass
    finally:
        over.set()
        thread.join()


def test_a_run_on_another_host_that_stopped_is_replaced(folder: str) -> None:
    write_lock(folder)
    with hold_lock(folder) as lock:
        lock.check()


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
    write_lock(folder, beat=0.0)
    dead = {"token": "late", "host": "elsewhere", "process": 1, "run_key": "", "beat": 0.0}
    write_json(f"{folder}/lock.json.claim", dead)
    with hold_lock(folder):
        assert not exists(f"{folder}/lock.json.claim")
    assert not exists(f"{folder}/lock.json")


def test_nobody_takes_over_while_another_does(folder: str) -> None:
    write_lock(folder, beat=0.0)
    claim = {"token": "busy", "host": socket.gethostname(), "process": os.getpid(), "run_key": "", "beat": time.time()}
    write_json(f"{folder}/lock.json.claim", claim)
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
