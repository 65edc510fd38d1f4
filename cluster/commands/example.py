r"""Write 10,000 real SDSS and 2MASS galaxies with redshifts as a plain catalogue.

example galaxies of the package kcorrect -> object_id, ra, dec, mag_<b>, magerr_<b>, z_spec in u g r i z J H K -> FILE

    photoz example [FILE] [--set-apart FILE]        (default: sdss_example.parquet)

Then, for instance:

    photoz compare --set data.catalogue=sdss_example.parquet --set data.bands=u,g,r,i,z \
        --set estimators=all --set output=sdss_example
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the files; a survey's settings have nothing to say here."""
    parser.add_argument("file", nargs="?", default="sdss_example.parquet", help="file to write; any URL fsspec opens")
    parser.add_argument("--set-apart", metavar="FILE", help="write a fifth of the galaxies to this file instead")


def main(options: argparse.Namespace) -> None:
    """Write the files."""
    from photoz.comparison.example import write_sdss_example, write_split_example

    if not options.set_apart:
        print(f"{write_sdss_example(options.file):,} galaxies written")
        return
    written, apart = write_split_example(options.file, options.set_apart)
    print(f"{written:,} galaxies written, {apart:,} to {options.set_apart}")
