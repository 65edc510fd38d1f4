#!/usr/bin/env python
"""Turn a frame of co-registered images without a catalogue into a small survey that the other jobs run on.

images -> background, detection, stars -> magnitudes in matched apertures -> tile and catalogue in the survey's format

    python jobs/ingest_frame.py --config jobs/frame9.toml
    python jobs/ingest_dr4.py --config jobs/frame9.toml
    python jobs/infer_dr4.py --config jobs/frame9.toml --set locations.models=data/dr4/models
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("ingest-frame", __file__, __doc__))
