"""What every job script does first: options, settings, logging, storage."""

import argparse
import logging
import sys
from collections.abc import Callable
from typing import TypeVar

import msgspec

from cluster.engines.choose import check_engine
from photoz.errors import PhotozError
from photoz.settings import JobSettings, choose_config_file, config_to_dict, load_settings
from photoz.settings.config import Config
from photoz.storage import use_options

logger = logging.getLogger("photoz")

S = TypeVar("S", bound=JobSettings)


def run_job(main: Callable[[Config], int | None], script: str, description: str | None) -> int:
    """Run a job script's chain of calls with the settings its command line asks for.

    Parameters
    ----------
    main : callable
        Takes the `Config`, returns an exit status (None: 0).
    script : str
        The script's ``__file__``: the default settings lie beside it.
    description : str or None
        The script's docstring, shown by ``--help``.

    Returns
    -------
    int
        0; 2 after an error of the photoz family, told in one line on standard error; or what ``main`` returned.
    """
    return run_job_with(Config, main, script, description)


def run_job_with(
    kind: type[S], main: Callable[[S], int | None], script: str, description: str | None, *, defaults: str = "dr4.toml"
) -> int:
    """Run a job whose settings are of another kind than a survey run's.

    Parameters
    ----------
    kind : type
        Of the settings.
    main : callable
        As of `run_job`, of settings of this kind.
    script, description : str
        As of `run_job`.
    defaults : str
        Name of the default settings, which lie beside the script.
    """
    # Without a name first: what the settings are refused for is told before the run's name is known.
    _start_log("")
    options = _parse_options(script, description, defaults)
    try:
        config = load_settings(kind, options.config, options.set)
        use_options(config.storage_options)
        # Settings of another kind have neither the name of a run nor an engine.
        if isinstance(config, Config):
            _start_log(config.run.name)
            # Not among the settings' own checks, since photoz must not import cluster, where the engines are listed.
            check_engine(config.engine.name)
        if options.dry_run:
            print(msgspec.json.format(msgspec.json.encode(config_to_dict(config)), indent=2).decode())
            return 0
        return main(config) or 0
    except PhotozError as error:
        # 2 is argparse's own status for options that it does not take.
        print(f"error: {error}", file=sys.stderr)
        return 2


def _start_log(run: str) -> None:
    """Log to standard error; every line names the run, since the logs of several may end in one place."""
    # The name becomes part of a format in which % means something.
    named = f"{run.replace('%', '%%')} " if run else ""
    # Forced: logging that is set up already, by the first call or a library, would be left as it is.
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s {named}%(name)s: %(message)s", datefmt="%H:%M:%S", force=True
    )


def _parse_options(script: str, description: str | None, defaults: str) -> argparse.Namespace:
    # The docstring as it stands: its commands have lines of their own.
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config",
        default=choose_config_file(script, defaults),
        metavar="FILE",
        help=f"settings of the run (TOML; default: {choose_config_file(script, defaults)})",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one setting; may be given again",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the resolved settings and stop")
    return parser.parse_args()
