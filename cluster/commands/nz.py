"""Compute n(z) of a photo-z catalogue in tomographic bins, with bootstrap errors.

photo-z catalogue -> nz.parquet, nz.png in the report's folder nz

    photoz nz [--catalogue DIR] [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.job import add_catalogue, locate_catalogue
from photoz.settings.config import Config

add_arguments = add_catalogue
change_settings = locate_catalogue


def main(config: Config) -> None:
    """Compute n(z), write its table and figure, print what it is of."""
    from cluster.nz import summarize_nz
    from photoz.nz.description import format_nz
    from photoz.report.nz import locate_nz, write_nz

    distribution, description = summarize_nz(config)
    table = write_nz(locate_nz(config.nz, config.locations.report), distribution, description)
    print(format_nz(description))
    print(f"n(z): {table}")
