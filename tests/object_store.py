"""An S3 server for tests, and a proxy before it that fails on purpose.

The server is moto's, in a process of its own, unless ``PHOTOZ_TEST_S3_ENDPOINT`` names another: the very same tests
then run against it, in buckets of their own, with the credentials of ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``
and ``AWS_DEFAULT_REGION``.
"""

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

import photoz.storage
from photoz.storage import StorageOptions

ENDPOINT = os.environ.get("PHOTOZ_TEST_S3_ENDPOINT", "")
_MOTO = {  # such that tests can look for them where they must not be
    "AWS_ACCESS_KEY_ID": "key-of-the-tests-5e1f0b77",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests-c29d41aa",
    "AWS_DEFAULT_REGION": "us-east-1",
}
CREDENTIALS = {name: os.environ[name] for name in _MOTO} if ENDPOINT else _MOTO
_BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@contextmanager
def open_store() -> Iterator[str]:
    """Give the endpoint of the store that the environment names, or else of moto's server, run meanwhile."""
    if not ENDPOINT:
        with run_moto() as endpoint:
            yield endpoint
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photoz.storage, "_options", StorageOptions())
        yield ENDPOINT


@contextmanager
def run_moto() -> Iterator[str]:
    """Run moto's server on a free port of this machine, with the credentials for it in the environment."""
    port = _find_free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in CREDENTIALS.items():
                patch.setenv(name, value)
            patch.setattr(photoz.storage, "_options", StorageOptions())
            _wait_for(endpoint, process)
            yield endpoint
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def make_bucket(endpoint: str) -> Iterator[str]:
    """Make a bucket and give its location; it is emptied and removed at the end."""
    bucket = boto3.resource("s3", endpoint_url=endpoint).Bucket(f"photoz-test-{uuid.uuid4().hex}")
    bucket.create()
    try:
        yield f"s3://{bucket.name}"
    finally:
        bucket.objects.delete()
        bucket.delete()


class FailingProxy:
    """Pass requests on to a server; every n-th one comes to grief, each time in another way.

    Parameters
    ----------
    endpoint : str
        Of the real server.
    every : int
        One of so many requests fails.
    """

    def __init__(self, endpoint: str, every: int) -> None:
        self.failures: dict[str, int] = {"503": 0, "refused": 0, "unanswered": 0, "cut": 0}
        self._requests = itertools.count(1)
        self._leave_at, self._back_after, self._back = 0, 0.0, 0.0
        self._kinds = itertools.cycle(self.failures)
        self._every = every
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self, "target": endpoint.removeprefix("http://")})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FailingProxy":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def go_away(self, *, after: int, seconds: float) -> None:
        """Answer 503 alone for so many seconds, once so many requests have come."""
        self._leave_at, self._back_after = after, seconds

    def choose(self) -> str:
        """Say what happens to the next request; "" for nothing."""
        with self._lock:
            number = next(self._requests)
            if number == self._leave_at:
                self._back = time.monotonic() + self._back_after
            if time.monotonic() < self._back:
                self.failures["503"] += 1
                return "503"
            if number % self._every:
                return ""
            kind = next(self._kinds)
            self.failures[kind] += 1
            return kind


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FailingProxy
    target: str

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match self.proxy.choose():
            case "503":
                self._answer(503, [("Content-Type", "application/xml")], _BUSY)
            case "refused":
                self._hang_up()
            case "unanswered":  # done, but the client never hears of it
                self._forward(body)
                self._hang_up()
            case "cut":
                status, headers, content = self._forward(body)
                self._answer(status, headers, content, cut=True)
            case _:
                self._answer(*self._forward(body))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = HTTPConnection(self.target, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        skipped = {"connection", "transfer-encoding", "date", "server"}
        return reply.status, [(key, value) for key, value in reply.getheaders() if key.lower() not in skipped], content

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        for key, value in headers:
            if key.lower() != "content-length" or self.command == "HEAD":
                self.send_header(key, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _wait_for(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, "moto's server ended"
        with suppress(OSError), urllib.request.urlopen(endpoint, timeout=5):
            return
        time.sleep(0.2)
    raise TimeoutError(f"moto's server does not answer at {endpoint}")


def _find_free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
