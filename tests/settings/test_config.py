"""Settings: read, overridden, and refused with a message that helps."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_survey import make_config

from photoz.errors import ConfigError
from photoz.settings import config_to_dict
from photoz.settings.config import convert_config, load_config
from photoz.training.settings import Training

MINIMAL = """
[run]
name = "test"
[locations]
survey = "a"
tiles = "b"
sources = "c"
training = "d"
models = "e"
catalogue = "f"
report = "g"
"""


@pytest.fixture
def toml(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(MINIMAL)
    return file


def test_defaults_are_of_kids(toml) -> None:
    config = load_config(str(toml))
    assert config.survey.bands == ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
    assert config.training.loss.huber_delta == 1e-4
    assert config.training.schedule.batch_size == 128


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("engine.nmae=ray", "unknown field `nmae`"),
        ("training.schedule.max_epochs=many", "Expected `int`"),
        (
            "training.max_epochs=3",
            r"training\.max_epochs is now training\.schedule\.max_epochs.*\[training\.schedule\]",
        ),
        ("training.drop_band=0.2", r"training\.drop_band is now training\.dropped\.band"),
        ("engine", "has no '='"),
        ("survey.image_bands=u,x", r"image_bands has \['x'\]"),
        ("sources.highest_order=15", "choose 0 to 11"),
        ("tiles.shard=100", "no multiple of tiles.chunk"),
        ("tiles.chunk=0", "no multiple of tiles.chunk = 0 pixels, both above 0"),
        ("crossmatch.fractions=[0.5, 0.5, 0.5, 0.5]", "add up to 1"),
        ("run.name.first=a", "is a value, not a section"),
        ('selection.bright_cuts=[{column="masked", equals=0}]', "columns of selection.bright_sample, which is not set"),
        ("survey.zeropoint_kind=flux", "Invalid enum value 'flux'"),
    ],
)
def test_bad_settings_are_refused_by_name(toml, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(str(toml), [override])


def test_a_name_that_moved_is_refused_in_a_file_too_and_every_new_one_is_there(toml) -> None:
    toml.write_text(MINIMAL + "\n[training]\nworkers = 1\n")
    with pytest.raises(ConfigError, match=r"run\.toml: training\.workers is now training\.spreading\.workers"):
        load_config(str(toml))
    for old, new in Training.MOVED.items():
        section, _, name = new.partition(".")
        assert hasattr(getattr(Training(), section), name)
        assert not hasattr(Training(), old)


def test_missing_and_broken_files_are_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"no settings file at .*nothing.toml"):
        load_config(str(tmp_path / "nothing.toml"))
    (tmp_path / "broken.toml").write_text("[run")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(str(tmp_path / "broken.toml"))


def test_overrides_are_toml_or_plain_text(toml) -> None:
    config = load_config(
        str(toml), ["survey.bands=g,r,i", 'survey.image_bands=["g"]', "engine.name=dask", "run.seed=7"]
    )
    assert config.survey.bands == ("g", "r", "i")
    assert config.survey.image_bands == ("g",)
    assert (config.engine.name, config.run.seed) == ("dask", 7)


@given(seed=st.integers(0, 2**31), epochs=st.integers(1, 10**6), rate=st.floats(1e-8, 1.0))
def test_settings_survive_a_round_trip(tmp_path_factory, seed: int, epochs: int, rate: float) -> None:
    config = make_config(
        tmp_path_factory.getbasetemp(),
        training={"schedule": {"max_epochs": epochs, "learning_rate": rate}},
        run={"seed": seed},
    )
    values = config_to_dict(config)
    values["run"]["name"] = "tiny"
    assert convert_config(_as_toml_would(values)) == config


def _as_toml_would(value):
    if isinstance(value, dict):
        return {key: _as_toml_would(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_as_toml_would(each) for each in value]
    return value


@pytest.mark.parametrize("setting", ["sources.rows_per_partition", "inference.batch_size"])
def test_a_size_below_one_is_refused(setting: str) -> None:
    section, _, name = setting.partition(".")
    with pytest.raises(ConfigError, match=re.escape(f"{setting} = 0 rows: give 1 or more")):
        make_config(Path("x"), **{section: {name: 0}})


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("run.seed=-1", "Expected `int` >= 0 - at `$.run.seed`"),
        ("engine.workers=-1", "Expected `int` >= 1 - at `$.engine.workers`"),
        ("engine.memory_gib=0", "> 0.0 - at `$.engine.memory_gib`"),
        ("inference.min_completeness=1.5", "<= 1.0 - at `$.inference.min_completeness`"),
        ("nz.step=nan", "> 0.0 - at `$.nz.step`"),
        ("evaluation.bins=0", "Expected `int` >= 1 - at `$.evaluation.bins`"),
        ("training.schedule.batch_size=0", "Expected `int` >= 1 - at `$.training.schedule.batch_size`"),
        ("simulation.failed_fraction=-0.1", ">= 0.0 - at `$.simulation.failed_fraction`"),
        ("status.watch=nan", "status.watch = nan s must be 0 or more"),
    ],
)
def test_numbers_that_no_setting_can_be_are_refused_by_name(toml, setting: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        load_config(str(toml), [setting])


def test_blanks_after_commas_are_no_part_of_a_list(toml) -> None:
    assert load_config(str(toml), ["export.columns=ra, dec"]).export.columns == ("ra", "dec")


@pytest.mark.parametrize("report", ["out", "out/", "out/report"])
def test_a_report_does_not_lie_within_the_catalogue(toml, report: str) -> None:
    with pytest.raises(ConfigError, match=r"lies within locations.catalogue = .*: give another folder"):
        load_config(str(toml), ["locations.catalogue=out", f"locations.report={report}"])
    assert load_config(str(toml), ["locations.catalogue=out", "locations.report=out_report"])
