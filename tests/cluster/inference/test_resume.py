"""Resuming by content, the lock, and when a catalogue opens."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import save_untrained
from ingested import find_survey
from runs import (
    FAR_APART,
    ManyPartitions,
    add_empty_partition,
    assert_same_rows,
    change,
    make_survey,
    name_tiles,
    read_all,
)
from tiny_survey import IMAGE_BANDS, make_wcs, write_image

import cluster.inference.run
import cluster.inference.stages
from cluster.inference.plan import Plan
from cluster.inference.publish import is_published
from cluster.inference.run import infer_catalogue, plan_run
from cluster.lock import hold_lock
from photoz.catalogue.hats import Partition, list_partitions, locate_partition, locate_primary, read_partition
from photoz.errors import CatalogueError
from photoz.ingest.tile import ingest_tile
from photoz.settings import config_to_dict
from photoz.settings.config import Config
from photoz.storage import read_json, write_json

TILES = name_tiles(4)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    return make_survey(tmp_path_factory.mktemp("resume"), TILES, sources={"margin_arcsec": 0.0})


@pytest.fixture(scope="module")
def finished(survey: ManyPartitions) -> Config:
    infer_catalogue(survey.config)
    return survey.config


@pytest.fixture
def config(finished: Config, tmp_path: Path) -> Config:
    """A finished run of its own to change."""
    shutil.copytree(finished.locations.catalogue, tmp_path / "catalogue")
    return change(finished, locations__catalogue=str(tmp_path / "catalogue"))


def count_done(config: Config) -> int:
    return infer_catalogue(config).this_run.partitions


def locate_file(config: Config, partition: Partition) -> Path:
    return Path(locate_partition(locate_primary(config.locations.catalogue), partition))


def test_a_tile_with_other_pixels_redoes_its_partitions_alone(survey: ManyPartitions, config: Config, tmp_path) -> None:
    for name in ("survey", "tiles"):
        shutil.copytree(survey.folder / name, tmp_path / name)
    config = change(config, locations__survey=str(tmp_path / "survey"), locations__tiles=str(tmp_path / "tiles"))
    before = read_all(config.locations.catalogue)
    assert count_done(config) == 0
    changed = TILES[1]
    for band in IMAGE_BANDS:
        pixels = np.random.default_rng(99).normal(0, 1, (64, 64)).astype(np.float32)
        ra, dec = (float(part) for part in changed.split("_"))
        write_image(tmp_path / "survey" / f"KiDS_DR4.0_{changed}_{band}_sci.fits", pixels, make_wcs(ra, dec, (64, 64)))
    tile = next(tile for tile in find_survey(config) if tile.name.endswith(changed))
    assert ingest_tile(config, tile).status == "done"
    assert count_done(config) == 1
    after = read_all(config.locations.catalogue)
    differs = ~np.isclose(before["z_phot"].to_numpy(), after["z_phot"].to_numpy(), rtol=0, atol=0, equal_nan=True)
    names = before["object_id"].to_numpy(zero_copy_only=False)[differs]
    assert len(names) > 0
    assert all(changed in name for name in names)


def test_a_tile_with_other_pixels_redoes_nothing_of_photometry_alone(survey: ManyPartitions, tmp_path) -> None:
    photometry = {"inference__estimator": "photometry", "locations__catalogue": str(tmp_path / "catalogue")}
    assert count_done(change(survey.config, **photometry)) == len(TILES)
    assert count_done(change(survey.config, **photometry, locations__tiles=str(tmp_path / "none"))) == 0


def test_settings_that_change_rows_redo_all_and_others_none(config: Config) -> None:
    assert count_done(change(config, engine__workers=1, engine__retries=1, inference__min_completeness=0.5)) == 0
    assert count_done(change(config, inference__batch_size=8)) == len(TILES)
    assert count_done(change(config, inference__batch_size=8)) == 0


@pytest.mark.slow
def test_another_engine_redoes_none(config: Config) -> None:
    assert count_done(change(config, engine__name="dask")) == 0


@pytest.mark.parametrize("damage", ["missing", "truncated", "changed", "no record", "half a record"])
def test_what_does_not_verify_is_redone(config: Config, damage: str) -> None:
    before = read_all(config.locations.catalogue)
    partition = list_partitions(config.locations.catalogue)[2]
    file = locate_file(config, partition)
    record = Path(config.locations.catalogue) / "run" / "records" / f"{partition.name}.json"
    content = file.read_bytes()
    match damage:
        case "missing":
            file.unlink()
        case "truncated":
            file.write_bytes(content[:100])
        case "changed":
            file.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
        case "no record":
            record.unlink()
        case "half a record":
            record.write_text(record.read_text()[:40])
    assert count_done(config) == 1
    assert_same_rows(read_all(config.locations.catalogue), before)


def test_reasons_are_counted_in_the_log(config: Config, caplog) -> None:
    locate_file(config, list_partitions(config.locations.catalogue)[0]).unlink()
    with caplog.at_level("INFO"):
        infer_catalogue(config)
    assert f"{len(TILES) - 1} partitions: done and verified" in caplog.text
    assert "1 partitions: its file is missing" in caplog.text


@contextmanager
def hold_elsewhere(config: Config, run_key: str) -> Iterator[subprocess.Popen[str]]:
    """Hold the output's lock in another process until the block ends or it is killed."""
    code = (
        "import sys\nfrom cluster.lock import hold_lock\n"
        "with hold_lock(sys.argv[1], run_key=sys.argv[2]):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, f"{config.locations.catalogue}/run", run_key],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.communicate(timeout=30)


def test_a_second_run_refuses_and_the_lock_of_a_killed_one_is_taken_over(config: Config, caplog) -> None:
    lock = Path(config.locations.catalogue) / "run" / "lock.json"
    with hold_elsewhere(config, plan_run(config).run_key) as other:
        with pytest.raises(CatalogueError, match=f"process {other.pid} on .* --set inference.join=true"):
            infer_catalogue(config)
        assert is_published(config.locations.catalogue)
        with pytest.raises(CatalogueError, match="another estimator, other settings or other code"):
            infer_catalogue(change(config, inference__join=True, inference__batch_size=5))
        other.kill()
        other.wait()
        assert lock.exists()
        with caplog.at_level("INFO"):
            assert count_done(config) == 0
    assert f"taking the output over from process {other.pid}" in caplog.text
    assert not lock.exists()


def test_two_runs_share_an_output(survey: ManyPartitions, finished: Config, tmp_path) -> None:
    config = change(finished, locations__catalogue=str(tmp_path / "catalogue"), inference__join=True)
    settings = tmp_path / "run.json"
    settings.write_bytes(msgspec.json.encode(config_to_dict(config)))
    code = (
        "import sys, msgspec\nfrom photoz.settings.config import convert_config\n"
        "from cluster.inference.run import infer_catalogue\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "record = infer_catalogue(convert_config(msgspec.json.decode(open(sys.argv[1], 'rb').read())))\n"
        "print(record.this_run.partitions, record.rows)\n"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(settings)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
    answers = []
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.flush()
    for run in runs:
        answers.append(run.communicate(timeout=120)[0].split())
        assert run.returncode == 0
    assert sum(int(done) for done, _ in answers) >= len(TILES)
    assert [int(rows) for _, rows in answers] == [len(survey.object_ids)] * 2
    assert is_published(config.locations.catalogue)
    assert_same_rows(read_all(config.locations.catalogue), read_all(finished.locations.catalogue))


def test_catalogues_without_pz_are_another_content(config: Config) -> None:
    assert count_done(change(config, inference__pdf=False)) == len(TILES)


def test_weights_that_change_while_the_run_goes_on_are_refused(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(config.locations.models, tmp_path / "models")
    config = change(config, locations__models=str(tmp_path / "models"))
    plan_run = cluster.inference.run.plan_run

    def plan_and_train(planned: Config) -> Plan:
        plan = plan_run(planned)
        save_untrained(planned, "hybrid", seed=99)
        return plan

    monkeypatch.setattr(cluster.inference.run, "plan_run", plan_and_train)
    shutil.rmtree(config.locations.catalogue)
    cluster.inference.stages._estimators.clear()
    with pytest.raises(CatalogueError, match="partitions could not be done"):
        infer_catalogue(change(config, engine__retries=0))
    monkeypatch.undo()
    assert count_done(config) == len(TILES)


def test_only_one_of_many_takes_a_dead_runs_lock(tmp_path) -> None:
    folder = str(tmp_path / "run")
    with hold_lock(folder):
        lock = read_json(f"{folder}/lock.json")
    write_json(f"{folder}/lock.json", lock | {"token": "dead", "process": 2**22 + 1})
    held: list[int] = []
    start = threading.Barrier(8)

    def try_it(number: int) -> None:
        start.wait()
        try:
            with hold_lock(folder):
                held.append(number)
                time.sleep(3.0)
        except CatalogueError:
            pass

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1


def test_a_run_whose_lock_was_taken_does_not_publish(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    locate_file(config, list_partitions(config.locations.catalogue)[0]).unlink()
    lock = f"{config.locations.catalogue}/run/lock.json"
    monkeypatch.setattr(
        cluster.inference.run, "estimate_all", lambda *_: write_json(lock, {"token": "another", "beat": time.time()})
    )
    with pytest.raises(CatalogueError, match="another run took the output over"):
        infer_catalogue(config)
    assert not is_published(config.locations.catalogue)
    assert json.loads(Path(lock).read_text())["token"] == "another"


def test_the_catalogue_is_closed_while_partitions_are_redone(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    estimate = cluster.inference.run.estimate_partitions

    def watch(*args):
        for outcome in estimate(*args):
            seen.append(is_published(config.locations.catalogue))
            with pytest.raises(CatalogueError, match="no finished catalogue"):
                list_partitions(config.locations.catalogue)
            yield outcome

    monkeypatch.setattr(cluster.inference.run, "estimate_partitions", watch)
    assert count_done(change(config, inference__batch_size=8)) == len(TILES)
    assert seen == [False] * len(TILES)
    assert is_published(config.locations.catalogue)


def test_what_makes_it_open_appears_last(config: Config) -> None:
    shutil.rmtree(config.locations.catalogue)
    infer_catalogue(config)
    root = Path(config.locations.catalogue)
    told = ("run.json", "failures.parquet", "index.html")
    files = [file for file in root.rglob("*") if file.is_file() and file.name not in told]
    newest = max(files, key=lambda file: file.stat().st_mtime_ns)
    assert newest == root / "collection.properties"
    primary = [file for file in files if file.is_relative_to(root / "catalogue")]
    assert max(primary, key=lambda file: file.stat().st_mtime_ns).name == "hats.properties"


def test_what_killed_writers_left_is_cleared_away(config: Config) -> None:
    partition = list_partitions(config.locations.catalogue)[0]
    file = locate_file(config, partition)
    file.unlink()
    (file.parent / ".Npix=7.parquet.0123.part").write_bytes(b"half a file")
    assert count_done(config) == 1
    assert not list(Path(config.locations.catalogue).rglob("*.part"))


def test_a_partition_without_rows_and_one_with_fifty_times_the_median(tmp_path) -> None:
    survey = make_survey(
        tmp_path, FAR_APART, counts={FAR_APART[4]: 640}, sources={"rows_per_partition": 600, "margin_arcsec": 10.0}
    )
    add_empty_partition(survey.config, Partition(order=0, pixel=3))
    record = infer_catalogue(survey.config)
    parts = list_partitions(survey.config.locations.catalogue)
    rows = sorted(len(read_partition(survey.config.locations.catalogue, part)) for part in parts)
    assert rows == [0] + [9] * 8 + [491]
    assert rows[-1] > 50 * np.median(rows)
    assert record.rows == len(survey.object_ids) == sum(rows)
    assert set(read_all(survey.config.locations.catalogue)["object_id"].to_pylist()) == survey.object_ids
    assert count_done(survey.config) == 0
