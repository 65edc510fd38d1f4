"""Files that an archive has renamed: known by their headers, which tell what they were called before."""

import fnmatch
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from photoz.errors import SurveyFileError
from photoz.survey.fits import base_name, open_bytes, parse_fits, quiet_astropy, refuse_damaged
from photoz.survey.settings import Survey

logger = logging.getLogger(__name__)

_READS = 16
"""Headers that are read at one time: a store takes some 50 ms for each, whoever waits."""


def restore_names(paths: Sequence[tuple[str, str]], survey: Survey) -> list[tuple[str, str]]:
    """Give files that an archive has renamed the names that the survey gave them.

    Parameters
    ----------
    paths : sequence of (str, str)
        Path within its folder, and location, of each file.
    survey : Survey
        ``archive_file`` tells which are renamed, ``archive_key`` where their own name stands.

    Returns
    -------
    list of (str, str)
        The same files in the same order. One whose header cannot be read, or does not tell a name, keeps its own, which
        is told in the log.
    """
    if not survey.archive_file:
        return list(paths)
    renamed = [index for index, (path, _) in enumerate(paths) if _is_renamed(path, survey.archive_file)]
    if not renamed:
        return list(paths)
    with ThreadPoolExecutor(_READS) as pool:
        names = list(pool.map(lambda index: _read_name(paths[index][1], survey.archive_key), renamed))
    if unknown := [paths[index][0] for index, name in zip(renamed, names, strict=True) if not name]:
        logger.warning(
            "%d files of an archive, %s first, do not tell what they were called (survey.archive_key = %r), and are "
            "passed over",
            len(unknown),
            unknown[0],
            survey.archive_key,
        )
    restored = list(paths)
    for index, name in zip(renamed, names, strict=True):
        path, location = paths[index]
        # In the same folder, which may be a part of the names that are looked for.
        restored[index] = (path[: path.rfind("/") + 1] + (name or base_name(path)), location)
    return restored


def _is_renamed(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(base_name(path), pattern)


def _read_name(location: str, key: str) -> str:
    try:
        with (
            open_bytes(location) as file,
            parse_fits(file, location) as units,
            quiet_astropy(),
            # A card is parsed when it is asked for.
            refuse_damaged(f"{base_name(location)}: its header's {key} cannot be read"),
        ):
            return base_name(str(units[0].header.get(key, "")).strip())
    except SurveyFileError as error:
        logger.warning("%s", error)
        return ""
