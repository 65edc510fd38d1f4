"""Fetch a release's files by its naming, for people who have a network; stops and resumes where it was."""

import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal, NamedTuple

from photoz.errors import ConfigError, SurveyFileError
from photoz.storage import find_filesystem, join, move, open_file
from photoz.survey.fits import base_name
from photoz.survey.settings import Download, Survey

logger = logging.getLogger(__name__)

BLOCK_BYTES = 8 * 2**20
# Without what must stand before and after, the "4.0_180.0" of a name that begins with KiDS_DR4.0_180.0 would be a
# place.
PLACE = re.compile(r"(?:^|_|\s)(\d+(?:\.\d+)?)_([+-]?\d+(?:\.\d+)?)(?=_|$|\s)")

ADDRESS = re.compile(r"""(?:https?|ftp)://[^\s"'<>;|&]+""")
"""A whole address, as it stands in a wget script, in quotes or not."""
_KIND = re.compile(r"_(sci|wei|msk|cat)\.fits")


class Place(NamedTuple):
    """[deg] centre of a tile as file names write it."""

    ra: str
    dec: str


@dataclass(frozen=True)
class FileOutcome:
    """What came of a file: "skipped" where it was there with the size the server states; [byte] what was fetched."""

    file: str
    status: Literal["done", "skipped", "failed"]
    bytes_fetched: int = 0
    problem: str = ""


def plan_download(download: Download, survey: Survey) -> list[tuple[str, ...]]:
    """List what to fetch: for each file the addresses to try, best first.

    Addresses that ``download.tile_list`` holds are taken as they stand; others are made of ``download.base_url`` and
    the names of the release.

    Parameters
    ----------
    download : Download
        Which tiles and kinds of file, and from where.
    survey : Survey
        How the files are named.

    Returns
    -------
    list of tuple of str
        One entry a file, each once. A catalogue template with ``[01]`` gives the higher release first.

    Raises
    ------
    ConfigError
        ``download.tiles`` and ``download.tile_list`` name no tile.
    """
    base = download.base_url.rstrip("/")
    templates = [
        t
        for kind, t in (("sci", survey.image_file), ("wei", survey.weight_file), ("msk", survey.mask_file))
        if kind in download.kinds
    ]
    lines = _read_list(download)
    plain = [line for line in lines if not ADDRESS.search(line)]
    listed = _list_addresses(lines, download)
    plan: list[tuple[str, ...]] = [(url,) for url in dict.fromkeys((*download.other_urls, *listed))]
    # A list of addresses says all of its files itself: nothing is made of the release's names for them.
    named = [*download.tiles, *plain] if len(plain) == len(lines) else [line for line in plain if PLACE.search(line)]
    for ra, dec in _find_places(named) if named or not listed else []:
        for template, band in itertools.product(templates, _list_own_bands(survey)):
            plan.append((f"{base}/{template.format(ra=ra, dec=dec, band=band)}",))
        if "cat" in download.kinds:
            # DR4.1 lists before DR4.0: it re-released 196 of the 1006 catalogues, and the others exist as DR4.0 alone.
            names = _expand_classes(survey.catalogue_file.format(ra=ra, dec=dec))
            plan.append(tuple(f"{base}/{name}" for name in sorted(names, reverse=True)))
    return plan


def _list_own_bands(survey: Survey) -> list[str]:
    # Bands of another survey are not in the release.
    return [band for band in survey.image_bands if not any(band in other.bands for other in survey.other_images)]


def read_places(download: Download) -> list[Place]:
    """Return the tiles' centres as file names write them, from ``download.tiles`` and ``download.tile_list``.

    A line of the list may be a tile's name, a file's name or a whole ``wget`` command of the release: the first
    ``<ra>_<dec>`` in it counts.

    Raises
    ------
    ConfigError
        They name no tile, or the list cannot be read.
    """
    return _find_places([*download.tiles, *_read_list(download)])


def _read_list(download: Download) -> list[str]:
    """Read the lines of ``download.tile_list``, without remarks; none where there is no such file."""
    if not download.tile_list:
        return []
    try:
        with open_file(download.tile_list, "rt") as file:
            return [line for line in file.read().splitlines() if not line.lstrip().startswith("#")]
    except OSError as error:
        raise ConfigError(f"download.tile_list {download.tile_list!r} cannot be read: {error}") from error


def _list_addresses(lines: Iterable[str], download: Download) -> list[str]:
    """List the addresses in lines of a wget script, of the kinds and tiles that are wanted."""
    found = [address for line in lines for address in ADDRESS.findall(line)]
    tiles = {Place(*match.groups()) for match in map(PLACE.search, download.tiles) if match}
    return [each for each in found if _is_wanted(base_name(each), tiles, download.kinds)]


def _is_wanted(name: str, tiles: set[Place], kinds: Sequence[str]) -> bool:
    kind, place = _KIND.search(name), PLACE.search(name)
    # Of a name that tells neither, such as the KiDS-Bright file's, whoever wrote the list wants it.
    return (kind is None or kind[1] in kinds) and (not tiles or place is None or Place(*place.groups()) in tiles)


def _find_places(lines: Iterable[str]) -> list[Place]:
    places = [Place(match[1], match[2]) for match in map(PLACE.search, lines) if match]
    if not places:
        raise ConfigError(
            "no tile to download: name some in download.tiles (like KIDS_180.0_-0.5) or in the file download.tile_list"
        )
    # A wget script names a tile once for each of its files.
    return sorted(set(places))


def fetch_file(folder: str, urls: Sequence[str]) -> FileOutcome:
    """Fetch one file into a folder; a file that cannot be had is reported, never raised.

    Parameters
    ----------
    folder : str
        Path or URL to write into, ``locations.survey``.
    urls : sequence of str
        Where to look for it, best first; the second is tried where the first does not exist.
    """
    problems = []
    for url in urls:
        name = base_name(url)
        try:
            status, size = _fetch(url, join(folder, name))
            return FileOutcome(name, status, bytes_fetched=size)
        # Only a file that is not there is looked for under the next URL. After any other failure the older release
        # would be fetched in place of the newer one, and be there at the next run.
        except FileNotFoundError:
            problems.append(f"{url} does not exist")
        except (OSError, SurveyFileError, ValueError) as error:
            problems.append(f"{url}: {error}; run the job again to resume")
            break
    logger.warning("%s", problems[-1])
    return FileOutcome(base_name(urls[0]), "failed", problem="; ".join(problems))


def report_download(outcomes: Iterable[FileOutcome]) -> int:
    """Log the counts and each failure by name; returns the exit status, 1 when any file is lacking."""
    files = list(outcomes)
    counts = {status: sum(file.status == status for file in files) for status in ("done", "skipped", "failed")}
    for file in files:
        if file.status == "failed":
            logger.error("failed: %s: %s", file.file, file.problem)
    logger.info("download: %s, %.1f GB fetched", counts, sum(file.bytes_fetched for file in files) / 1e9)
    return 1 if counts["failed"] else 0


def _fetch(url: str, target: str) -> tuple[Literal["done", "skipped"], int]:
    source, path = find_filesystem(url)
    size = source.info(path).get("size")
    store, place = find_filesystem(target)
    # A server that does not tell the size can only be believed; a file under its own name was moved there whole.
    if store.exists(place) and size in (None, store.size(place)):
        return "skipped", 0
    store.makedirs(place.rsplit("/", 1)[0], exist_ok=True)
    # Under another name until it is whole, so that a download that was cut short is never ingested.
    start = _find_start(store, f"{place}.part")
    try:
        with source.open(path, "rb", block_size=BLOCK_BYTES) as remote:
            written = _append(remote, store, f"{place}.part", start)
    except ValueError:
        # fsspec's word for a web server without ranges: it gives a file from its beginning, in one answer.
        start = 0
        with source.open(path, "rb", block_size=0) as remote:
            written = _append(remote, store, f"{place}.part", start)
    if size is not None and written != size:
        # Longer than the server's file, it was begun from another version: no resuming mends it. A shorter one stays
        # and is added to by the next run.
        if written > size:
            store.rm_file(f"{place}.part")
        raise SurveyFileError(f"{base_name(url)} ended after {written} of {size} bytes")
    # Last: from here on the file counts as fetched.
    move(store, f"{place}.part", place)
    return "done", written - start


def _append(remote: IO[bytes], store: Any, part: str, start: int) -> int:
    """Add the rest of the file to what is there; returns the bytes now there."""
    if start:
        remote.seek(start)
    # From the beginning where the server gives no ranges: what an earlier attempt left must not stay before it.
    with store.open(part, "ab" if start else "wb") as file:
        return start + sum(int(file.write(block)) for block in _read_blocks(remote))


def _find_start(store: Any, part: str) -> int:
    """Return how much of the file an earlier attempt left; object stores cannot append, so there it is nothing."""
    return int(store.size(part)) if "file" in _protocols(store) and store.exists(part) else 0


def _protocols(store: Any) -> tuple[str, ...]:
    # fsspec gives one name as text and several as a tuple: the local disk is "file" and "local".
    return (store.protocol,) if isinstance(store.protocol, str) else tuple(store.protocol)


def _read_blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


def _expand_classes(template: str) -> list[str]:
    """Expand ``[01]`` into one name for each character."""
    # With a group in the pattern, re.split gives what it matched at every odd index.
    parts = re.split(r"\[([^\]]+)\]", template)
    choices = [list(part) if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(pieces) for pieces in itertools.product(*choices)]
