#!/usr/bin/env python
"""Write the 10,000 real SDSS and 2MASS galaxies that the package kcorrect carries as a plain catalogue.

kcorrect's example galaxies -> object_id, mag_<b>, magerr_<b>, z_spec in u g r i z J H K -> FILE (Parquet)

    python jobs/write_sdss_example.py [FILE]        (default: sdss_example.parquet)

Then, for instance:

    python jobs/compare_estimators.py --set data.catalogue=sdss_example.parquet --set data.bands=u,g,r,i,z \
        --set estimators=all --set output=sdss_example
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("example", __file__, __doc__))
