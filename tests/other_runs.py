"""Locks of other runs, as they would write them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from photoz.storage import write_json


def write_lock(folder: str, **changes: object) -> None:
    lock = {"token": "other", "host": "elsewhere", "process": 1, "run_key": "", "beat": time.time()}
    write_json(f"{folder}/lock.json", lock | changes)


@contextmanager
def keep_beating(folder: str, *, clock: float = 0.0, **changes: object) -> Iterator[None]:
    """Be a run that lives for the time of the block, on a host whose clock differs by so many seconds."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.2):
            write_lock(folder, **changes | {"beat": time.time() + clock})

    write_lock(folder, **changes | {"beat": time.time() + clock})
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
