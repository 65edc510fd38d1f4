"""The whole slice on an object store: tiles, sources, estimators and catalogue on ``s3://``."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from fault_places import Place
from ingested import partition
from runs import ManyPartitions, assert_same_rows, change, make_survey, name_tiles, read_all, write_toml

from cluster.audit import audit_catalogue
from cluster.inference.run import infer_catalogue
from cluster.lock import hold_lock
from photoz.catalogue.hats import list_partitions, locate_partition, locate_primary
from photoz.catalogue.records import locate_in_run
from photoz.errors import CatalogueError, MissingTileError
from photoz.storage import (
    exists,
    find_filesystem,
    join,
    list_folder,
    open_atomic,
    read_json,
    remove,
    use_options,
    write_json,
)
from photoz.tiles import fetch, open_tile
from photoz.tiles.reader import list_tiles

pytest.importorskip("moto.server", reason="the server of the object store: pip install 'photoz[test]'")

from object_store import CREDENTIALS, make_bucket, open_store

pytestmark = pytest.mark.slow

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with open_store() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def bucket(endpoint: str) -> Iterator[str]:
    with make_bucket(endpoint) as bucket:
        yield bucket


@pytest.fixture(scope="module")
def survey(endpoint: str, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    """The survey's own files are local, all that photoz makes lies in a bucket."""
    return make_survey(tmp_path_factory.mktemp("s3"), name_tiles(4), **Place(bucket, endpoint).settle("survey"))


@pytest.fixture(scope="module")
def serial(survey: ManyPartitions) -> pa.Table:
    infer_catalogue(survey.config)
    return read_all(survey.config.locations.catalogue)


def test_every_source_comes_out_once_and_the_audit_passes(survey: ManyPartitions, serial: pa.Table) -> None:
    ids = serial["object_id"].to_pylist()
    assert len(ids) == len(set(ids))
    assert set(ids) == survey.object_ids
    report = audit_catalogue(survey.config)
    assert report.clean, report.findings


def test_the_runs_page_is_a_page_for_a_browser(survey: ManyPartitions, serial: pa.Table) -> None:
    filesystem, path = find_filesystem(locate_in_run(survey.config.locations.catalogue, "index.html"))
    assert filesystem.info(path, refresh=True)["ContentType"] == "text/html"
    assert b"4 of 4 partitions done" in filesystem.cat_file(path)


def test_it_is_what_a_local_disk_would_hold(
    survey: ManyPartitions, serial: pa.Table, tmp_path_factory: pytest.TempPathFactory
) -> None:
    local = make_survey(tmp_path_factory.mktemp("local"), name_tiles(4))
    infer_catalogue(local.config)
    assert_same_rows(serial, read_all(local.config.locations.catalogue))
    use_options(survey.config.storage_options)


def test_the_fields_reader_opens_it(survey: ManyPartitions, serial: pa.Table, endpoint: str) -> None:
    lsdb = pytest.importorskip("lsdb")
    from upath import UPath

    catalogue = lsdb.open_catalog(UPath(survey.config.locations.catalogue, endpoint_url=endpoint))
    assert set(catalogue.compute()["object_id"]) == survey.object_ids


def test_a_rerun_skips_what_is_done_and_redoes_what_is_lost(survey: ManyPartitions, serial: pa.Table) -> None:
    location = survey.config.locations.catalogue
    assert infer_catalogue(survey.config).this_run.partitions == 0
    remove(locate_partition(locate_primary(location), list_partitions(location)[1]))
    assert infer_catalogue(survey.config).this_run.partitions == 1
    assert_same_rows(read_all(location), serial)
    partition(survey.config)  # up to date: nothing is done


@pytest.mark.parametrize("client", ["obstore", "s3fs"])
def test_what_is_not_there_is_missing_not_damaged(
    survey: ManyPartitions, bucket: str, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    use_options(survey.config.storage_options)
    if client == "obstore":
        pytest.importorskip("obstore")
    else:
        monkeypatch.setattr(fetch, "_open_s3", lambda *_: None)
    tiles = survey.config.locations.tiles
    read = fetch.make_fetch(join(tiles, f"{list_tiles(tiles)[0]}.zarr"))
    there, *missing = read([("zarr.json", 0, 1), ("no", 0, 10), ("no", 5, 9), ("no", -4, None), ("no", 0, None)])
    assert bytes(there) == b"{"
    assert missing == [None] * 4
    with pytest.raises(MissingTileError):
        open_tile(tiles, "no")


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_workers_are_given_the_stores_options(
    survey: ManyPartitions, serial: pa.Table, bucket: str, request: pytest.FixtureRequest, engine: str
) -> None:
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    config = change(survey.config, engine__name=engine, locations__catalogue=f"{bucket}/{engine}")
    assert infer_catalogue(config).rows == len(survey.object_ids)
    assert_same_rows(read_all(config.locations.catalogue), serial)


def test_the_job_runs_on_it_as_a_user_starts_it(
    survey: ManyPartitions, serial: pa.Table, bucket: str, tmp_path: Path
) -> None:
    """Only the endpoint stands in the settings; the credentials come from the environment."""
    config = change(survey.config, locations__catalogue=f"{bucket}/job")
    write_toml(config, tmp_path / "run.toml")
    job = Path(__file__).parents[2] / "jobs" / "infer_dr4.py"
    command = [sys.executable, str(job), "--config", str(tmp_path / "run.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert f"catalogue: {bucket}/job" in done.stdout
    assert not [name for name in SECRETS if CREDENTIALS[name] in done.stdout + done.stderr]
    assert_same_rows(read_all(config.locations.catalogue), serial)


def test_one_of_many_gets_the_lock(survey: ManyPartitions, bucket: str) -> None:
    """The store's conditional write decides."""
    held: list[int] = []
    refused: list[int] = []
    start, end = threading.Barrier(6), threading.Event()

    def try_it(number: int) -> None:
        start.wait()
        try:
            with hold_lock(f"{bucket}/locked/run"):
                held.append(number)
                end.wait(30)
        except CatalogueError:
            refused.append(number)
        if len(refused) == 5:
            end.set()

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 5)
    assert not exists(f"{bucket}/locked/run/lock.json")


def begin_writing(location: str, content: bytes) -> None:
    """Write, and be interrupted before the end."""
    with suppress(KeyboardInterrupt), open_atomic(location) as file:
        file.write(content)
        raise KeyboardInterrupt


def test_an_object_appears_whole_or_not_at_all(survey: ManyPartitions, bucket: str) -> None:
    location = f"{bucket}/atomic/large"
    begin_writing(location, bytes(60 << 20))  # more than one part of a multipart upload
    assert not exists(location)
    write_json(location, {"whole": True})
    begin_writing(location, b"half")
    assert read_json(location) == {"whole": True}
    assert list_folder(f"{bucket}/atomic") == [join(bucket, "atomic", "large")]


def test_nothing_lies_on_the_local_disk(survey: ManyPartitions, serial: pa.Table) -> None:
    assert [path.name for path in Path(survey.folder).iterdir()] == ["survey"]


def test_no_credential_is_in_anything_written(
    survey: ManyPartitions, serial: pa.Table, bucket: str, endpoint: str
) -> None:
    """Settings, run records and ledgers of all the runs above are among it."""
    filesystem = fsspec.filesystem("s3", endpoint_url=endpoint, skip_instance_cache=True)
    written = filesystem.cat(filesystem.find(bucket))
    assert any(name.endswith("/run/run.json") for name in written)
    for name in SECRETS:
        assert not [file for file, content in written.items() if CREDENTIALS[name].encode() in content]
