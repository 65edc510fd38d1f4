"""A cluster that is gone is told within half a minute, by the name of what sent us there."""

import socket
import time
from pathlib import Path

import dask
import pytest
from ingested import choose
from tiny_survey import make_config

from cluster.engines import address as addresses
from cluster.engines.address import PATIENCE, check_address
from photoz.errors import ConfigError


@pytest.fixture
def closed_port(monkeypatch: pytest.MonkeyPatch) -> int:
    """Return a port that nobody listens at; who asks there gives up at once in place of after twenty seconds."""
    monkeypatch.setattr(addresses, "PATIENCE", 0.2)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_patience_ends_within_half_a_minute() -> None:
    # The last try may begin as patience ends, and takes five seconds at most.
    assert PATIENCE + 5 < 30


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "tcp://localhost:{}", "[::1]:{}"])
def test_nobody_there(closed_port: int, form: str) -> None:
    with pytest.raises(ConfigError, match=r"no cluster answers at .* which RAY_ADDRESS names .* or do without"):
        check_address(form.format(closed_port), "RAY_ADDRESS", "do without")


def test_somebody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_address(f"tcp://127.0.0.1:{server.getsockname()[1]}", "engine.address", "")


@pytest.mark.parametrize("form", ["auto", "local", "a cluster", "tls+custom://name"])
def test_other_forms_are_the_librarys(form: str) -> None:
    start = time.monotonic()
    check_address(form, "engine.address", "")
    assert time.monotonic() - start < PATIENCE


@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_the_engines_ask_first(closed_port: int, engine: str, tmp_path: Path) -> None:
    settings = {"name": engine, "address": f"127.0.0.1:{closed_port}"}
    spread = choose(make_config(tmp_path, engine=settings))
    with pytest.raises(ConfigError, match=r"engine\.address names"), spread.join():
        pass


def test_the_environment_is_named(closed_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    engine = choose(make_config(tmp_path, engine={"name": "ray"}))
    with pytest.raises(ConfigError, match="the environment variable RAY_ADDRESS names"), engine.join():
        pass


@pytest.mark.parametrize(
    ("engine", "address"), [("ray", "abc"), ("ray", "a cluster"), ("dask", "abc"), ("dask", "x://y:z")]
)
def test_what_is_no_address_is_told_by_its_setting(engine: str, address: str, tmp_path: Path) -> None:
    spread = choose(make_config(tmp_path, engine={"name": engine, "address": address}))
    with pytest.raises(ConfigError, match=rf"can make nothing of .*{address}"), spread.join():
        pass
    # What else this process does with Dask does not wait for a cluster that is none.
    assert dask.config.get("scheduler", None) is None
