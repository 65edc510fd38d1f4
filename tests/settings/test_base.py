"""Settings of any job: text that looks like a number, names that moved, secrets in whatever spelling, remedies."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photoz.errors import ConfigError
from photoz.settings.base import (
    DEFAULT_CONFIG_VARIABLE,
    JobSettings,
    Settings,
    choose_config_file,
    config_to_dict,
    convert_settings,
    load_settings,
)
from photoz.settings.locations import Location


class Deep(Settings, frozen=True):
    """Part of a section."""

    rate: float = 0.1


class Section(Settings, frozen=True):
    """A section whose settings moved once."""

    MOVED: ClassVar[Mapping[str, str]] = {"rate": "deep.rate"}

    name: str = "a"
    count: int = 1
    on: bool = False
    bands: tuple[str, ...] = ("g", "r")
    limit: float | None = None
    deep: Deep = Deep()


class Job(JobSettings, frozen=True):
    """Settings of a job of no meaning."""

    section: Section = Section()
    output: Location = ""

    def check(self) -> None:
        """Refuse a count below 0."""
        if self.section.count < 0:
            raise ConfigError(f"section.count = {self.section.count} is below 0: give 0 or more")


def load(folder: Path, text: str = "", *overrides: str) -> Job:
    file = folder / "job.toml"
    file.write_text(text)
    return load_settings(Job, str(file), overrides)


@pytest.mark.parametrize("text", ["007", "1e3", "true", "2024-01-01", "[1]", "a,b", "nan", ""])
def test_text_stays_the_text_that_was_written(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, "", f"section.name={text}").section.name == text


def test_quotes_of_toml_are_no_part_of_the_text(tmp_path: Path) -> None:
    assert load(tmp_path, "", 'section.name="a b"').section.name == "a b"


def test_only_the_first_equals_sign_parts_name_and_value(tmp_path: Path) -> None:
    assert load(tmp_path, "", "section.name=a=b=c").section.name == "a=b=c"


@pytest.mark.parametrize("value", ["u,g", '["u", "g"]'])
def test_a_list_is_read_with_and_without_brackets(tmp_path: Path, value: str) -> None:
    assert load(tmp_path, "", f"section.bands={value}").section.bands == ("u", "g")


def test_later_overrides_win_and_the_file_counts_where_there_is_none(tmp_path: Path) -> None:
    job = load(tmp_path, "[section]\ncount = 3\nname = 'x'", "section.count=4", "section.count=5")
    assert (job.section.count, job.section.name, job.section.on) == (5, "x", False)


def test_an_override_reaches_a_part_of_a_section_that_the_file_lacks(tmp_path: Path) -> None:
    assert load(tmp_path, "", "section.deep.rate=0.5").section.deep.rate == 0.5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("section.count=1.5", r"Expected `int`, got `float` - at `\$\.section\.count`"),
        ('section.count="3"', "Expected `int`, got `str`"),
        ("section.on=yes", "Expected `bool`"),
        ("section.bands=u", "Expected `array`"),
        ("section.cuont=1", "unknown field `cuont`"),
        ("elsewhere.count=1", "unknown field `elsewhere`"),
        ("section.name.first=a", r"Expected `str`, got `object` - at `\$\.section\.name`"),
        ("section.count", r"--set 'section\.count' has no '=': write section\.key=value"),
        ("section.count=-1", r"section\.count = -1 is below 0: give 0 or more"),
    ],
)
def test_refusals_name_the_setting(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, "", override)


def test_a_refusal_of_a_type_says_where_types_stand(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"job\.toml: .*the settings and their types stand in .*\.py"):
        load(tmp_path, "[section]\ncount = 'many'")


@pytest.mark.parametrize("text", ["[section]\nrate = 1.0", ""])
def test_a_name_that_moved_is_told_with_its_new_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"section\.rate is now section\.deep\.rate, in a file in \[section\.deep\]"):
        load(tmp_path, text, *([] if text else ["section.rate=1.0"]))


def test_files_that_are_missing_or_no_toml_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no settings file at '.*none\.toml': give one with --config FILE"):
        load_settings(Job, str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(tmp_path, "[section\n")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_settings(Job, str(tmp_path / "bytes.toml"))


SECRETS = [
    "key",
    "secret",
    "token",
    "password",
    "aws_secret_access_key",
    "account_key",
    "connection_string",
    "aws_session_token",
    "sessiontoken",
    "sessionToken",
    "accountKey",
    "apikey",
    "x-api-key",
    "Authorization",
    "Cookie",
    "credentials",
    "passwd",
    "passphrase",
]


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("where", ["", "client_kwargs", "client_kwargs.headers"])
def test_a_secret_is_refused_wherever_it_stands_and_not_repeated(name: str, where: str) -> None:
    options: dict = {name: "hunter2"}
    for part in reversed(where.split(".") if where else []):
        options = {part: options}
    with pytest.raises(ConfigError, match=r"is a secret.*give it in the environment") as caught:
        convert_settings(Job, {"storage": {"s3": options}})
    assert ".".join(filter(None, ["storage.s3", where, name])) in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_secret_in_a_list_of_options_is_found_too() -> None:
    options = {"client_kwargs": {"headers": [{"authorization": "Bearer hunter2"}]}}
    with pytest.raises(ConfigError, match=r"storage\.https\.client_kwargs\.headers\.authorization is a secret"):
        convert_settings(Job, {"storage": {"https": options}})


@pytest.mark.parametrize(
    "options",
    [
        {"endpoint_url": "http://store:9000", "anon": True},
        {"token": "anon"},
        {"token": "google_default"},
        {"key": ""},
        {"secret": None},
        {"requester_pays": True, "default_block_size": 5},
        {"client_kwargs": {"region_name": "eu", "headers": {"accept": "*/*"}}},
        {"config_kwargs": {"max_pool_connections": 32, "s3": {"addressing_style": "path"}}},
        {"key_file": "/run/id", "tokens_per_second": 3},
    ],
)
def test_options_that_are_no_secrets_pass(options: dict) -> None:
    assert convert_settings(Job, {"storage": {"s3": options}}).storage == {"s3": options}


@given(st.text(max_size=20), st.integers(0, 10**9), st.floats(allow_nan=False), st.booleans())
def test_what_is_recorded_gives_the_same_settings(name: str, count: int, limit: float, on: bool) -> None:
    job = convert_settings(Job, {"section": {"name": name, "count": count, "limit": limit, "on": on}})
    assert convert_settings(Job, config_to_dict(job)) == job


def test_settings_cannot_be_changed_once_they_are_checked() -> None:
    with pytest.raises(AttributeError):
        Job().section.count = 5  # type: ignore[misc]


def test_the_default_file_lies_beside_the_script_unless_the_environment_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DEFAULT_CONFIG_VARIABLE, raising=False)
    assert choose_config_file(str(tmp_path / "job.py")) == str(tmp_path / "dr4.toml")
    monkeypatch.setenv(DEFAULT_CONFIG_VARIABLE, "s3://settings/run.toml")
    assert choose_config_file(str(tmp_path / "job.py")) == "s3://settings/run.toml"
    assert choose_config_file(str(tmp_path / "job.py"), "compare.toml") == str(tmp_path / "compare.toml")


PASSWORDS = [
    "https://ann:hunter2@store:9000",
    "sftp://:hunter2@host/tiles",
    "https://store/table.csv?X-Amz-Signature=hunter2&b=1",
    "https://store/table.csv?a=1&sig=hunter2",
    "https://store/table.csv?access_token=hunter2",
    "simplecache::https://ann:hunter2@store/table.csv",
]


@pytest.mark.parametrize("url", PASSWORDS)
def test_a_url_with_a_secret_is_refused_wherever_it_stands_and_not_repeated(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", url)
    for values, name in (
        ({"storage": {"s3": {"client_kwargs": {"endpoint_url": url}}}}, "storage.s3.client_kwargs.endpoint_url"),
        ({"output": url}, "output"),
        ({"output": f"{url}/$NOWHERE"}, "output"),
        ({"output": "$STORE"}, "output"),
        ({"section": {"name": url}}, "section.name"),
        ({"section": {"bands": ["g", url]}}, "section.bands"),
    ):
        with pytest.raises(ConfigError, match=rf"^{name} holds a URL with a password or a signature") as caught:
            convert_settings(Job, values)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"^--config holds a URL") as caught:
        load_settings(Job, url)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match="has no '='") as caught:
        load(tmp_path, "", url.replace("=", ":") if "@" in url else "https://a:hunter2@b")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://store:9000",
        "sftp://ann@host/tiles",
        "s3://bucket/a:b@c/d",
        "https://store/a?b=c@d:e@f",
        "/data/what?key=3",
        "a:b@c",
        "https://store/table.csv?versionId=7",
    ],
)
def test_urls_without_a_secret_pass(url: str) -> None:
    settings = convert_settings(Job, {"output": url, "storage": {"s3": {"endpoint_url": url}}})
    assert settings.storage["s3"]["endpoint_url"] == url
