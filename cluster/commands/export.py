"""Export the photo-z catalogue, or some of its rows and columns, as one file that other programs read.

photo-z catalogue -> one file: FITS (TOPCAT), CSV, Parquet, an ensemble of qp, or a table of RAIL

    photoz export [--catalogue DIR] [--config FILE] [--set section.key=value ...] [--dry-run]
"""

from cluster.job import add_catalogue, locate_catalogue
from photoz.settings.config import Config

add_arguments = add_catalogue
change_settings = locate_catalogue


def main(config: Config) -> None:
    """Write the file, and say where it is."""
    from photoz.export import export_catalogue

    exported = export_catalogue(config.locations.catalogue, config.export)
    print(f"{exported.rows} rows as {exported.format}: {exported.location}")
