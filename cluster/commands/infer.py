"""Estimate the redshift of every source, and write the photo-z catalogue.

source catalogue -> cutouts from the tile store -> estimator -> partitioned catalogue (HATS) and its run record

    photoz infer [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.job import check_locations
from photoz.errors import CatalogueError
from photoz.settings.config import Config


def main(config: Config) -> None:
    """Write the catalogue, and say what came of it.

    Raises
    ------
    CatalogueError
        It is less complete than ``inference.min_completeness`` asks for.
    """
    from cluster.inference.run import infer_catalogue

    check_locations(config.locations, retries=config.engine.retries)
    record = infer_catalogue(config)
    print(f"catalogue: {config.locations.catalogue}")
    print(f"rows: {record.rows:,}, with a redshift: {record.estimated:,} ({record.completeness:.2%})")
    # The seconds are of this run alone; earlier ones may have done a part.
    print(f"run record: {config.locations.catalogue}/run/run.json ({record.this_run.seconds:.0f} s)")
    if record.failures:
        print(f"set aside: {record.failures} tiles or rows, see {config.locations.catalogue}/run/failures.parquet")
    # The catalogue stands all the same, and the next run tries again what could not be read.
    if record.completeness < config.inference.min_completeness:
        raise CatalogueError(
            f"completeness {record.completeness:.4f} is below inference.min_completeness = "
            f"{config.inference.min_completeness}: the flags in the run record say why"
        )
