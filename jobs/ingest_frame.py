#!/usr/bin/env python
"""Turn a frame of co-registered images without a catalogue into a small survey that the other jobs run on.

images -> background, detection, stars -> magnitudes in matched apertures -> tile and catalogue in the survey's format

    python jobs/ingest_frame.py --config jobs/frame9.toml
    python jobs/ingest_dr4.py --config jobs/frame9.toml
    python jobs/infer_dr4.py --config jobs/frame9.toml --set locations.models=data/dr4/models
"""

from cluster.job import run_job
from photoz.settings.config import Config
from photoz.survey.frame.files import write_frame
from photoz.survey.frame.measure import measure_frame, read_frame


def main(config: Config) -> None:
    images = read_frame(config.frame, config.survey)
    sources = measure_frame(images, config.frame, config.survey)
    written = write_frame(images, sources, config.frame, config.survey, folder=config.locations.survey)
    # The catalogue is written last.
    print(f"{len(sources):,} sources in {written[-1]}")


if __name__ == "__main__":
    raise SystemExit(run_job(main, __file__, __doc__))
