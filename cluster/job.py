"""What every job script does first: options, settings, logging, storage."""

import argparse
import logging
import sys
from collections.abc import Callable

import msgspec

from photoz.config import Config, choose_config_file, config_to_dict, configure_storage, load_config
from photoz.errors import PhotozError

logger = logging.getLogger("photoz")


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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    options = _parse_options(script, description)
    try:
        config = load_config(options.config, options.set)
        configure_storage(config)
        if options.dry_run:
            print(msgspec.json.format(msgspec.json.encode(config_to_dict(config)), indent=2).decode())
            return 0
        return main(config) or 0
    except PhotozError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parse_options(script: str, description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config",
        default=choose_config_file(script),
        metavar="FILE",
        help="settings of the run (TOML; default: $PHOTOZ_CONFIG, or dr4.toml beside the script)",
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
