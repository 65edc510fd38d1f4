"""Settings: how they are read and checked (`base`), and the root of a survey run's (`config`).

Each section stands beside what it is for, as ``settings.py`` of that folder; those without a folder of their own here.
"""

from photoz.settings.base import (
    DEFAULT_CONFIG_VARIABLE,
    JobSettings,
    Settings,
    choose_config_file,
    config_to_dict,
    convert_settings,
    load_settings,
)

__all__ = [
    "DEFAULT_CONFIG_VARIABLE",
    "JobSettings",
    "Settings",
    "choose_config_file",
    "config_to_dict",
    "convert_settings",
    "load_settings",
]
