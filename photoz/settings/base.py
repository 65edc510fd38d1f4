"""Settings as frozen structures: how they are read from TOML, overridden and checked, whatever job they are of.

An unknown key is an error, so a misspelt setting cannot be silently ignored.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import msgspec

from photoz.errors import ConfigError
from photoz.settings.locations import Location, settle_location, settle_locations
from photoz.settings.secrets import check_no_passwords, check_no_secrets, hide_secrets

if TYPE_CHECKING:
    # For the type alone: fsspec takes longer to import than the settings to read.
    from photoz.storage import StorageOptions

DEFAULT_CONFIG_VARIABLE = "PHOTOZ_CONFIG"
_TEXT = (str, Location)
# Numbers that are counted or measured: what is none of them is refused where settings are read, with its name.
Whole = Annotated[int, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections: immutable, and an unknown key is an error."""

    MOVED: ClassVar[Mapping[str, str]] = {}
    """Names that settings of the section no longer have -> where they stand now, as seen from the section."""


class JobSettings(Settings, frozen=True, kw_only=True):
    """What the settings of every job have."""

    # Not shared between instances: msgspec copies a default that is an empty dict.
    storage: dict[str, dict[str, Any]] = {}
    """fsspec options by protocol, e.g. ``[storage.s3] endpoint_url = "http://..."``. No secrets: those come from the
    environment, as the store's client reads them."""

    @property
    def storage_options(self) -> "StorageOptions":
        """What every process that works for the job opens with (`photoz.storage.use_options`)."""
        from photoz.storage import StorageOptions

        return StorageOptions(self.storage)

    def check(self) -> None:
        """Raise `ConfigError` where settings, each of them valid, do not fit together."""


S = TypeVar("S", bound=JobSettings)


def load_settings(kind: type[S], location: str, overrides: Sequence[str] = ()) -> S:
    """Read a job's settings from a TOML file, with overrides from the command line.

    Parameters
    ----------
    kind : type
        The structure of the settings: `Config` for a survey run; a job of another kind has its own.
    location : str
        TOML file, a path or any URL that fsspec opens.
    overrides : sequence of str
        ``section.key=value`` each. The value is read as TOML where that works (``3``, ``true``, ``["u", "g"]``) and as
        a plain string, or a comma-separated list where a list is due, where it does not. Where text is due it is text.

    Returns
    -------
    Settings
        Of the given kind.

    Raises
    ------
    ConfigError
        The file is missing or no TOML, a key is unknown, or a value has the wrong type.
    """
    # All messages name the file.
    check_no_passwords(location, "--config")
    try:
        values = tomllib.loads(_read_file(location).decode("utf-8-sig"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ConfigError(f"no settings file at {location!r}: give one with --config FILE") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{location!r} is not valid TOML: {error}") from error
    # In their order, so that what is said last counts, as with other programs' options.
    for override in overrides:
        _apply_override(kind, values, override)
    return convert_settings(kind, values, origin=location)


def convert_settings(kind: type[S], values: Mapping[str, Any], *, origin: str = "settings") -> S:
    """Turn nested mappings into checked settings; raises `ConfigError` that names the key and the remedy."""
    # Before the conversion, which would only say that there is no such key.
    _check_moved(kind, values, origin)
    try:
        # Strict, or msgspec would take text for numbers.
        settings = msgspec.convert(values, kind, strict=True)
    except msgspec.ValidationError as error:
        where = f"{kind.__module__.replace('.', '/')}.py"
        raise ConfigError(f"{origin}: {error}; the settings and their types stand in {where}") from error
    # Before anything is written: every run record holds the settings.
    check_no_secrets(settings.storage, "storage")
    # Before and after: a message about a location shows it as it was written, and a variable may hold a URL.
    check_no_passwords(config_to_dict(settings), "")
    # Once and here, in the folder and environment of whoever started the job: a worker's may be others.
    settings = settle_locations(settings)
    check_no_passwords(config_to_dict(settings), "")
    settings.check()
    return settings


def config_to_dict(config: Settings) -> dict[str, Any]:
    """Return the resolved settings as plain nested dictionaries, for run records and content keys."""
    values: dict[str, Any] = msgspec.to_builtins(config)
    return values


def choose_config_file(script: str, name: str = "dr4.toml") -> str:
    """Return the settings file for a job script: the one of that name beside it, or $PHOTOZ_CONFIG for ``dr4.toml``."""
    # Of survey runs alone: a comparison's settings are of another kind.
    chosen = os.environ.get(DEFAULT_CONFIG_VARIABLE) if name == "dr4.toml" else None
    return chosen or str(Path(script).resolve().parent / name)


def _read_file(location: str) -> bytes:
    settled = settle_location(location, "--config")
    if "://" not in settled and "::" not in settled:
        # Without fsspec, which a job that only shows its settings need not wait for.
        return Path(settled).read_bytes()
    from photoz.storage import open_file

    # With fsspec's own configuration: what the file says of storage is not known before it is read.
    with open_file(settled) as file:
        content: bytes = file.read()
    return content


def _apply_override(kind: type[Settings], values: dict[str, Any], override: str) -> None:
    # At the first one: a value may hold others.
    path, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {hide_secrets(override)!r} has no '=': write section.key=value")
    *sections, key = path.split(".")
    for section in sections:
        # A file may leave out a section whose settings all have defaults.
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {path!r}: {section!r} is a value, not a section")
    values[key] = _parse_value(text, _find_type(kind, path))


def _find_type(kind: Any, path: str) -> Any:
    """Find the type of a setting; None for one that is not known, which the check of all settings refuses by name."""
    for name in path.split("."):
        fields = msgspec.structs.fields(kind) if isinstance(kind, type) and issubclass(kind, Settings) else ()
        kind = next((item.type for item in fields if item.name == name), None)
    return kind


def _parse_value(text: str, kind: Any) -> Any:
    try:
        # TOML's own grammar, so that a value means on the command line what it means in the file.
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text if kind in _TEXT or "," not in text else [each.strip() for each in text.split(",")]
    # A name or a path may look like a number, a date or a list.
    return value if kind not in _TEXT or isinstance(value, str) else text


def _check_moved(kind: type[Settings], values: Mapping[str, Any], origin: str, section: str = "") -> None:
    """Refuse a name that a setting no longer has, and give the new one."""
    for name in values:
        if name in kind.MOVED:
            now = f"{section}{kind.MOVED[name]}"
            raise ConfigError(
                f"{origin}: {section}{name} is now {now}, in a file in [{now.rpartition('.')[0]}]: move it"
            )
    for field in msgspec.structs.fields(kind):
        inner = values.get(field.name)
        if isinstance(inner, Mapping) and isinstance(field.type, type) and issubclass(field.type, Settings):
            _check_moved(field.type, inner, origin, f"{section}{field.name}.")
