"""The one place where an engine is chosen."""

import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from photoz.errors import ConfigError, name_nearest
from photoz.settings.engine import EngineSettings

if TYPE_CHECKING:
    # For the types alone: whoever only asks for the names, as every job does first, need not wait for fsspec.
    from cluster.engines.base import Engine
    from photoz.storage import StorageOptions

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


def choose_engine(settings: EngineSettings, options: "StorageOptions") -> "Engine":
    """Return the engine that the settings name; it joins its cluster when it has something to do."""
    check_engine(settings.name)
    kind: type[Engine] = pkgutil.resolve_name(ENGINES[settings.name])
    return kind(settings, options)


@contextmanager
def open_engine(
    settings: EngineSettings, options: "StorageOptions", joined: "Engine | None" = None
) -> "Iterator[Engine]":
    """Choose the engine, and keep its cluster for all that the block does.

    Parameters
    ----------
    settings : EngineSettings
    options : StorageOptions
    joined : Engine, optional
        Whose cluster has been joined, and is used in place of another: of Dask each would start workers of its own.
    """
    if joined is not None:
        yield joined
        return
    with choose_engine(settings, options).join() as engine:
        yield engine
