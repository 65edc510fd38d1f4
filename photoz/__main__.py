"""The console script ``photoz``, and ``python -m photoz``: the door to `cluster.command`, which has the commands."""

from importlib import import_module
from importlib.util import find_spec


def main() -> int:
    """Run the command, once it is sure that the package ``cluster`` is the one that came with photoz.

    PyPI has a distribution of that name, too, with a package of that name: which of the two Python finds depends on
    where each is installed.
    """
    try:
        # By its name: nothing in photoz may depend on what spreads its work.
        command = import_module("cluster.command")
    except ModuleNotFoundError as error:
        # What else cannot be imported is another fault.
        if error.name not in ("cluster", "cluster.command"):
            raise
        found = find_spec("cluster")
        where = "none" if found is None else found.origin or str(found.submodule_search_locations)
        raise SystemExit(
            f"error: Python finds {where} for the package `cluster` that comes with photoz: it is missing, or another "
            "distribution's lies before it. Try `pip uninstall cluster`, then `pip install --force-reinstall --no-deps "
            "photoz`, or give photoz an environment of its own"
        ) from error
    status: int = command.main()
    return status


if __name__ == "__main__":
    raise SystemExit(main())
