"""Where the faults happen: in folders of this machine, or in a bucket of the store that the environment names.

The very same tests run on both; see `object_store`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import run_ray
from object_store import ENDPOINT, make_bucket, open_store

from photoz.storage import find_filesystem, join

NAMES = ("tiles", "sources", "training", "models", "catalogue", "report")


@dataclass(frozen=True)
class Place:
    """A folder or a bucket.

    Parameters
    ----------
    location : str
    endpoint : str
        Of the store the bucket is in.
    """

    location: str
    endpoint: str = ""

    def settle(self, name: str) -> dict[str, Any]:
        """Return the settings by which all that photoz makes lies in a folder of this place."""
        sections: dict[str, Any] = {"locations": {each: join(self.location, name, each) for each in NAMES}}
        return sections | ({"storage": {"s3": {"endpoint_url": self.endpoint}}} if self.endpoint else {})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Give a module's tests a place of their own."""
    if not ENDPOINT:
        yield Place(str(tmp_path_factory.mktemp("place")))
        return
    with open_store() as endpoint, make_bucket(endpoint) as bucket:
        yield Place(bucket, endpoint)


@pytest.fixture
def output(place: Place, tmp_path: Path) -> str:
    """Give a test a folder of its own, in that place."""
    return join(place.location, tmp_path.name)


@pytest.fixture(scope="module")
def ray_workers() -> Iterator[None]:
    """Run Ray for a module whose tests kill its workers."""
    with run_ray():
        yield


@pytest.fixture(params=["serial", "dask", "ray"])
def engine(request: pytest.FixtureRequest) -> str:
    """Name each engine in turn."""
    if request.param == "ray":
        request.getfixturevalue("ray_workers")
    return str(request.param)


def find_files(location: str) -> list[str]:
    """Find all files beneath a folder, begun ones too; none where there is no folder, or it vanishes meanwhile."""
    filesystem, path = find_filesystem(location)
    filesystem.invalidate_cache()
    return [str(filesystem.unstrip_protocol(name)) for name in filesystem.find(path)]


def copy_folder(source: str, target: str) -> None:
    """Copy a folder that is not there yet, within one store."""
    filesystem, start = find_filesystem(source)
    end = find_filesystem(target)[1]
    for file in filesystem.find(start):
        copy = end + file.removeprefix(start)
        filesystem.makedirs(filesystem._parent(copy), exist_ok=True)
        filesystem.cp_file(file, copy)


def assert_nothing_half_written(location: str) -> None:
    """Assert that no file is left that somebody began and did not finish."""
    assert not [name for name in find_files(location) if name.endswith(".part")]
