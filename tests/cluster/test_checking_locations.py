"""Stores that cannot be had are told in a line each, before any work."""

import importlib.util
from pathlib import Path

import pytest
from runs import change
from tiny_survey import make_config

from cluster.job import check_locations
from photoz.errors import ConfigError
from photoz.settings.config import Config
from photoz.storage import StorageOptions, use_options


def check(config: Config) -> None:
    check_locations(config.locations, retries=config.engine.retries)


@pytest.fixture(autouse=True)
def kept_process():
    """Leave this process's storage options as they were."""
    yield
    use_options(StorageOptions())


def test_the_disk_and_stores_that_answer_pass(tmp_path: Path) -> None:
    check(make_config(tmp_path))
    check(make_config(tmp_path, locations={"survey": "memory://nothing/there/yet"}))


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="gcsfs is installed, and would ask Google")
def test_each_location_that_fails_is_a_line(tmp_path: Path) -> None:
    places = {"survey": "gs://kids/files", "tiles": "memory://tiles", "sources": "nonsense://kids"}
    with pytest.raises(ConfigError) as caught:
        check(make_config(tmp_path, locations=places))
    head, first, second = str(caught.value).splitlines()
    assert head.startswith("2 of 3 locations cannot be had; set them, [storage] and the credentials")
    assert first.startswith("locations.survey = 'gs://kids/files': 'gs://kids/files' cannot be opened: ")
    assert "install gcsfs" in first
    assert second.startswith(
        "locations.sources = 'nonsense://kids': 'nonsense://kids' is of no store that fsspec knows"
    )


def test_a_placeholder_for_a_server_is_told_and_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    options = {"endpoint_url": "http://127.0.0.1:1", "config_kwargs": {"retries": {"max_attempts": 0}}}
    config = change(
        make_config(tmp_path, storage={"s3": options}, locations={"tiles": "s3://kids/dr4/tiles"}), engine__retries=0
    )
    use_options(config.storage_options)
    with pytest.raises(ConfigError, match=r"^1 of 1 locations.*\nlocations\.tiles = 's3://kids/dr4/tiles': \w+: .*"):
        check(config)
