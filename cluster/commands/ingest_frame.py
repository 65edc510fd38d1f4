"""Turn co-registered images without a catalogue into a small survey for the other commands.

images -> background, detection, stars -> magnitudes in matched apertures -> tile and catalogue in the survey's format

    photoz ingest-frame --config frame9.toml
    photoz ingest --config frame9.toml
    photoz infer --config frame9.toml --set locations.models=data/dr4/models
"""

from photoz.settings.config import Config


def main(config: Config) -> None:
    """Measure the frame, write it as a survey's files."""
    from photoz.survey.frame.files import write_frame
    from photoz.survey.frame.measure import measure_frame, read_frame

    images = read_frame(config.frame, config.survey)
    sources = measure_frame(images, config.frame, config.survey)
    written = write_frame(images, sources, config.frame, config.survey, folder=config.locations.survey)
    # The catalogue is written last.
    print(f"{len(sources):,} sources in {written[-1]}")
