#!/usr/bin/env python
"""Survey files to the tile store and the partitioned source catalogue.

`python jobs/ingest_dr4.py [--config FILE] [--set section.key=value ...] [--dry-run]`
"""

from cluster.ingest import ingest_alone, ingest_tiles
from cluster.job import run_job
from cluster.partitioning import partition_sources
from photoz.config import Config
from photoz.ingest import check_survey
from photoz.survey.kids import find_tiles


def main(config: Config) -> int:
    """Find the tiles, check the settings against them, ingest each, partition the sources."""
    tiles = find_tiles(config)
    check_survey(config, tiles)
    with ingest_alone(config):
        status = ingest_tiles(config, tiles)
        partition_sources(config)
    return status


if __name__ == "__main__":
    raise SystemExit(run_job(main, __file__, __doc__))
