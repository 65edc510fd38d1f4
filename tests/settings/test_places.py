"""Locations in settings mean one place, however they are written."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photoz.comparison.settings import Comparison
from photoz.errors import ConfigError
from photoz.settings import load_settings
from photoz.settings.config import Config
from photoz.settings.locations import settle_location

NAMES = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("SCRATCH", "/scratch/ann")
    monkeypatch.setenv("BUCKET", "s3://survey-7")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("~/tiles", "/home/ann/tiles"),
        ("~", "/home/ann"),
        ("$SCRATCH/tiles", "/scratch/ann/tiles"),
        ("${SCRATCH}/tiles", "/scratch/ann/tiles"),
        ("$BUCKET/tiles/", "s3://survey-7/tiles"),
        ("file:///data/tiles", "/data/tiles"),
        ("file://localhost/data/tiles", "/data/tiles"),
        ("file:/data/tiles", "/data/tiles"),
        ("local:///data/tiles", "/data/tiles"),
        ("file://~/tiles", "/home/ann/tiles"),
        ("/data/tiles//", "/data/tiles"),
        ("/data//tiles/./x", "/data/tiles/x"),
        ("tiles", "{cwd}/tiles"),
        ("./tiles", "{cwd}/tiles"),
        ("../tiles", "{above}/tiles"),
        ("file://tiles", "{cwd}/tiles"),
        ("s3://bucket/a//b/", "s3://bucket/a//b"),
        ("memory://", "memory://"),
        ("simplecache::s3://bucket/a", "simplecache::s3://bucket/a"),
        ("/data/KiDS [DR4] *?{x}#%20, ü", "/data/KiDS [DR4] *?{x}#%20, ü"),
        ("/data/cost $5 a$", "/data/cost $5 a$"),
        ("/data/~ann/x ", "/data/~ann/x "),
        ("", ""),
    ],
)
def test_each_way_to_write_a_place(text: str, place: str) -> None:
    cwd = Path.cwd()
    assert settle_location(text) == place.replace("{cwd}", str(cwd)).replace("{above}", str(cwd.parent))


@given(st.text(st.characters(exclude_characters="$\0", exclude_categories=("Cs",))))
def test_a_settled_place_stays(text: str) -> None:
    settled = settle_location(text)
    assert settle_location(settled) == settled


def test_an_unset_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r"frame.folder = '\$NOWHERE/x': the environment has no variable NOWHERE"):
        settle_location("$NOWHERE/x", "frame.folder")


def write(folder: Path, *overrides: str) -> Config:
    file = folder / "run.toml"
    places = "\n".join(f'{name} = "~/{name}/"' for name in NAMES)
    more = '[evaluation.catalogues]\nours = "$SCRATCH/ours"\n[nz]\noutput = "nz"\n'
    file.write_text(f'[run]\nname = "x"\n[locations]\n{places}\n{more}[frame]\nfolder = "file:///images"\n')
    return load_settings(Config, str(file), overrides)


def test_all_locations_of_a_survey_run_are_settled(tmp_path: Path) -> None:
    config = write(tmp_path, "download.tile_list=~/list.txt")
    assert [getattr(config.locations, name) for name in NAMES] == [f"/home/ann/{name}" for name in NAMES]
    assert config.evaluation.catalogues == {"ours": "/scratch/ann/ours"}
    assert (config.nz.output, config.frame.folder) == (f"{Path.cwd()}/nz", "/images")
    assert config.download.tile_list == "/home/ann/list.txt"
    assert config.evaluation.sample == config.selection.bright_sample == ""  # which are no locations


def test_a_comparisons_locations_are_settled(tmp_path: Path) -> None:
    (tmp_path / "compare.toml").write_text('output = "out"\n[data]\ncatalogue = "~/set/*.parquet"\n')
    settings = load_settings(Comparison, str(tmp_path / "compare.toml"))
    assert settings.data.catalogue == "/home/ann/set/*.parquet"
    assert settings.output == os.path.abspath("out")  # noqa: PTH100


def test_the_message_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"locations.tiles = '\$NOWHERE/tiles'"):
        write(tmp_path, "locations.tiles=$NOWHERE/tiles")


@pytest.mark.parametrize("name", ["a,b", "1,2", "3", "2026-11-27", "true", "[1]", "x = 1", "'"])
def test_a_place_and_a_name_given_on_the_command_line_are_text(tmp_path: Path, name: str) -> None:
    config = write(tmp_path, f"locations.tiles=/data/{name}", f"run.name={name}", f"locations.report={name}")
    assert config.locations.tiles == f"/data/{name}"
    assert config.run.name == name
    assert config.locations.report == f"{Path.cwd()}/{name}"


def test_quoted_text_and_lists_are_read_as_toml(tmp_path: Path) -> None:
    config = write(tmp_path, 'run.name="a,b"', "survey.bands=g,r,i", "survey.image_bands=g,r", "training.fit.knn.k=3")
    assert config.run.name == "a,b"
    assert (config.survey.bands, config.survey.image_bands) == (("g", "r", "i"), ("g", "r"))
    assert config.training.fit == {"knn": {"k": 3}}
