#!/usr/bin/env python
"""Write the 10,000 real SDSS and 2MASS galaxies that the package kcorrect carries as a plain catalogue.

kcorrect's example galaxies -> object_id, mag_<b>, magerr_<b>, z_spec in u g r i z J H K -> FILE (Parquet)

    python jobs/write_sdss_example.py [FILE]        (default: sdss_example.parquet)

Then, for instance:

    python jobs/compare_estimators.py --set data.catalogue=sdss_example.parquet --set data.bands=u,g,r,i,z \
        --set estimators=all --set output=sdss_example
"""

import argparse
import sys

from photoz.comparison.example import write_sdss_example
from photoz.errors import PhotozError


def main() -> int:
    # Not by `run_job`: a survey's settings have nothing to say here.
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", default="sdss_example.parquet", help="file to write; any URL fsspec opens")
    try:
        rows = write_sdss_example(parser.parse_args().file)
    except PhotozError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{rows:,} galaxies written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
