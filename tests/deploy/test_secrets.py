"""Secrets cannot be given in the settings, which run records hold.

That the ones of the environment are in nothing a run writes or says, tests/cluster/test_object_store.py looks for.
"""

import pytest

from photoz.errors import ConfigError
from photoz.settings.config import convert_config

MINIMAL = {
    "run": {"name": "x"},
    "locations": {
        name: f"s3://bucket/{name}"
        for name in ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
    },
}


@pytest.mark.parametrize(
    "options",
    [
        {"s3": {"key": "AKIA"}},
        {"s3": {"secret": "abc"}},
        {"s3": {"client_kwargs": {"aws_secret_access_key": "abc"}}},
        {"s3": {"client_kwargs": {"aws_session_token": "abc"}}},
        {"abfs": {"account_key": "abc"}},
        {"abfs": {"connection_string": "abc"}},
        {"gcs": {"token": "/secrets/key.json"}},
        {"sftp": {"password": "abc"}},
    ],
)
def test_a_secret_in_the_settings_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"is a secret.*environment") as refusal:
        convert_config(MINIMAL | {"storage": options})
    assert "abc" not in str(refusal.value)


def test_options_that_are_no_secret_pass() -> None:
    storage = {"s3": {"endpoint_url": "http://x", "anon": True, "client_kwargs": {"region_name": "x"}},
               "gcs": {"token": "cloud"}}  # fmt: skip
    assert convert_config(MINIMAL | {"storage": storage}).storage == storage
