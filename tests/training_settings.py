"""Settings of a training by their bare names, for tests that set one or two."""

from typing import Any

import msgspec

from photoz.training.settings import Training


def nest(**settings: Any) -> dict[str, Any]:
    """Put settings into the parts of ``[training]`` that have them; those of the section itself stay."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        homes = [
            part for part in msgspec.structs.fields(Training) if name in getattr(part.type, "__struct_fields__", ())
        ]
        target = nested.setdefault(homes[0].name, {}) if homes else nested
        target[name] = value
    return nested


def make_settings(**settings: Any) -> Training:
    """Make the settings of a training; see `nest`."""
    return msgspec.convert(nest(**settings), Training)
