"""What came of ingesting one tile, as values that travel from the worker to the report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["done", "skipped", "failed", "no room"]
"""Skipped: there already, from the same files and settings. No room: the disk is full."""
# "done" before "skipped", so that a tile of which one part was made anew counts as done.
_WORST_FIRST: tuple[Status, ...] = ("no room", "failed", "done", "skipped")


@dataclass(frozen=True)
class PartOutcome:
    """What came of a tile's catalogue or of its images.

    Parameters
    ----------
    status : Status
    problem : str
        "" or what is wrong, naming the file.
    sources : int
        Rows staged.
    rejected : int
        Rows selected and left out, since they have no position or no identifier.
    bytes_read : int
        [byte] read from image files.
    """

    status: Status
    problem: str = ""
    sources: int = 0
    rejected: int = 0
    bytes_read: int = 0


@dataclass(frozen=True)
class TileOutcome:
    """What came of a tile.

    Parameters
    ----------
    tile : str
        Its name.
    parts : mapping of str to PartOutcome
        ``catalogue`` and ``images``; without the former where the catalogue is one of many tiles, without the latter
        when the disk was full before.
    seconds : mapping of str to float
        [s] ``tile_s``, ``catalogue_s``, ``images_s`` and, of the images, ``read_s`` and ``write_s``.
    """

    tile: str
    parts: Mapping[str, PartOutcome]
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """The worse of the parts' statuses: "done" when one part was done and the other skipped."""
        found = {part.status for part in self.parts.values()}
        # A tile has a part at least, even where the disk was full.
        return next(status for status in _WORST_FIRST if status in found)

    @property
    def problem(self) -> str:
        """The parts' problems; "" when there is none."""
        return "; ".join(part.problem for part in self.parts.values() if part.problem)

    def sum_counts(self, name: str) -> int:
        """Add a count of `PartOutcome` up over the parts."""
        return sum(int(getattr(part, name)) for part in self.parts.values())

    def to_row(self) -> dict[str, str | float]:
        """Return the tile's entry in ``ingest.json``."""
        return {
            "tile": self.tile,
            "sources": self.sum_counts("sources"),
            "rejected": self.sum_counts("rejected"),
            "bytes": self.sum_counts("bytes_read"),
            # The parts' own statuses stand beside the tile's: a tile whose images failed may have its sources.
            **{name: part.status for name, part in self.parts.items()},
            "status": self.status,
            "problem": self.problem,
            **self.seconds,
        }
