"""A Ray cluster of this machine alone, with ports and folders of its own, for the demo and the tests."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from photoz.errors import PhotozError

_SECONDS_TO_START = 90.0
_PORT_OPTIONS = (
    "port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "metrics-export-port",
    "runtime-env-agent-port",
    "ray-client-server-port",
)


@dataclass(frozen=True)
class Head:
    """A running Ray head.

    Parameters
    ----------
    address : str
        For `ray.init` and ``RAY_ADDRESS``.
    api_address : str
        For ``ray job submit``.
    token : str
        That every client must show: Ray's ports are open to whoever reaches this machine.
    """

    address: str
    api_address: str
    token: str

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which ``ray`` and every job script find this head."""
        own_tools = str(Path(sys.executable).parent)
        return os.environ | {
            # `ray` of this interpreter, also where its virtual environment is not activated.
            "PATH": f"{own_tools}{os.pathsep}{os.environ.get('PATH', '')}",
            "RAY_ADDRESS": self.address,
            "RAY_API_SERVER_ADDRESS": self.api_address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
        }


@contextmanager
def start_head(*, cpus: int | None = None, options: Sequence[str] = ()) -> Iterator[Head]:
    """Run ``ray start --head`` on free ports until the block ends.

    Two heads on one machine collide on Ray's default ports, and ``ray stop`` would stop both: this one chooses its
    ports and stops only what it started.

    Parameters
    ----------
    cpus : int, optional
        CPUs the head may use; all by default.
    options : sequence of str
        More options of ``ray start``.

    Yields
    ------
    Head

    Raises
    ------
    PhotozError
        The head did not answer in time; the message ends with what it printed.
    """
    ports = dict(zip(_PORT_OPTIONS, _find_free_ports(len(_PORT_OPTIONS)), strict=True))
    head = Head(
        address=f"127.0.0.1:{ports['port']}",
        api_address=f"http://127.0.0.1:{ports['dashboard-port']}",
        token=secrets.token_hex(32),
    )
    # Ray keeps sockets in its folder, and a socket's path may have no more than 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        # By this interpreter: a `ray` on the path may be another environment's.
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--temp-dir", folder]
        # Ray would send its makers figures of its use, and take an address that other machines reach.
        command += ["--disable-usage-stats", "--node-ip-address", "127.0.0.1", "--dashboard-host", "127.0.0.1"]
        command += [f"--{name}={port}" for name, port in ports.items()]
        command += [f"--num-cpus={cpus}"] if cpus else []
        # The caller's options last, so that they count where both say something.
        with _run_in_background([*command, *options], head.environment) as (process, log):
            _wait_until_up(head, process, log)
            yield head


@contextmanager
def _run_in_background(
    command: list[str], environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    environment = {name: value for name, value in environment.items() if name != "RAY_ADDRESS"}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "head.log"
        with log.open("wb") as output:
            # A session of its own, by which `_stop` ends what is left of the head and nothing else.
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
        try:
            yield process, log
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # `ray start --block` then ends what it started
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=15)
    with suppress(ProcessLookupError):  # whatever is left shares the session of the process we started
        os.killpg(process.pid, signal.SIGKILL)


def _wait_until_up(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    # A head that has ended will not answer, and its log says why.
    while time.monotonic() < deadline and process.poll() is None:
        if _answers(f"{head.api_address}/api/jobs/") and _has_node(head):
            return
        time.sleep(0.5)
    raise PhotozError(f"the local Ray head did not start: {log.read_text(errors='replace')[-2000:]}")


def _answers(url: str) -> bool:
    try:
        with closing(urllib.request.urlopen(url, timeout=5)):
            return True
    except urllib.error.HTTPError as error:
        return error.code == HTTPStatus.UNAUTHORIZED  # it is up, and asks for the token that Ray's own clients have
    except OSError:
        return False


def _has_node(head: Head) -> bool:
    """Tell whether the head's own node has joined: until then a driver finds no node to connect to."""
    headers = {"Authorization": f"Bearer {head.token}"}
    request = urllib.request.Request(f"{head.api_address}/api/v0/nodes", headers=headers)
    try:
        # The API that Ray's own `ray list nodes` asks.
        with closing(urllib.request.urlopen(request, timeout=5)) as answer:
            nodes = json.load(answer)["data"]["result"]["result"]
    except OSError:
        return False
    return any(node["state"] == "ALIVE" for node in nodes)


def _find_free_ports(count: int) -> list[int]:
    # All are open until the last is found: a port given back at once could come a second time.
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
