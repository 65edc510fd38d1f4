"""Checksums of a finished catalogue's files, by which a later run sees whether it is still what was finished."""

from collections.abc import Mapping, Sequence

from cluster.engines.base import Engine
from cluster.engines.tasks import run_tasks
from photoz.storage import compute_checksum, join

# Files of a margin are small, and a task costs the driver 1 to 6 ms (docs/scaling.md).
_FILES_A_TASK = 100


def compute_checksums(engine: Engine, folder: str, names: Sequence[str]) -> dict[str, str]:
    """Compute the SHA-256 of files, on the engine.

    Parameters
    ----------
    engine : Engine
    folder : str
    names : sequence of str
        Of the files, within the folder.

    Returns
    -------
    dict of str to str
        Name -> checksum; files that are not there are missing.
    """
    tasks = [(folder, tuple(names[at : at + _FILES_A_TASK])) for at in range(0, len(names), _FILES_A_TASK)]
    found: dict[str, str] = {}
    for result in run_tasks(_compute_some, tasks, engine, label="groups of files checked"):
        found |= result["checksums"]
    return found


def find_changed(engine: Engine, folder: str, checksums: Mapping[str, str]) -> list[str]:
    """List the files of a folder, of those with a checksum, that are missing or another's."""
    # Files beyond those are nobody's concern here: the audit looks for strays.
    found = compute_checksums(engine, folder, list(checksums))
    return [name for name, expected in checksums.items() if found.get(name) != expected]


def _compute_some(task: tuple[str, Sequence[str]]) -> dict[str, dict[str, str]]:
    folder, names = task
    checksums = {}
    for name in names:
        try:
            checksums[name] = compute_checksum(join(folder, name))
        # The only error that is an answer: of others the engine tries the task again.
        except FileNotFoundError:
            continue
    return {"checksums": checksums}
