"""Fetch a release's files by its naming, for people who have a network; stops and resumes where it was."""

import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import fsspec

from photoz.errors import ConfigError, SurveyFileError
from photoz.settings.config import Config
from photoz.storage import move
from photoz.survey.fits import base_name

logger = logging.getLogger(__name__)

BLOCK_BYTES = 8 * 2**20
PLACE = re.compile(r"(?:^|_|\s)(\d+(?:\.\d+)?)_([+-]?\d+(?:\.\d+)?)(?=_|$|\s)")


def plan_download(config: Config) -> list[tuple[str, ...]]:
    """List what to fetch: for each file the URLs to try, best first.

    Returns
    -------
    list of tuple of str
        One entry a file. A catalogue template with ``[01]`` gives the higher release first.

    Raises
    ------
    ConfigError
        ``download.tiles`` and ``download.tile_list`` name no tile.
    """
    base, survey = config.download.base_url.rstrip("/"), config.survey
    templates = [
        t
        for kind, t in (("sci", survey.image_file), ("wei", survey.weight_file), ("msk", survey.mask_file))
        if kind in config.download.kinds
    ]
    plan: list[tuple[str, ...]] = [(url,) for url in config.download.other_urls]
    for ra, dec in read_places(config):
        for template, band in itertools.product(templates, survey.image_bands):
            plan.append((f"{base}/{template.format(ra=ra, dec=dec, band=band)}",))
        if "cat" in config.download.kinds:
            names = _expand_classes(survey.catalogue_file.format(ra=ra, dec=dec))
            plan.append(tuple(f"{base}/{name}" for name in sorted(names, reverse=True)))
    return plan


def read_places(config: Config) -> list[tuple[str, str]]:
    """Return the tiles' centres as file names write them, from ``download.tiles`` and ``download.tile_list``.

    A line of the list may be a tile's name, a file's name or a whole ``wget`` command of the release: the first
    ``<ra>_<dec>`` in it counts.
    """
    lines: list[str] = list(config.download.tiles)
    if config.download.tile_list:
        try:
            with fsspec.open(config.download.tile_list, "rt") as file:
                lines += file.read().splitlines()
        except OSError as error:
            raise ConfigError(f"download.tile_list {config.download.tile_list!r} cannot be read: {error}") from error
    places = [(match[1], match[2]) for match in map(PLACE.search, lines) if match]
    if not places:
        raise ConfigError(
            "no tile to download: name some in download.tiles (like KIDS_180.0_-0.5) or in the file download.tile_list"
        )
    return sorted(set(places))


def fetch_file(config: Config, urls: Sequence[str]) -> dict[str, Any]:
    """Fetch one file into ``locations.survey``; a file that cannot be had is reported, never raised.

    Returns
    -------
    dict
        ``file``, ``status``: "done", "skipped" (there, with the size the server states) or "failed", ``bytes``,
        ``problem``.
    """
    problems = []
    for url in urls:
        name = base_name(url)
        try:
            status, size = _fetch(url, f"{config.locations.survey.rstrip('/')}/{name}")
            return {"file": name, "status": status, "bytes": size, "problem": ""}
        except FileNotFoundError:
            problems.append(f"{url} does not exist")
        except (OSError, SurveyFileError, ValueError) as error:
            problems.append(f"{url}: {error}; run the job again to resume")
            break
    logger.warning("%s", problems[-1])
    return {"file": base_name(urls[0]), "status": "failed", "bytes": 0, "problem": "; ".join(problems)}


def report_download(results: Iterable[dict[str, Any]]) -> int:
    """Log the counts and each failure by name; returns the exit status, 1 when any file is lacking."""
    rows = list(results)
    counts = {status: sum(row["status"] == status for row in rows) for status in ("done", "skipped", "failed")}
    for row in rows:
        if row["status"] == "failed":
            logger.error("failed: %s: %s", row["file"], row["problem"])
    logger.info("download: %s, %.1f GB fetched", counts, sum(row["bytes"] for row in rows) / 1e9)
    return 1 if counts["failed"] else 0


def _fetch(url: str, target: str) -> tuple[str, int]:
    source, path = fsspec.url_to_fs(url)
    size = source.info(path).get("size")
    store, place = fsspec.url_to_fs(target)
    if store.exists(place) and size in (None, store.size(place)):
        return "skipped", 0
    store.makedirs(place.rsplit("/", 1)[0], exist_ok=True)
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
        if written > size:
            store.rm_file(f"{place}.part")
        raise SurveyFileError(f"{base_name(url)} ended after {written} of {size} bytes")
    move(store, f"{place}.part", place)
    return "done", written - start


def _append(remote: IO[bytes], store: Any, part: str, start: int) -> int:
    """Add the rest of the file to what is there; returns the bytes now there."""
    if start:
        remote.seek(start)
    with store.open(part, "ab" if start else "wb") as file:
        return start + sum(int(file.write(block)) for block in _read_blocks(remote))


def _find_start(store: Any, part: str) -> int:
    """Return how much of the file an earlier attempt left; object stores cannot append, so there it is nothing."""
    return int(store.size(part)) if "file" in _protocols(store) and store.exists(part) else 0


def _protocols(store: Any) -> tuple[str, ...]:
    return (store.protocol,) if isinstance(store.protocol, str) else tuple(store.protocol)


def _read_blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


def _expand_classes(template: str) -> list[str]:
    """Expand ``[01]`` into one name for each character."""
    parts = re.split(r"\[([^\]]+)\]", template)
    choices = [list(part) if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(pieces) for pieces in itertools.product(*choices)]
