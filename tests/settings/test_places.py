"""Locations in settings mean one place, however they are written."""

import os
from pathlib import Path

import pytest
from hypothesis import assume, given
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


@given(st.text(st.characters(exclude_characters="$~\0", exclude_categories=("Cs",))))
def test_a_settled_place_stays(text: str) -> None:
    assume("::" not in text or "://" in text)
    settled = settle_location(text)
    assert settle_location(settled) == settled


def test_a_user_that_there_is_not_is_named() -> None:
    with pytest.raises(ConfigError, match=r"x = '~nobody-at-all/t': .* no home folder '~nobody-at-all'"):
        settle_location("~nobody-at-all/t", "x")
    # What helps is followed: a folder of that name.
    assert settle_location("./~nobody-at-all") == str(Path.cwd() / "~nobody-at-all")


def test_a_path_that_fsspec_would_take_apart_is_refused() -> None:
    """A run in "a::b" waited for ever for a lock that it had written in one place and looked for in another."""
    for text in ("a::b", "/data/a::b/tiles", "file:///data/a::b"):
        with pytest.raises(ConfigError, match=r"x = .* holds '::', which joins file systems to fsspec: rename"):
            settle_location(text, "x")
    assert settle_location("a:b") == str(Path.cwd() / "a:b")


def test_bytes_that_the_locale_has_no_characters_for_are_told_with_what_helps() -> None:
    given = "hü".encode().decode("ascii", "surrogateescape")
    with pytest.raises(ConfigError, match=r"x = 'h\\udcc3\\udcbc' is no text in this locale: set LC_ALL=C.UTF-8 or"):
        settle_location(given, "x")


def test_a_working_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert settle_location(str(tmp_path)) == str(tmp_path)
    with pytest.raises(ConfigError, match=r"x = 'tiles' counts from the folder that .* is gone: change to another"):
        settle_location("tiles", "x")
    monkeypatch.chdir(tmp_path)


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


def test_a_zero_byte_is_no_part_of_a_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"locations\.tiles = '/data/\\x00tiles' holds a zero byte"):
        write(tmp_path, "locations.tiles=/data/\0tiles")


def test_each_of_several_folders_is_settled(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        '[run]\nname = "a"\n[survey]\nfolders = ["more", "$BUCKET/deep/"]\n[locations]\n'
        + "\n".join(f'{name} = "{name}"' for name in NAMES)
    )
    config = load_settings(Config, str(tmp_path / "run.toml"))
    assert config.survey.folders == (f"{tmp_path}/work/more", "s3://survey-7/deep")
