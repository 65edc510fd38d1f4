#!/usr/bin/env python
"""Draw a tile with its sources, and the cutouts of some of them, as PNG files in the report's folder.

python jobs/plot_tile.py --config jobs/frame9.toml
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("plot-tile", __file__, __doc__))
