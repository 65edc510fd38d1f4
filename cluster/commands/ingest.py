"""Turn survey files into a tile store and a partitioned source catalogue.

photoz ingest [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.job import check_locations
from photoz.settings.config import Config


def main(config: Config) -> int:
    """Ingest; the exit status is 1 where too much could not be."""
    from cluster.ingest import ingest_survey

    check_locations(config.locations, retries=config.engine.retries)
    return ingest_survey(config)
