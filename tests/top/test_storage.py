"""Storage: whole files or none, on any file system."""

import errno
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import fsspec
import pytest

import photoz.storage
from photoz.errors import PhotozError, StorageFullError
from photoz.storage import (
    StorageOptions,
    compute_checksum,
    describe_refusal,
    exists,
    find_filesystem,
    find_options,
    join,
    list_folder,
    make_upath,
    name_full_disk,
    open_atomic,
    open_file,
    read_json,
    remove,
    use_options,
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


def test_a_folder_is_not_written_into_in_place_of_a_file(tmp_path) -> None:
    """Moved onto a folder, the file would lie in it under a name of its own."""
    (tmp_path / "ok").mkdir()
    with pytest.raises(IsADirectoryError, match="ok"), open_atomic(str(tmp_path / "ok")) as file:
        file.write(b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "ok"]
    assert list((tmp_path / "ok").iterdir()) == []


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


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (OSError(errno.EROFS, "Read-only file system"), "may be read and written to"),
        (PermissionError("Forbidden"), "may be read and written to"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), "shorter name"),
        (OSError(errno.EFBIG, "File too large"), "ulimit -f"),
        (TimeoutError(), "TimeoutError: run again"),
    ],
)
def test_what_a_disk_refuses_has_a_remedy(error: OSError, remedy: str) -> None:
    assert remedy in describe_refusal(error)


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> StorageOptions:
    """Options of a run that this process works for, until the test ends."""
    monkeypatch.setattr(photoz.storage, "_options", StorageOptions())
    options = StorageOptions({"s3": {"endpoint_url": "http://store:9000", "client_kwargs": {"region_name": "x"}}})
    use_options(options)
    return options


@pytest.mark.parametrize("location", ["s3://bucket/a[1]/b", "s3a://bucket/b"])
def test_all_that_opens_knows_the_options(options: StorageOptions, location: str) -> None:
    told = options.by_protocol["s3"]
    assert find_options(location) == told
    assert find_filesystem(location)[0].storage_options == told
    assert dict(make_upath(location).storage_options) == told
    with ThreadPoolExecutor(1) as pool:  # which knows nothing of who works here
        assert pool.submit(find_filesystem, location).result()[0].storage_options == told


def test_other_stores_and_other_libraries_do_not_know_them(options: StorageOptions, tmp_path: Path) -> None:
    assert find_options(str(tmp_path)) == find_options("memory://a") == {}
    assert "endpoint_url" not in fsspec.filesystem("s3").storage_options
    assert "s3" not in fsspec.config.conf


def test_each_part_of_a_chain_takes_its_own(options: StorageOptions, tmp_path: Path) -> None:
    use_options(StorageOptions({**options.by_protocol, "simplecache": {"cache_storage": str(tmp_path)}}))
    filesystem, path = find_filesystem("simplecache::s3://bucket/name")
    assert path == "bucket/name"
    assert filesystem.storage == [str(tmp_path)]
    assert filesystem.fs.storage_options == options.by_protocol["s3"]


def test_what_the_user_told_fsspec_lies_beneath(options: StorageOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": "http://other", "anon": True})
    found = find_filesystem("s3://bucket")[0].storage_options
    assert found == {**options.by_protocol["s3"], "anon": True}


def test_options_travel_to_other_processes(options: StorageOptions) -> None:
    assert pickle.loads(pickle.dumps(options)) == options


@pytest.mark.parametrize("content", ["a\r\nb", "ü", ""])
def test_a_file_is_opened_as_bytes_or_text(folder: str, content: str) -> None:
    with open_atomic(join(folder, "a b#c[1].txt")) as file:
        file.write(content.encode())
    with open_file(join(folder, "a b#c[1].txt")) as file:
        assert file.read() == content.encode()
    with open_file(join(folder, "a b#c[1].txt"), "rt") as file:
        assert file.read() == content.replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("location", "told"),
    [("foo://a/b", "is of no store that fsspec knows"), ("ftp+nothing://a", "is of no store that fsspec knows")],
)
def test_a_store_that_nobody_knows_is_refused(location: str, told: str) -> None:
    with pytest.raises(PhotozError, match=told):
        find_filesystem(location)


def test_a_store_whose_client_is_not_installed_is_refused_with_its_name() -> None:
    if find_spec("gcsfs"):
        pytest.skip("gcsfs is installed")
    with pytest.raises(PhotozError, match="'gs://a/b' cannot be opened: Please install gcsfs"):
        find_filesystem("gs://a/b")
