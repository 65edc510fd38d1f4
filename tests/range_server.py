"""A store for benchmarks that answers S3's reads (GET of ranges, HEAD) from a folder, each after a latency.

moto's server takes some 3 ms of processor time a request and would be what is measured; this one takes 0.1 ms. It
checks no signatures and writes nothing. As a program: ``python range_server.py FOLDER PORT LATENCY_S``.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

_MISSING = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>The key does not exist.</Message></Error>"


@contextmanager
def serve_ranges(folder: Path, latency_s: float) -> Iterator[str]:
    """Serve a folder, whose subfolders are the buckets, from a process of its own; give the endpoint."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    process = subprocess.Popen([sys.executable, __file__, str(folder), str(port), str(latency_s)])
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_for(port: int) -> None:
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"the server does not listen on port {port}")


@lru_cache(maxsize=4096)
def _open(path: str) -> tuple[int, int]:
    """Open a file for good; its descriptor and size."""
    file = os.open(path, os.O_RDONLY)
    return file, os.fstat(file).st_size


class _Connection(asyncio.Protocol):
    def __init__(self, folder: str, latency_s: float) -> None:
        self._folder, self._latency_s = folder, latency_s
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=1 << 26)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head, self._received = self._received[:end], self._received[end + 4 :]
            asyncio.get_running_loop().call_later(self._latency_s, self._answer, head)

    def _answer(self, head: bytes) -> None:
        if self._transport.is_closing():
            return
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.split(b" ", 2)
        wanted = next((line[6:].strip() for line in lines if line[:6].lower() == b"range:"), b"")
        path = self._folder + unquote(target.partition(b"?")[0].decode())
        try:
            file, size = _open(path)
        except (FileNotFoundError, IsADirectoryError):
            self._send(b"404 Not Found", b"" if method == b"HEAD" else _MISSING)
            return
        low, high = _find_range(wanted, size)
        content = b"" if method == b"HEAD" else os.pread(file, high - low, low)
        about = b'ETag: "1"\r\nLast-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\n'
        if wanted:
            about += b"Content-Range: bytes %d-%d/%d\r\n" % (low, high - 1, size)
        self._send(b"206 Partial Content" if wanted else b"200 OK", content, about, high - low)

    def _send(self, status: bytes, content: bytes, head: bytes = b"", length: int | None = None) -> None:
        length = len(content) if length is None else length
        self._transport.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n" % (status, length, head) + content)


def _find_range(wanted: bytes, size: int) -> tuple[int, int]:
    if not wanted:
        return 0, size
    first, _, last = wanted.removeprefix(b"bytes=").partition(b"-")
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size


async def _serve(folder: str, port: int, latency_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(folder, latency_s), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
