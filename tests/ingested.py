"""What tests of ingest and of what comes after it share: files that settings find, all of them ingested, reports."""

import json
from pathlib import Path
from typing import Any

from cluster.engines.base import Engine
from cluster.engines.choose import choose_engine
from cluster.partitioning.sources import partition_sources
from photoz.ingest.check import check_survey
from photoz.ingest.outcome import TileOutcome
from photoz.ingest.report import report_ingest
from photoz.ingest.tile import ingest_tile
from photoz.schema import make_source_schema
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


def check(config: Config) -> None:
    """Look at the survey's first files, as the job does."""
    check_survey(config.survey, config.selection, find_survey(config), folder=config.locations.survey)


def choose(config: Config) -> Engine:
    """Choose the engine, as every job does."""
    return choose_engine(config.engine, config.storage_options)


def partition(config: Config) -> None:
    """Partition what is staged, as the job does."""
    schema = make_source_schema(config.survey.bands)
    partition_sources(config.sources, config.locations.sources, choose(config), schema=schema)


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
