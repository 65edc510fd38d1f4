"""What a page was made with and by which settings."""

import importlib.metadata
from collections.abc import Mapping

import msgspec

_LIBRARIES = ("photoz", "numpy", "pyarrow", "matplotlib", "hats")


def list_versions() -> str:
    """List the versions of photoz and of what a page is made with."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)


def format_settings(settings: Mapping[str, object]) -> str:
    """Format resolved settings as JSON, without storage options, which may hold addresses that are nobody's."""
    shown = {name: value for name, value in settings.items() if name != "storage"}
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()
