"""The settings of a survey run, `Config`: the sections, each of which stands beside its owner.

Every setting has its default there, with its unit and its reason; a TOML file need hold only what differs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from photoz.errors import ConfigError
from photoz.evaluate.settings import Evaluation
from photoz.export.settings import Export
from photoz.ingest.settings import Ingest, Sources
from photoz.nz.settings import Nz
from photoz.settings.base import JobSettings, convert_settings, load_settings
from photoz.settings.engine import EngineSettings
from photoz.settings.inference import Inference
from photoz.settings.run import Locations, Run, Status
from photoz.simulate.settings import Simulation
from photoz.survey.settings import Download, Frame, Selection, Survey
from photoz.tables.settings import TableInput
from photoz.tiles.settings import Tiles
from photoz.training.settings import Crossmatch, Training

# Rows are counted over the whole sky: 12 x 4^11 pixels of 8 bytes are 403 MB.
_HIGHEST_ORDER = 11


class Config(JobSettings, frozen=True, kw_only=True):
    """All settings of a run."""

    run: Run
    locations: Locations
    # Sections are frozen, so all settings may share one default.
    survey: Survey = Survey()
    table: TableInput = TableInput()
    selection: Selection = Selection()
    download: Download = Download()
    frame: Frame = Frame()
    tiles: Tiles = Tiles()
    ingest: Ingest = Ingest()
    sources: Sources = Sources()
    crossmatch: Crossmatch = Crossmatch()
    training: Training = Training()
    inference: Inference = Inference()
    engine: EngineSettings = EngineSettings()
    evaluation: Evaluation = Evaluation()
    nz: Nz = Nz()
    export: Export = Export()
    status: Status = Status()
    simulation: Simulation = Simulation()

    def check(self) -> None:
        """Raise `ConfigError` where settings do not fit together."""
        self.survey.check()
        # Zarr stores a shard as whole chunks.
        if self.tiles.chunk < 1 or self.tiles.shard < 1 or self.tiles.shard % self.tiles.chunk:
            raise ConfigError(
                f"tiles.shard = {self.tiles.shard} pixels is no multiple of tiles.chunk = {self.tiles.chunk} pixels, "
                "both above 0: correct one of them"
            )
        # Rounding changes no float32's size: only a codec turns it into fewer bytes.
        if self.tiles.quantize < 0 or (self.tiles.quantize and self.tiles.codec == "none"):
            raise ConfigError(
                f"tiles.quantize = {self.tiles.quantize} with tiles.codec = {self.tiles.codec!r}: give a fraction of "
                "the noise, 0 or more, and above 0 tiles.codec = 'zstd', without which it saves nothing"
            )
        # Not exactly: in binary the default fractions add up to 0.9999999999999999.
        if abs(sum(self.crossmatch.fractions) - 1.0) > 1e-6 or min(self.crossmatch.fractions) < 0:
            raise ConfigError(f"crossmatch.fractions {self.crossmatch.fractions} must be non-negative and add up to 1")
        for name, value in (
            ("sources.rows_per_partition", self.sources.rows_per_partition),
            ("inference.batch_size", self.inference.batch_size),
        ):
            if value < 1:
                raise ConfigError(f"{name} = {value} rows: give 1 or more")
        if not 0 <= self.sources.highest_order <= _HIGHEST_ORDER:
            raise ConfigError(
                f"sources.highest_order = {self.sources.highest_order}: partitioning holds the whole sky at this order "
                f"in memory, 400 MB at {_HIGHEST_ORDER} and 4 times more each step; choose 0 to {_HIGHEST_ORDER}"
            )
        if (self.selection.bright_cuts or self.selection.bright_columns) and not self.selection.bright_sample:
            raise ConfigError(
                "selection.bright_cuts and bright_columns are of the columns of selection.bright_sample, which is not "
                "set: name the file, or put conditions on the catalogue's own columns in selection.cuts"
            )
        # Written so that NaN is refused: comparisons with it are false.
        if not self.status.watch >= 0:
            raise ConfigError(f"status.watch = {self.status.watch} s must be 0 or more")
        self.evaluation.truth.check()
        # Its pages would lie among the catalogue's files, where the audit finds what nobody lists.
        catalogue, report = self.locations.catalogue.rstrip("/"), self.locations.report.rstrip("/")
        if catalogue and f"{report}/".startswith(f"{catalogue}/"):
            raise ConfigError(
                f"locations.report = {report!r} lies within locations.catalogue = {catalogue!r}: give another folder"
            )


def load_config(location: str, overrides: Sequence[str] = ()) -> Config:
    """Read the settings of a survey run; see `load_settings`."""
    return load_settings(Config, location, overrides)


def convert_config(values: Mapping[str, Any], *, origin: str = "settings") -> Config:
    """Turn nested mappings into a checked `Config`; raises `ConfigError` that names the key and the remedy."""
    return convert_settings(Config, values, origin=origin)
