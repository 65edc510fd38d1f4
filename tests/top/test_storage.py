"""Storage: whole files or none, on any file system."""

import errno
import os

import fsspec
import pytest

from photoz.errors import PhotozError, StorageFullError
from photoz.storage import (
    compute_checksum,
    exists,
    join,
    list_folder,
    name_full_disk,
    open_atomic,
    read_json,
    remove,
    write_json,
)


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    location = str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}"
    yield location
    remove(location)


def test_a_failed_write_leaves_the_old_file(tmp_path) -> None:
    file = join(str(tmp_path), "a", "b.bin")
    with open_atomic(file) as stream:
        stream.write(b"old")

    def write_and_fail() -> None:
        with open_atomic(file) as stream:
            stream.write(b"half of the n")
            raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        write_and_fail()
    with fsspec.open(file, "rb") as stream:
        assert stream.read() == b"old"
    assert [name.rpartition("/")[2] for name in list_folder(join(str(tmp_path), "a"))] == ["b.bin"]


def test_json_round_trip_and_damage(folder: str) -> None:
    file = join(folder, "x.json")
    write_json(file, {"b": [1, 2.5, None], "a": "ü"})
    assert read_json(file) == {"a": "ü", "b": [1, 2.5, None]}
    with open_atomic(file) as stream:
        stream.write(b"{")
    with pytest.raises(PhotozError, match="is not JSON"):
        read_json(file)
    with pytest.raises(FileNotFoundError):
        read_json(join(folder, "none.json"))


def test_checksum_is_sha256(folder: str) -> None:
    file = join(folder, "empty")
    with open_atomic(file):
        pass
    assert compute_checksum(file) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_listing_and_removing(folder: str) -> None:
    assert list_folder(folder, "*.json") == []
    write_json(join(folder, "a.json"), 1)
    (name,) = list_folder(folder, "*.json")
    assert read_json(name) == 1
    remove(folder)
    assert not exists(join(folder, "a.json"))
    remove(folder)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(number: int) -> None:
    message = r"no room left on the disk of '/data/tiles' .*make room"
    with pytest.raises(StorageFullError, match=message), name_full_disk("/data/tiles"):
        raise OSError(number, os.strerror(number))


def test_other_errors_are_not_taken_for_a_full_disk() -> None:
    with pytest.raises(PermissionError), name_full_disk("/data/tiles"):
        raise PermissionError(errno.EACCES, "no")
