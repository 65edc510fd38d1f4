"""Locations as users write them, which mean one place to whatever opens them: settled once, where settings are read.

fsspec, Zarr, hats and PyArrow each take ``~``, ``file://`` and relative paths in their own way, and the workers of a
cluster may run in other folders and other environments than the job that was started.
"""

import os
import re
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from photoz.errors import ConfigError

Location = Annotated[str, msgspec.Meta(extra={"location": True})]
"""Type of a setting that says where a file or folder lies: a path or any URL that fsspec opens."""

# RFC 8089: file:/path, file:///path and file://localhost/path are one place. "local" is fsspec's other name for it.
_OF_THIS_MACHINE = re.compile(r"(file|local):(//(localhost(?=/))?)?")
# A name has a letter or "_": the "$5" of a folder's name stands for itself.
_VARIABLE = re.compile(r"\$(\w*[A-Za-z_]\w*|\{[^}]*\})")

S = TypeVar("S", bound=msgspec.Struct)


def settle_location(text: str, setting: str = "location") -> str:
    """Write a location out: an absolute path of this machine, or a URL of a store.

    Parameters
    ----------
    text : str
        Path or URL. ``$NAME`` and ``${NAME}`` stand for the environment's value, a leading ``~`` for the home folder; a
        relative path counts from the folder that this process works in.
    setting : str
        What it is called, for the message.

    Returns
    -------
    str
        "" for "", which stands for none.

    Raises
    ------
    ConfigError
        A variable is not set, a user is not known, or no path can be so.

    Examples
    --------
    >>> settle_location("file:///data//tiles/"), settle_location("s3://bucket/tiles/")
    ('/data/tiles', 's3://bucket/tiles')
    """
    if "\0" in text:
        raise ConfigError(f"{setting} = {text!r} holds a zero byte, which no path may: correct it")
    # How Python hands over bytes that the locale has no characters for; libraries write names as UTF-8.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigError(f"{setting} = {text!a} is no text in this locale: set LC_ALL=C.UTF-8 or PYTHONUTF8=1")
    # Before the rest, since a variable may hold a URL.
    text = _VARIABLE.sub(lambda found: _read_variable(found[1].strip("{}"), text, setting), text)
    local = _OF_THIS_MACHINE.match(text)
    # A URL, or a chain of fsspec's such as simplecache::s3://bucket: neither counts from a folder of this machine.
    if not local and "://" in text:
        # With and without a slash at the end is one place, and shall have one name.
        settled = text.rstrip("/")
        return text if settled.endswith(":") else settled  # memory:// is a place, too
    path = text[local.end() :] if local else text
    # In whatever opens it, a path as well: the halves would be two places.
    if "::" in path:
        raise ConfigError(f"{setting} = {text!r} holds '::', which joins file systems to fsspec: rename what it names")
    try:
        return os.path.abspath(_expand_home(path, text, setting)) if path else ""  # noqa: PTH100 - locations are strings
    except FileNotFoundError as error:
        raise ConfigError(
            f"{setting} = {text!r} counts from the folder that this process works in, which is gone: change to "
            "another, or write the path out"
        ) from error


def _expand_home(path: str, text: str, setting: str) -> str:
    expanded = os.path.expanduser(path)  # noqa: PTH111 - as above
    # Python leaves the name of a user that there is not, and a folder called "~name" would be made.
    if path.startswith("~") and expanded == path:
        user = path.partition("/")[0]
        raise ConfigError(
            f"{setting} = {text!r}: this machine knows no home folder {user!r}: write the path out, or ./{user} for a "
            "folder of that name"
        )
    return expanded


def settle_locations(settings: S, prefix: str = "") -> S:
    """Settle all locations in settings, by the types of their fields.

    Parameters
    ----------
    settings : msgspec.Struct
        Of any job, with its sections.
    prefix : str
        Names of the sections around it, with dots, for messages.

    Returns
    -------
    msgspec.Struct
        Of the same kind.

    Raises
    ------
    ConfigError
        A variable in one of them is not set; the message names the setting.
    """
    changes: dict[str, Any] = {}
    for item in msgspec.structs.fields(settings):
        name, value = f"{prefix}{item.name}", getattr(settings, item.name)
        if isinstance(value, msgspec.Struct):
            changes[item.name] = settle_locations(value, f"{name}.")
        elif item.type == Location:
            changes[item.name] = settle_location(value, name)
        elif get_origin(item.type) is dict and get_args(item.type)[1] == Location:
            changes[item.name] = {key: settle_location(each, f"{name}.{key}") for key, each in value.items()}
        elif get_origin(item.type) is tuple and get_args(item.type)[0] == Location:
            changes[item.name] = tuple(settle_location(each, name) for each in value)
    return msgspec.structs.replace(settings, **changes)


def _read_variable(name: str, text: str, setting: str) -> str:
    value = os.environ.get(name)
    # An error and not "", which would make a location of $DATA/tiles at the root of the disk.
    if value is None:
        raise ConfigError(
            f"{setting} = {text!r}: the environment has no variable {name}: set it where the job is started, or write "
            "the path out"
        )
    return value
