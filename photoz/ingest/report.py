"""What came of an ingest: every tile's outcome, the run's figures and its completeness."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

import msgspec

from photoz.errors import StorageFullError
from photoz.ingest.outcome import TileOutcome
from photoz.storage import join, name_full_disk, open_atomic

logger = logging.getLogger(__name__)

STAGES = ("tile", "catalogue", "images", "read", "write")
"""Whose seconds the results tell; the last two are within the images'."""


@dataclass(frozen=True)
class RunSummary:
    """What is known of a whole run of ingest.

    Parameters
    ----------
    completeness : float
        Share of its tiles of which both parts were ingested or there already; 1 without tiles.
    counts : dict of str to int
        Status of a tile -> tiles that have it.
    sources, rejected : int
        Rows staged; rows selected and left out, since they have no position or no identifier.
    run : dict
        What the engine knows of the run, the bytes read, and the seconds by stage.
    """

    completeness: float
    counts: dict[str, int]
    sources: int
    rejected: int
    run: dict[str, float | dict[str, float]]


def stop_without_room(outcomes: Iterable[TileOutcome]) -> Iterator[TileOutcome]:
    """Pass on the outcomes of `ingest_tile` until a disk is full: that is no tile's fault, and ends them all.

    Raises
    ------
    StorageFullError
    """
    for outcome in outcomes:
        # The generator ends here, so no further tile is begun; what is done is found again by the next run.
        if outcome.status == "no room":
            raise StorageFullError(outcome.problem)
        yield outcome


def report_ingest(
    outcomes: Iterable[TileOutcome],
    store: str,
    *,
    min_completeness: float = 0.0,
    run: Mapping[str, float] | None = None,
    shared: Mapping[str, int] | None = None,
) -> int:
    """Write the outcome of every tile and of the run to ``<tiles>/ingest.json`` and log each failure by name.

    The run's ``completeness`` is the share of its tiles of which both parts, catalogue and images, were ingested or
    there already. Tiles of which the survey's folder has no file at all are not known here.

    Parameters
    ----------
    outcomes : iterable of TileOutcome
        From `photoz.ingest.tile.ingest_tile`.
    store : str
        Path or URL of the tile store.
    min_completeness : float
        Below this share of the tiles the run is an error: ``ingest.min_completeness``.
    run : mapping, optional
        What the engine knows of the run: seconds, and how often something was done again.
    shared : mapping of str to int, optional
        Of a catalogue of many tiles: its rows by what became of them, ``sources`` staged among them.

    Returns
    -------
    int
        Exit status: 0, or 1 when no tile's images could be read or the completeness is below ``min_completeness``.
    """
    # Engines give tiles back as they come; sorted, two runs of one survey write the same file.
    tiles = sorted(outcomes, key=lambda outcome: outcome.tile)
    summary = _summarize(tiles, run or {}, shared or {})
    content = asdict(summary) | ({"catalogue": dict(shared)} if shared else {})
    content |= {"tiles": [tile.to_row() for tile in tiles]}
    with name_full_disk(store), open_atomic(join(store, "ingest.json")) as file:
        file.write(msgspec.json.format(msgspec.json.encode(content), indent=1))
    for tile in tiles:
        # Once more at the end, though each was warned of: among a thousand tiles' lines nobody sees them.
        if tile.status == "failed":
            logger.error("failed: %s: %s", tile.tile, tile.problem)
    # Told in the log as well as by the exit status, which says nothing of what to do.
    below = summary.completeness < min_completeness
    if below:
        logger.error(
            "completeness %.4f is below ingest.min_completeness = %s: correct or fetch again the files named above and "
            "run the job again, which does what is lacking",
            summary.completeness,
            min_completeness,
        )
    logger.info(
        "ingest: %d sources in %d tiles: %s; %d rows without a position or an identifier left out; completeness %.4f",
        summary.sources,
        len(tiles),
        summary.counts,
        summary.rejected,
        summary.completeness,
    )
    # Failed catalogues alone are no error of the run unless min_completeness says so; without images there is nothing
    # to infer from. A tile without an "images" part had no room, and never comes so far.
    return 1 if below or all(tile.parts["images"].status == "failed" for tile in tiles) else 0


def _summarize(tiles: list[TileOutcome], run: Mapping[str, float], shared: Mapping[str, int]) -> RunSummary:
    counts = {status: sum(tile.status == status for tile in tiles) for status in ("done", "skipped", "failed")}
    # [s] of all workers together: more than the run's own where several work side by side.
    stages = {name: round(sum(tile.seconds.get(f"{name}_s", 0.0) for tile in tiles), 3) for name in STAGES}
    bytes_read = sum(tile.sum_counts("bytes_read") for tile in tiles)
    return RunSummary(
        # A run without tiles lacks none, and division by zero is no figure.
        completeness=(counts["done"] + counts["skipped"]) / len(tiles) if tiles else 1.0,
        counts=counts,
        sources=sum(tile.sum_counts("sources") for tile in tiles) + shared.get("sources", 0),
        rejected=sum(tile.sum_counts("rejected") for tile in tiles) + shared.get("no_position", 0),
        run={**run, "bytes_read": bytes_read, "stage_seconds": stages},
    )
