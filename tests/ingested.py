"""What tests of ingest and of what comes after it share: files that settings find, all of them ingested, reports."""

import json
from pathlib import Path
from typing import Any

from photoz.ingest.outcome import TileOutcome
from photoz.ingest.report import report_ingest
from photoz.ingest.tile import ingest_tile
from photoz.settings.config import Config
from photoz.survey.files import TileFiles, find_tiles

TILE = "180.0_-0.5"
NAME = f"KIDS_{TILE}"
SHAPE = (200, 240)


def find_survey(config: Config) -> list[TileFiles]:
    """List the tiles that the settings find, as the job does."""
    return find_tiles(config.survey, config.locations.survey, weights=config.tiles.store_weights)


def ingest_every(config: Config) -> list[TileOutcome]:
    """Ingest every tile in this process."""
    return [ingest_tile(config, tile) for tile in find_survey(config)]


def ingest(config: Config) -> TileOutcome:
    """Ingest the only tile there is."""
    (tile,) = find_survey(config)
    return ingest_tile(config, tile)


def truncate(path: Path) -> None:
    """Cut the end off a file."""
    path.write_bytes(path.read_bytes()[:-5000])


def report(config: Config, outcomes: list[TileOutcome]) -> int:
    """Report outcomes as the job does."""
    return report_ingest(outcomes, config.locations.tiles, min_completeness=config.ingest.min_completeness)


def read_report(config: Config) -> dict[str, Any]:
    """Read the last report."""
    values: dict[str, Any] = json.loads(Path(config.locations.tiles, "ingest.json").read_text())
    return values
