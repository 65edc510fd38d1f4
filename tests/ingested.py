"""What tests of ingest and of what comes after it share: the files that settings find, and all of them ingested."""

from pathlib import Path

from photoz.ingest.outcome import TileOutcome
from photoz.ingest.tile import ingest_tile
from photoz.settings.config import Config
from photoz.survey.files import TileFiles, find_tiles


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
