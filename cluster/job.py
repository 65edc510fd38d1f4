"""What every command and every job script does first: options, settings, log, exit status.

Imports nothing heavy, so that help and a dry run are there at once (tests/house/test_light_start.py).
"""

import argparse
import atexit
import logging
import os
import select
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import cache
from operator import attrgetter
from typing import TypeVar

import msgspec

from cluster.console import OWN, Console, keep_quiet
from cluster.engines.choose import check_engine
from cluster.variables import choose_threads, name_place, name_variable
from cluster.waiting import choose_waiting
from photoz.errors import ConfigError, PhotozError
from photoz.estimators.registry import check_estimators
from photoz.settings import JobSettings, config_to_dict, load_settings
from photoz.settings.config import Config
from photoz.settings.locations import settle_location
from photoz.settings.run import Locations
from photoz.settings.secrets import hide_secrets
from photoz.telemetry import RENEWED

logger = logging.getLogger("photoz")

S = TypeVar("S", bound=JobSettings)
_NOBODY_READS = 141
"""Exit status of a program that SIGPIPE has ended, as the shell tells it."""


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
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="show what Ray, Dask and other libraries say, which goes into a log beside the output else; log more, and "
        "show where in the program an error arose",
    )


def add_catalogue(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a catalogue of ``photoz estimate``, whose sources and report lie beside it."""
    parser.add_argument("--catalogue", metavar="DIR", help="the catalogue, as photoz estimate writes it")


def locate_catalogue(options: argparse.Namespace) -> list[str]:
    """Return the settings that the option of `add_catalogue` stands for."""
    if not options.catalogue:
        return []
    return [f"{name}={value}" for name, value in name_beside(options.catalogue, "--catalogue").items()]


def name_beside(catalogue: str, option: str) -> dict[str, str]:
    """Return the settings that name a catalogue of ``photoz estimate``, its sources and its report beside it.

    Raises
    ------
    ConfigError
        It is no folder that others could lie beside: the root of a disk, or a bucket.

    Examples
    --------
    >>> name_beside("s3://bucket/dr4/", "--output")["locations.sources"]
    's3://bucket/dr4_sources'
    """
    # Settled first: what lies beside "a/.." is not "a/.._sources".
    settled = settle_location(catalogue, option)
    folder, _, name = settled.rpartition("/")
    # Of a URL the first part is the bucket, beside which lie other people's.
    if not name or folder.endswith("/"):
        raise ConfigError(
            f"{option} {catalogue!r} names no folder that others may lie beside: give one, whose sources and report "
            "are written as NAME_sources and NAME_report"
        )
    return {
        "run.name": name,
        "locations.catalogue": settled,
        "locations.sources": f"{settled}_sources",
        "locations.report": f"{settled}_report",
    }


def run_with_settings(
    kind: type[S],
    main: Callable[[S], int | None],
    options: argparse.Namespace,
    change_settings: Callable[[argparse.Namespace], Sequence[str]] | None = None,
    *,
    output: str = "",
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
    output : str
        Name of the setting beside whose location the log of libraries goes; "": they are not heard.

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
        return _run(kind, main, options, changes, output)

    return run_told(work, verbose=options.verbose)


def run_told(work: Callable[[], int | None], *, verbose: bool = False) -> int:
    """Do the work; an error of ours, of a disk or of a store is told in one line, and is exit status 2.

    So is an environment variable that a library can make nothing of.

    Where nobody reads what is printed any more, as after ``photoz status | head -1``, it ends in silence with the exit
    status of a program that the signal SIGPIPE ended, 141.
    """
    _end_after_arrow()
    try:
        status = work() or 0
        # What is printed may wait until here, and would find the pipe broken when Python ends.
        _flush_shown()
        return status
    # A disk that is full, read only or another user's is no fault of the program, wherever it is written to.
    # So is a store without credentials, of which its client raises what is no OSError.
    except _list_told() as error:
        if isinstance(error, BrokenPipeError) and _leave_broken_pipe():
            return _NOBODY_READS
        return _tell_error(_describe(error), verbose=verbose)
    # Of whatever kind a library's error is, when it is what the environment says that it cannot use.
    except Exception as error:
        told = name_variable(error)
        if not told:
            raise
        return _tell_error(told, verbose=verbose)


def _tell_error(told: str, *, verbose: bool) -> int:
    """Tell of the error that is being handled; returns the exit status."""
    # Settings hold no secret by now; what a store's client says may, of a URL that the environment gave it.
    if verbose:
        print(hide_secrets(traceback.format_exc()), end="", file=sys.stderr)
    print(f"error: {hide_secrets(told)}", file=sys.stderr)
    # argparse's own status for options that it does not take.
    return 2


def open_standard_streams() -> None:
    """Open those of the three standard streams that whoever called has closed, as ``2>&-`` does, on nothing.

    The next file that is opened would take the number of one, and what a library writes to standard error would go
    into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # Of the lower numbers none is free any more.
            # Inherited, or the stream of a process that this one starts would be closed again.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


@cache
def _end_after_arrow() -> None:
    """Have this process wait a moment when it ends, once it has read by Arrow.

    Arrow's threads may be at the last file still, and a process that ends beneath them is aborted: of commands that
    were refused just after they had read, one in five on a busy machine had status 134 (apache/arrow#34314, #39862).
    """
    atexit.register(lambda: time.sleep(_ARROWS_REST) if "pyarrow" in sys.modules else None)


_ARROWS_REST = 0.15  # s: of 33 such commands none was aborted then, and of 35 without it seven


def _flush_shown() -> None:
    # A program that calls this one may have closed it.
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def _leave_broken_pipe() -> bool:
    """Tell whether standard output is a pipe that nobody reads, and let go of it: a store's may break, too."""
    poll = select.poll()
    # None where a program that calls this one has put something else in its place.
    with suppress(OSError, ValueError, AttributeError):
        shown = sys.stdout.fileno()
        poll.register(shown, 0)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            # Or Python would complain of it once more when it ends.
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, shown)
            os.close(nothing)
            return True
    return False


def _list_told() -> tuple[type[Exception], ...]:
    """List what is told in one line: errors of ours, of disks, and of the stores' clients that are imported."""
    names = {"botocore.exceptions": ("BotoCoreError", "ClientError"), "aiohttp": ("ClientError",),
             "obstore.exceptions": ("BaseError",)}  # fmt: skip
    there = (module for module in names if module in sys.modules)
    return (PhotozError, OSError, *(getattr(sys.modules[module], name) for module in there for name in names[module]))


def _describe(error: Exception) -> str:
    if isinstance(error, PhotozError):
        return str(error)
    if not isinstance(error, OSError):
        return f"{error}: set [storage] and the credentials in the environment (docs/object_store.md), or run again"
    # fsspec comes with it, for which help and a dry run do not wait.
    from photoz.storage import describe_refusal

    return describe_refusal(error) + name_place(error.filename)


def start_log(run: str, *, verbose: bool = False) -> Console:
    """Log to standard error; every line names the run, since the logs of several may end in one place."""
    console = Console(run, verbose=verbose)
    # Forced: logging that is set up already, by the first call or a library, would be left as it is.
    logging.basicConfig(level=logging.INFO, handlers=[console], force=True)
    renewed = RENEWED if sys.stderr.isatty() else logging.NOTSET
    # Of ours alone: what the stores' clients say of every request would hide it.
    for name in OWN:
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else renewed)
    return console


def check_locations(locations: Locations, *, retries: int) -> None:
    """Ask every store that the settings name, before any work is done; what does not answer is told in a line each.

    Parameters
    ----------
    locations : Locations
    retries : int
        How often a store that does not answer is asked again.

    Raises
    ------
    ConfigError
        A store is not there, or takes no notice of who asks, even after ``retries``; or a bucket does not exist.
    """
    from concurrent.futures import ThreadPoolExecutor

    places = {f"locations.{name}": value for name, value in config_to_dict(locations).items()}
    # The disk of this machine has no door that may be locked.
    remote = {name: location for name, location in places.items() if "://" in location}
    if not remote:
        return
    with ThreadPoolExecutor(len(remote)) as pool:
        asked = {name: pool.submit(_ask_store, place, retries) for name, place in remote.items()}
    # Whatever a store's client raises: their errors have no family in common.
    failed = [
        f"{name} = {remote[name]!r}: {_tell(error)}"
        for name, future in asked.items()
        if (error := future.exception()) is not None
    ]
    if failed:
        raise ConfigError(
            f"{len(failed)} of {len(remote)} locations cannot be had; set them, [storage] and the credentials in the "
            "environment (docs/object_store.md):\n" + "\n".join(failed)
        )


def _tell(error: BaseException) -> str:
    """Say in one line what a store's client raised: by its kind, too, where the words are not ours."""
    words = " ".join(str(error).split())
    return words if isinstance(error, PhotozError) else f"{type(error).__name__}: {words}"


def _ask_store(location: str, retries: int) -> None:
    """Ask a store for a location, which need not exist; of S3 the bucket must."""
    from cluster.engines.retries import insist
    from photoz.storage import exists

    insist(lambda: exists(location), retries, location)
    bucket = "/".join(location.split("/")[:3])
    if location.startswith("s3://") and not insist(lambda: exists(bucket), retries, bucket):
        raise ConfigError(f"there is no bucket {bucket!r}, or not for these credentials")


def _run(
    kind: type[S], main: Callable[[S], int | None], options: argparse.Namespace, changes: Sequence[str], output: str
) -> int | None:
    config = load_settings(kind, options.config, changes)
    # Settings of another kind have neither the name of a run nor an engine.
    console = start_log(config.run.name if isinstance(config, Config) else "", verbose=options.verbose)
    if isinstance(config, Config):
        # Not among the settings' own checks, since photoz must not import cluster, where the engines are listed.
        check_engine(config.engine.name)
        check_estimators([config.training.estimator], "training.estimator")
    # Before torch is there, which reads it once: for what runs in this process and in those that it starts.
    os.environ.update(choose_waiting() | choose_threads())
    logger.debug("settings of %s", options.config)
    if options.dry_run:
        print(msgspec.json.format(msgspec.json.encode(config_to_dict(config)), indent=2).decode())
        return 0
    # fsspec comes with it, for which what is above need not wait.
    from photoz.storage import use_options

    use_options(config.storage_options)
    log = find_log(config, output)
    with keep_quiet(console, log) if log and not options.verbose else nullcontext():
        return main(config)


def find_log(config: JobSettings, output: str) -> str:
    """Return the location of the log beside an output; "" where the job writes none.

    Parameters
    ----------
    config : JobSettings
    output : str
        Name of the setting that holds the output's location.
    """
    location = attrgetter(output)(config) if output else ""
    return f"{location.rstrip('/')}.log" if location else ""
