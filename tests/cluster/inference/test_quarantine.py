"""What cannot be read or estimated is set aside by row, with a flag that says why, on every engine."""

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faulty import FullDisk, Misspelled, Poison, inject
from runs import ManyPartitions, assert_same_rows, change, list_bright, make_ready, name_tiles, read_all, write_toml
from tiny_survey import IMAGE_BANDS, make_catalogue, make_wcs, write_catalogue, write_image, write_survey

import cluster.inference.run
import cluster.inference.stages
import photoz.estimators.registry
import photoz.inference
from cluster.inference.run import infer_catalogue
from photoz.catalogue.hats import list_partitions, write_partition
from photoz.errors import CatalogueError, ProgramError
from photoz.estimators import Estimates, Inputs
from photoz.estimators.networks.hybrid import HybridEstimator
from photoz.schema import Flag
from photoz.settings.config import Config

HEALTHY, MISSING, TRUNCATED, FLIPPED, HEADLESS, BLANK, OUTSIDE, POISONED = TILES = name_tiles(8)
JOB = Path(__file__).parents[3] / "jobs" / "infer_dr4.py"


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    """A survey with one tile for each thing that goes wrong."""
    folder = tmp_path_factory.mktemp("quarantine")
    made = write_survey(folder, TILES, shape=(64, 64), count=12)
    for band in IMAGE_BANDS:
        ra, dec = (float(part) for part in BLANK.split("_"))
        nothing = np.full((64, 64), np.nan, np.float32)
        write_image(made.path(BLANK, f"{band}_sci"), nothing, make_wcs(ra, dec, (64, 64)))
    made.catalogues[OUTSIDE] = make_catalogue(OUTSIDE, 12, width_deg=0.0, seed=1)
    made.catalogues[OUTSIDE]["DECJ2000"] += 0.02
    made.catalogues[POISONED]["MAG_GAAP_r"][5] = 13.0
    for tile in (OUTSIDE, POISONED):
        write_catalogue(made.path(tile, "ugriZYJHKs_cat"), made.catalogues[tile])
    config = make_ready(folder, sources={"margin_arcsec": 0.0})
    damage_tiles(config.locations.tiles)
    return ManyPartitions(folder, config, list_bright(made))


def damage_tiles(tiles: str) -> None:
    """Damage what ingest wrote, tile by tile as their names say."""
    shutil.rmtree(locate_tile(tiles, MISSING))
    shard = locate_shard(tiles, TRUNCATED)
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    flip_byte(locate_shard(tiles, FLIPPED))
    header = locate_tile(tiles, HEADLESS) / "zarr.json"
    header.write_bytes(header.read_bytes()[:50])


def locate_tile(tiles: str, name: str) -> Path:
    return Path(tiles) / f"KIDS_{name}.zarr"


def locate_shard(tiles: str, name: str) -> Path:
    return next(file for file in (locate_tile(tiles, name) / "image" / "c").rglob("*") if file.is_file())


def flip_byte(file: Path) -> None:
    """Flip a bit in the middle of a shard's first chunk."""
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(bytes(content))


@pytest.fixture(scope="module")
def config(survey: ManyPartitions, tmp_path_factory: pytest.TempPathFactory) -> Config:
    return change(survey.config, locations__catalogue=str(tmp_path_factory.mktemp("serial") / "catalogue"))


@pytest.fixture(scope="module")
def serial(config: Config) -> pa.Table:
    """The catalogue of the damaged survey with an estimator that one row makes raise."""
    with pytest.MonkeyPatch.context() as patch:
        poison(patch)
        infer_catalogue(config)
    return read_all(config.locations.catalogue)


def poison(patch: pytest.MonkeyPatch) -> None:
    """Have this process load the poisoned estimator, and no other that it holds already."""
    patch.setitem(photoz.estimators.registry.CLASSES, "hybrid", "faulty:PoisonedEstimator")
    patch.setattr(cluster.inference.stages, "_estimators", {})


def get_rows(table: pa.Table, tile: str) -> tuple[np.ndarray, np.ndarray]:
    rows = table.filter(pa.compute.equal(table["tile"], f"KIDS_{tile}"))
    return rows["flags"].to_numpy(), rows["z_phot"].to_numpy()


def test_every_row_comes_out_once(survey: ManyPartitions, serial: pa.Table) -> None:
    ids = serial["object_id"].to_pylist()
    assert len(ids) == len(set(ids))
    assert set(ids) == survey.object_ids


@pytest.mark.parametrize(
    ("tile", "flag"),
    [
        (MISSING, Flag.NO_TILE),
        (TRUNCATED, Flag.TILE_UNREADABLE),
        (FLIPPED, Flag.TILE_UNREADABLE),
        (HEADLESS, Flag.TILE_UNREADABLE),
        (BLANK, Flag.EMPTY_CUTOUT),
        (OUTSIDE, Flag.OFF_IMAGE),
    ],
)
def test_a_row_without_image_is_estimated_from_photometry_and_says_why(serial: pa.Table, tile: str, flag: Flag) -> None:
    flags, z_phot = get_rows(serial, tile)
    assert len(flags) == 9
    assert ((flags & flag) != 0).all()
    no_photometry = (flags & Flag.NO_PHOTOMETRY) != 0
    assert no_photometry.sum() == 1
    np.testing.assert_array_equal((flags & Flag.ESTIMATE_FAILED) != 0, no_photometry)
    np.testing.assert_array_equal((flags & Flag.PHOTOMETRY_ONLY) != 0, ~no_photometry)
    np.testing.assert_array_equal(np.isnan(z_phot), no_photometry)


def test_a_poison_row_costs_itself_alone(serial: pa.Table) -> None:
    flags, z_phot = get_rows(serial, POISONED)
    _, healthy = get_rows(serial, HEALTHY)
    assert np.isfinite(z_phot).sum() == np.isfinite(healthy).sum() - 1
    assert np.isfinite(healthy).all()  # also the row without magnitudes, from its image
    assert ((flags & Flag.ESTIMATE_FAILED) != 0).sum() == np.isnan(z_phot).sum()


def test_what_was_set_aside_is_listed(config: Config, serial: pa.Table) -> None:
    failures = pq.read_table(f"{config.locations.catalogue}/run/failures.parquet").to_pylist()
    unreadable = {f"KIDS_{tile}" for tile in (MISSING, TRUNCATED, FLIPPED, HEADLESS)}
    assert {row["subject"] for row in failures if row["stage"] == "read"} == unreadable
    assert all(row["rows"] == 9 and row["error"] for row in failures if row["stage"] == "read")
    assert {
        (row["subject"], row["rows"], row["error"].partition(":")[0]) for row in failures if row["stage"] == "cutout"
    } == {
        (f"KIDS_{BLANK}", 9, "EMPTY_CUTOUT"),
        (f"KIDS_{OUTSIDE}", 9, "OFF_IMAGE"),
    }
    assert {row["tries"] for row in failures} == {1}
    poison = [row for row in failures if row["stage"] == "estimate"]
    assert [row["subject"] for row in poison] == [f"KiDSDR4 J{POISONED}.00005"]
    assert poison[0]["error"] == "ZeroDivisionError: a galaxy without distance"


def test_completeness_is_declared(config: Config, serial: pa.Table) -> None:
    record = msgspec.json.decode(Path(f"{config.locations.catalogue}/run/run.json").read_bytes())
    estimated = int(np.isfinite(serial["z_phot"].to_numpy()).sum())
    assert record["rows"] == len(serial) == 72
    assert record["estimated"] == estimated > 0
    assert record["completeness"] == estimated / 72
    assert record["failures"] == 7
    assert record["flags"]["NO_TILE"] == 9


def test_an_estimator_that_needs_no_image_estimates_all_the_same(survey: ManyPartitions, tmp_path) -> None:
    photometry = change(
        survey.config, locations__catalogue=str(tmp_path / "catalogue"), inference__estimator="photometry"
    )
    # One row a tile has a magnitude in no band: nothing can be estimated from that.
    assert infer_catalogue(photometry).completeness == 64 / 72


def test_a_store_that_does_not_answer_is_asked_again_and_given_up_last(
    survey: ManyPartitions, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(*_: object) -> None:
        asked.append(1)
        raise TimeoutError("the store does not answer")

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("photoz.inputs.open_tile", refuse)
    config = change(survey.config, locations__catalogue=str(tmp_path / "catalogue"), engine__retries=1)
    record = infer_catalogue(config)
    assert len(asked) == 2 * len(TILES)
    assert record.rows == 72
    assert record.estimated == record.flags["PHOTOMETRY_ONLY"] == 64  # one a tile has no magnitude either
    assert record.this_run.retried_partitions == len(TILES)
    tries = pq.read_table(f"{config.locations.catalogue}/run/failures.parquet", columns=["tries"])["tries"]
    assert set(tries.to_pylist()) == {2}
    monkeypatch.undo()
    again = infer_catalogue(config)  # nothing changed but the store: what was given up is tried again
    assert again.flags["PHOTOMETRY_ONLY"] < 64


class BrokenEstimator(HybridEstimator):
    """Fails on whatever it is given, as on a GPU that has gone wrong, so many times in all."""

    left = 0

    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        if BrokenEstimator.left > 0:
            BrokenEstimator.left -= 1
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super().estimate(inputs, batch_size=batch_size)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> type[BrokenEstimator]:
    monkeypatch.setitem(photoz.estimators.registry.CLASSES, "hybrid", f"{__name__}:BrokenEstimator")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(cluster.inference.stages, "_estimators", {})
    return BrokenEstimator


def test_an_estimator_that_fails_on_all_rows_is_tried_again(
    survey: ManyPartitions, serial: pa.Table, tmp_path: Path, broken: type[BrokenEstimator]
) -> None:
    broken.left = 17  # 9 rows of a partition, alone and in 8 groups
    config = change(survey.config, locations__catalogue=str(tmp_path / "catalogue"), engine__retries=1)
    record = infer_catalogue(config)
    assert broken.left == 0
    assert record.this_run.retried_partitions == 1
    assert record.failures == 6  # nothing poisons it


def test_what_a_broken_estimator_gave_up_is_done_again_by_the_next_run(
    survey: ManyPartitions, tmp_path: Path, broken: type[BrokenEstimator]
) -> None:
    broken.left = 10**6
    config = change(survey.config, locations__catalogue=str(tmp_path / "catalogue"), engine__retries=1)
    record = infer_catalogue(config)
    assert record.rows == record.flags["ESTIMATE_FAILED"] == 72
    assert record.estimated == 0
    failures = pq.read_table(f"{config.locations.catalogue}/run/failures.parquet").to_pylist()
    failed = [row for row in failures if row["stage"] == "estimate"]
    assert [(row["subject"], row["rows"], row["tries"]) for row in failed] == [("all rows", 9, 2)] * len(TILES)
    broken.left = 0
    again = infer_catalogue(config)
    assert again.this_run.partitions == len(TILES)
    assert again.estimated > 60


@pytest.mark.parametrize("engine", ["serial", pytest.param("dask", marks=pytest.mark.slow)])
def test_partitions_that_never_work_end_the_run_with_an_error(
    survey: ManyPartitions, tmp_path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, engine: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("No space left on device")

    if engine == "serial":
        monkeypatch.setattr("cluster.inference.stages.write_partition", refuse)
    else:
        inject(monkeypatch, FullDisk())
    location = str(tmp_path / "catalogue")
    config = change(survey.config, locations__catalogue=location, engine__retries=0, engine__name=engine)
    with pytest.raises(CatalogueError, match=f"{len(TILES)} partitions could not be done"):
        infer_catalogue(config)
    for partition in list_partitions(config.locations.sources):
        assert f"{partition.name} failed: OSError: No space left on device" in caplog.text
    assert not (tmp_path / "catalogue" / "collection.properties").exists()


SPREAD = [pytest.param(name, marks=pytest.mark.slow) for name in ("dask", "ray")]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["serial", *SPREAD])
def test_an_error_in_the_program_is_tried_once_and_ends_the_run_in_one_line(
    survey: ManyPartitions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, engine: str
) -> None:
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    poison(monkeypatch)
    slept: list[float] = []
    broken = Misspelled(f"KIDS_{HEALTHY}", str(tmp_path))
    if engine == "serial":
        monkeypatch.setattr("time.sleep", slept.append)
        monkeypatch.setattr(cluster.inference.stages, "write_partition", broken.wrap(write_partition))
    else:
        inject(monkeypatch, Poison(), broken)
    config = change(
        survey.config, locations__catalogue=str(tmp_path / "catalogue"), engine__name=engine, engine__retries=3
    )
    with pytest.raises(ProgramError, match=r"^1 partitions .* an error in the program itself, KeyError"):
        infer_catalogue(config)
    if engine == "serial":
        assert slept == []
    # All others are done: the next run goes on from there, and tries the four tiles again that could not be read.
    monkeypatch.undo()
    poison(monkeypatch)
    assert infer_catalogue(change(config, engine__name="serial")).this_run.partitions == 1 + 4


@pytest.mark.slow
def test_the_jobs_exit_status_tells_completeness(survey: ManyPartitions, tmp_path) -> None:
    config = change(survey.config, locations__catalogue=str(tmp_path / "catalogue"))
    settings = tmp_path / "run.toml"
    write_toml(config, settings)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(JOB), "--config", str(settings), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    good = run()
    assert good.returncode == 0, good.stderr
    assert "rows: 72, with a redshift: " in good.stdout
    assert "set aside: 6 tiles or rows" in good.stdout
    strict = run("--set", "inference.min_completeness=0.95")
    assert strict.returncode == 2
    assert "is below inference.min_completeness = 0.95" in strict.stderr
    assert run("--set", "inference.min_completeness=0.2").returncode == 0


ENGINES = [
    pytest.param("serial", 1, 1, id="serial"),
    pytest.param("ray", 1, 1, id="ray-1", marks=pytest.mark.slow),
    pytest.param("ray", 2, 1, id="ray-2", marks=pytest.mark.slow),
    pytest.param("ray", 4, 2, id="ray-4-2", marks=pytest.mark.slow),
    pytest.param("dask", 1, 1, id="dask-1", marks=pytest.mark.slow),
    pytest.param("dask", 2, 1, id="dask-2", marks=pytest.mark.slow),
    pytest.param("dask", 4, 1, id="dask-4", marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "workers", "estimators"), ENGINES)
def test_every_engine_and_an_interrupted_run_give_the_same_rows(
    survey: ManyPartitions, serial: pa.Table, request: pytest.FixtureRequest, tmp_path, monkeypatch: pytest.MonkeyPatch,
    engine: str, workers: int, estimators: int,
) -> None:  # fmt: skip
    """Each is also interrupted in the middle and goes on from there."""
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    config = change(
        survey.config,
        locations__catalogue=str(tmp_path / "catalogue"),
        engine__name=engine,
        engine__workers=workers,
        engine__estimators=estimators,
        engine__cpus_per_estimator=0.5,
    )
    poison(monkeypatch)
    inject(monkeypatch, Poison())
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            infer_catalogue(config)
    record = infer_catalogue(config)
    assert record.this_run.partitions < record.partitions
    assert_same_rows(read_all(config.locations.catalogue), serial)


def interrupt_after(patch: pytest.MonkeyPatch, partitions: int) -> None:
    """Interrupt the driver when so many partitions are done."""
    estimate = cluster.inference.run.estimate_partitions

    def stop(*args):
        for number, outcome in enumerate(estimate(*args), start=1):
            yield outcome
            if number == partitions:
                raise KeyboardInterrupt

    patch.setattr(cluster.inference.run, "estimate_partitions", stop)
