"""What every command and every job script does first: options, settings, log, exit status.

Imports nothing heavy, so that help and a dry run are there at once (tests/house/test_light_start.py).
"""

import argparse
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from cluster.engines.choose import check_engine
from photoz.errors import PhotozError
from photoz.estimators.registry import check_estimators
from photoz.settings import JobSettings, config_to_dict, load_settings
from photoz.settings.config import Config

logger = logging.getLogger("photoz")

S = TypeVar("S", bound=JobSettings)


def add_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Add the options of every job that has settings.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    default : str or None
        Settings file that is read without ``--config``; None where the command leaves that to others.
    """
    told = f"; default: {default}" if default else ""
    parser.add_argument(
        "--config", default=default, metavar="FILE", help=f"settings of the run (TOML{told})".replace("%", "%%")
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one setting; may be given again",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the resolved settings and stop")
    parser.add_argument("--verbose", action="store_true", help="log more, and show where in the program an error arose")


def run_with_settings(
    kind: type[S],
    main: Callable[[S], int | None],
    options: argparse.Namespace,
    change_settings: Callable[[argparse.Namespace], Sequence[str]] | None = None,
) -> int:
    """Load the settings that the options ask for, and call what is to be done with them.

    Parameters
    ----------
    kind : type
        Of the settings: `Config` for a survey run.
    main : callable
        Takes the settings, returns an exit status (None: 0).
    options : argparse.Namespace
        Of `add_options`.
    change_settings : callable, optional
        Tells the settings that options of the command's own stand for, as ``section.key=value`` each; those of
        ``--set`` count before them.

    Returns
    -------
    int
        0; 2 after an error of the photoz family, told in one line on standard error; or what ``main`` returned.
    """
    # Without a name first: what the settings are refused for is told before the run's name is known.
    start_log("", verbose=options.verbose)

    def work() -> int | None:
        # Of two values for one setting the later counts.
        changes = [*(change_settings(options) if change_settings else ()), *options.set]
        return _run(kind, main, options, changes)

    return run_told(work, verbose=options.verbose)


def run_told(work: Callable[[], int | None], *, verbose: bool = False) -> int:
    """Do the work; an error of the photoz family is told in one line, and is exit status 2."""
    try:
        return work() or 0
    except PhotozError as error:
        if verbose:
            traceback.print_exc()
        # 2 is argparse's own status for options that it does not take.
        print(f"error: {error}", file=sys.stderr)
        return 2


def start_log(run: str, *, verbose: bool = False) -> None:
    """Log to standard error; every line names the run, since the logs of several may end in one place."""
    # The name becomes part of a format in which % means something.
    named = f"{run.replace('%', '%%')} " if run else ""
    # Forced: logging that is set up already, by the first call or a library, would be left as it is.
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s {named}%(name)s: %(message)s", datefmt="%H:%M:%S", force=True
    )
    # Of ours alone: what the stores' clients say of every request would hide it.
    for name in ("photoz", "cluster"):
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.NOTSET)


def _run(
    kind: type[S], main: Callable[[S], int | None], options: argparse.Namespace, changes: Sequence[str]
) -> int | None:
    config = load_settings(kind, options.config, changes)
    # Settings of another kind have neither the name of a run nor an engine.
    if isinstance(config, Config):
        start_log(config.run.name, verbose=options.verbose)
        # Not among the settings' own checks, since photoz must not import cluster, where the engines are listed.
        check_engine(config.engine.name)
        check_estimators([config.training.estimator], "training.estimator")
    logger.debug("settings of %s", options.config)
    if options.dry_run:
        print(msgspec.json.format(msgspec.json.encode(config_to_dict(config)), indent=2).decode())
        return 0
    # fsspec comes with it, for which what is above need not wait.
    from photoz.storage import use_options

    use_options(config.storage_options)
    return main(config)
