"""The one place where an engine is chosen."""

import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from photoz.errors import ConfigError, name_nearest
from photoz.settings.config import Config

if TYPE_CHECKING:
    # For the type alone: whoever only asks for the names, as every job does first, need not wait for fsspec.
    from cluster.engines.base import Engine

ENGINES = {
    "serial": "cluster.engines.serial:SerialEngine",
    "ray": "cluster.engines.ray:RayEngine",
    "dask": "cluster.engines.dask:DaskEngine",
}
"""Name -> module and class, imported when it is chosen: Ray and Dask take seconds."""


def check_engine(name: str) -> None:
    """Refuse an engine that there is not.

    Raises
    ------
    ConfigError
        ``engine.name`` is none of `ENGINES`.
    """
    if name not in ENGINES:
        raise ConfigError(
            f"engine.name = {name!r} is no engine{name_nearest(name, ENGINES)}: choose one of {', '.join(ENGINES)}"
        )


def choose_engine(config: Config) -> "Engine":
    """Return the engine that the settings name; it joins its cluster when it has something to do."""
    check_engine(config.engine.name)
    kind: type[Engine] = pkgutil.resolve_name(ENGINES[config.engine.name])
    return kind(config.engine, config.storage_options)


@contextmanager
def open_engine(config: Config) -> "Iterator[Engine]":
    """Choose the engine, and keep its cluster for all that the block does."""
    with choose_engine(config).join() as engine:
        yield engine
