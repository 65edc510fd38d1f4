"""The settings of a comparison (jobs/compare.toml)."""

from typing import Any

import msgspec

from photoz.errors import ConfigError
from photoz.estimators.registry import check_estimators
from photoz.settings import JobSettings, Settings
from photoz.settings.base import Count, Whole
from photoz.settings.locations import Location


class Data(Settings, frozen=True):
    """The plain catalogue: ``object_id``, ``mag_<b>`` and ``magerr_<b>``, or ``flux_<b>`` and ``fluxerr_<b>`` [nJy],
    ``z_spec`` and, if it likes, ``split``."""

    catalogue: Location = ""
    """Parquet, FITS or CSV file, or a glob of Parquet files such as ``<training>/set/*.parquet``; with ``survey`` any
    table."""
    survey: str = ""
    """Whose columns the catalogue has: a name that photoz knows, or the path of a survey's file (docs/tables.md); "":
    those above."""
    bands: str | tuple[str, ...] = ()
    """In order of wavelength, which filling a missing band relies on; with ``survey`` all of it by default."""
    test_fraction: float = 0.3
    """Of a catalogue without a column ``split``, or with ``survey``."""
    z_max: float | None = None
    """Galaxies beyond it are left out, to learn from as well as to test on; by default none is."""


class Comparison(JobSettings, frozen=True):
    """Which estimators are fitted to and tested on which catalogue."""

    data: Data = Data()
    estimators: str | tuple[str, ...] = "all"
    """Names, or "all": every estimator that reads photometry alone."""
    output: Location = ""
    """Folder to write into; files of an earlier comparison are replaced."""
    seed: Whole = 1
    """Of the split (where the catalogue has none), of every fit and of the bootstrap."""
    fit: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    """Settings of single estimators by name, e.g. ``[fit.mlp] members = 3``."""
    pdf_points: Count = 301
    """Redshifts, from 0 to 1.2 times the highest of the training galaxies, at which p(z) is written."""
    resamples: Whole = 100
    """Bootstrap samples behind the errors on the page."""
    bins: Count = 6
    """About how many bins of magnitude, redshift and colour."""
    without_bands: bool = False
    """Measure each estimator again with each band of the test galaxies removed in turn."""

    def check(self) -> None:
        """Raise `ConfigError` where an estimator is named that there is not."""
        names = list_estimators(self)
        check_estimators([name for name in names if name != "all"], "estimators")
        # Settings for an estimator that does not exist are a misspelling, which would else change nothing in silence.
        check_estimators(self.fit, "fit")


def list_estimators(config: Comparison) -> tuple[str, ...]:
    """Return the names that are asked for, as they stand in the settings."""
    return _split(config.estimators)


def list_bands(config: Comparison) -> tuple[str, ...]:
    """Return the bands; raises `ConfigError` when there is none or one is named twice."""
    bands = _split(config.data.bands)
    if not bands or "" in bands or len(set(bands)) < len(bands):
        raise ConfigError(f"data.bands = {list(bands)}: name each band once, like --set data.bands=u,g,r,i,z")
    return bands


def _split(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else names


def check_comparison(config: Comparison) -> None:
    """Check what has no default and what contradicts; raises `ConfigError`."""
    for key, value in (("data.catalogue", config.data.catalogue), ("output", config.output)):
        if not value:
            raise ConfigError(f"{key} is not set: give it with --set {key}=LOCATION")
    if not 0 < config.data.test_fraction < 1:
        raise ConfigError(f"data.test_fraction = {config.data.test_fraction} must lie between 0 and 1")
    if config.data.bands or not config.data.survey:
        list_bands(config)
