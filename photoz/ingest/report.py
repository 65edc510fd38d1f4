"""What came of an ingest: every tile's outcome, the run's figures and its completeness."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from photoz.errors import StorageFullError
from photoz.settings.config import Config
from photoz.storage import join, name_full_disk, open_atomic

logger = logging.getLogger(__name__)

STAGES = ("tile", "catalogue", "images", "read", "write")
"""Whose seconds the results tell; the last two are within the images'."""


def stop_without_room(results: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass on the results of `ingest_tile` until a disk is full: that is no tile's fault, and ends them all.

    Raises
    ------
    StorageFullError
    """
    for row in results:
        if row["status"] == "no room":
            raise StorageFullError(row["problem"])
        yield row


def report_ingest(config: Config, results: Iterable[dict[str, Any]], run: Mapping[str, float] | None = None) -> int:
    """Write the outcome of every tile and of the run to ``<tiles>/ingest.json`` and log each failure by name.

    The run's ``completeness`` is the share of its tiles of which both parts, catalogue and images, were ingested or
    there already. Tiles of which the survey's folder has no file at all are not known here.

    Parameters
    ----------
    config : Config
    results : iterable of dict
        From `ingest_tile`.
    run : mapping, optional
        What the engine knows of the run: seconds, and how often something was done again.

    Returns
    -------
    int
        Exit status: 0, or 1 when no tile's images could be read or the completeness is below
        ``ingest.min_completeness``.
    """
    rows = sorted(results, key=lambda row: str(row["tile"]))
    failed = [row for row in rows if row["status"] == "failed"]
    counts = {status: sum(row["status"] == status for row in rows) for status in ("done", "skipped", "failed")}
    stages = {name: round(sum(row.get(f"{name}_s", 0.0) for row in rows), 3) for name in STAGES}
    measured = {**(run or {}), "bytes_read": sum(row["bytes"] for row in rows), "stage_seconds": stages}
    totals = {name: sum(row[name] for row in rows) for name in ("sources", "rejected")}
    completeness = (counts["done"] + counts["skipped"]) / len(rows) if rows else 1.0
    summary = {"completeness": completeness, "counts": counts, **totals, "run": measured, "tiles": rows}
    tiles = config.locations.tiles
    with name_full_disk(tiles), open_atomic(join(tiles, "ingest.json")) as file:
        file.write(msgspec.json.format(msgspec.json.encode(summary), indent=1))
    for row in failed:
        logger.error("failed: %s: %s", row["tile"], row["problem"])
    below = completeness < config.ingest.min_completeness
    if below:
        logger.error(
            "completeness %.4f is below ingest.min_completeness = %s: correct or fetch again the files named above and "
            "run the job again, which does what is lacking",
            completeness,
            config.ingest.min_completeness,
        )
    logger.info(
        "ingest: %d sources in %d tiles: %s; %d rows without a position left out; completeness %.4f",
        totals["sources"],
        len(rows),
        counts,
        totals["rejected"],
        completeness,
    )
    return 1 if below or all(row["images"] == "failed" for row in rows) else 0
