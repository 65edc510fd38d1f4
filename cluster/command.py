"""The command ``photoz`` and the scripts of jobs/: two doors to the same commands, and the list of these.

A command is a module of `cluster.commands` and a line in `COMMANDS`. Its docstring is its help, and it has:

- ``main(settings)``, or ``main(options)`` where the line names no settings: does the work, returns an exit status or
  None;
- if it likes, ``add_arguments(parser)``: arguments of its own (`argparse`);
- if it likes, ``change_settings(options)``: the settings that those stand for, as ``section.key=value`` each.

It imports what it needs within ``main``: help and dry runs import it, and must be there at once.
"""

import argparse
import os
import pkgutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from cluster.job import add_options, open_standard_streams, run_told, run_with_settings
from photoz.errors import name_nearest
from photoz.settings import DEFAULT_CONFIG_VARIABLE, choose_config_file

OWN_SETTINGS = "photoz.toml"
"""File of the working folder that ``photoz`` takes for the settings of a survey run."""

_SURVEY = "photoz.settings.config:Config"
_COMPARISON = "photoz.comparison.settings:Comparison"


@dataclass(frozen=True)
class Command:
    """Where a command lies, and what settings it has.

    Parameters
    ----------
    module : str
    settings : str
        Where the class of its settings lies; "" where it has none.
    defaults : str
        Name of the settings file that is read where none is given.
    output : str
        Setting beside whose location goes what libraries say (`cluster.console`); "" where they say nothing.
    """

    module: str
    settings: str = _SURVEY
    defaults: str = "dr4.toml"
    output: str = ""


COMMANDS = {
    "first": Command("cluster.commands.first", settings=""),
    "fit": Command("cluster.commands.fit", "photoz.training.settings:Fit", "fit.toml", "model"),
    "estimate": Command("cluster.commands.estimate", defaults="estimate.toml", output="locations.catalogue"),
    "demo": Command("cluster.commands.demo", settings=""),
    "simulate": Command("cluster.commands.simulate", output="locations.survey"),
    "download": Command("cluster.commands.download"),
    "ingest-frame": Command("cluster.commands.ingest_frame", output="locations.survey"),
    "ingest": Command("cluster.commands.ingest", output="locations.tiles"),
    "train": Command("cluster.commands.train", output="locations.models"),
    "infer": Command("cluster.commands.infer", output="locations.catalogue"),
    "status": Command("cluster.commands.status"),
    "audit": Command("cluster.commands.audit", output="locations.catalogue"),
    "evaluate": Command("cluster.commands.evaluate", output="locations.report"),
    "nz": Command("cluster.commands.nz", output="locations.report"),
    "describe": Command("cluster.commands.describe", output="locations.report"),
    "export": Command("cluster.commands.export"),
    "plot-tile": Command("cluster.commands.plot_tile"),
    "compare": Command("cluster.commands.compare", _COMPARISON, "compare.toml", "output"),
    "example": Command("cluster.commands.example", settings=""),
}
"""Name -> command, in the order in which they are told."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``photoz``.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of this process by default.

    Returns
    -------
    int
        Exit status: 0; 1 where the command says so; 2 for options, settings and inputs that cannot be used.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    first = arguments[0] if arguments else "--help"
    if first in COMMANDS:
        return run_command(first, arguments[1:])
    parser = argparse.ArgumentParser(
        prog="photoz",
        usage="photoz [--help] [--version] COMMAND ...",
        description="Photometric redshifts for whole sky surveys.",
        epilog=f"commands:\n{list_commands()}\n\nphotoz COMMAND --help tells of one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    if not first.startswith("-"):
        parser.error(f"there is no command {first!r}{name_nearest(first, COMMANDS)}: choose of {', '.join(COMMANDS)}")
    if parser.parse_args([first]).version:
        from photoz import __version__

        print(f"photoz {__version__}")
    return 0


def run_script(name: str, script: str, description: str | None) -> int:
    """Run a command for a script of jobs/.

    Parameters
    ----------
    name : str
        Of the command.
    script : str
        The script's ``__file__``: the default settings lie beside it.
    description : str or None
        The script's docstring, shown by ``--help``.
    """
    return run_command(name, sys.argv[1:], script=script, description=description)


def run_command(name: str, arguments: Sequence[str], *, script: str = "", description: str | None = None) -> int:
    """Run a command by its name; see `main` and `run_script`."""
    open_standard_streams()
    command = COMMANDS[name]
    module: Any = import_module(command.module)
    parser = argparse.ArgumentParser(
        prog=Path(script).name if script else f"photoz {name}",
        # The docstring as it stands: its commands have lines of their own.
        description=description or module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Which door it came through, and the list of commands: the demo and a first result run others, by the same.
    parser.set_defaults(script=script, run_command=run_command)
    if hasattr(module, "add_arguments"):
        module.add_arguments(parser)
    if not command.settings:
        options = parser.parse_args(arguments)
        return run_told(lambda: module.main(options))
    defaults = choose_config_file(script, command.defaults) if script else choose_settings(command)
    add_options(parser, defaults)
    options = parser.parse_args(arguments)
    kind = pkgutil.resolve_name(command.settings)
    change_settings = getattr(module, "change_settings", None)
    return run_with_settings(kind, module.main, options, change_settings, output=command.output)


def choose_settings(command: Command) -> str:
    """Return the settings file of ``photoz`` without ``--config``.

    $PHOTOZ_CONFIG, else ``photoz.toml`` of the working folder, else the defaults that are shipped. The first two hold
    the settings of survey runs: commands with settings of another kind know the third alone.
    """
    shipped = str(Path(__file__).parent / "commands" / command.defaults)
    if command.settings != _SURVEY:
        return shipped
    return os.environ.get(DEFAULT_CONFIG_VARIABLE) or (OWN_SETTINGS if Path(OWN_SETTINGS).exists() else shipped)


def list_commands() -> str:
    """List the commands, a line each: the first of its docstring."""
    width = max(len(name) for name in COMMANDS)
    return "\n".join(f"  {name:{width}}  {_summarize(import_module(each.module))}" for name, each in COMMANDS.items())


def _summarize(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().partition("\n")[0]
