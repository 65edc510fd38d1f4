r"""Write 10,000 real SDSS and 2MASS galaxies with redshifts as a plain catalogue.

example galaxies of the package kcorrect -> object_id, mag_<b>, magerr_<b>, z_spec in u g r i z J H K -> FILE

    photoz example [FILE]        (default: sdss_example.parquet)

Then, for instance:

    photoz compare --set data.catalogue=sdss_example.parquet --set data.bands=u,g,r,i,z \
        --set estimators=all --set output=sdss_example
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file; a survey's settings have nothing to say here."""
    parser.add_argument("file", nargs="?", default="sdss_example.parquet", help="file to write; any URL fsspec opens")


def main(options: argparse.Namespace) -> None:
    """Write the file."""
    from photoz.comparison.example import write_sdss_example

    print(f"{write_sdss_example(options.file):,} galaxies written")
