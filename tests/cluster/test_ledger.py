"""What must be done: keys that change with what rows depend on and with nothing else, and files that are not ours."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.ledger import (
    check_output,
    compute_partition_key,
    compute_run_key,
    describe_weights,
    explain_remaining,
    list_begun_files,
    list_remaining_files,
    locate_output,
)
from photoz.catalogue.hats import PRIMARY, Partition, locate_partition
from photoz.catalogue.records import Record, locate_in_run, locate_record, write_record
from photoz.errors import CatalogueError
from photoz.inputs import ALL_ROWS
from photoz.settings.inference import Inference
from photoz.settings.run import Locations
from photoz.storage import compute_checksum, read_json, write_json
from photoz.survey.settings import Survey

PART = Partition(order=3, pixel=271)
OWNER = {"run": "a", "estimator": "mlp", "survey": "KiDS"}


def write_rows(primary: str, partition: Partition, table: pa.Table) -> tuple[int, str]:
    """Write a partition's file, of whatever columns; return its rows and checksum."""
    file = Path(locate_partition(primary, partition))
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    return len(table), compute_checksum(str(file))


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    """A source catalogue of one partition with rows in two tiles, neither of which is there."""
    names = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
    locations = Locations(**{name: str(tmp_path / name) for name in names})
    write_rows(f"{locations.sources}/{PRIMARY}", PART, pa.table({"tile": ["t2", "t1", "t2"]}))
    return locations


def write_done(location: str, **changes: object) -> Record:
    """Do a partition as a run would."""
    rows, sha256 = write_rows(locate_output(location), PART, pa.table({"object_id": ["a", "b"]}))
    values = {"order": 3, "pixel": 271, "key": "now", "rows": rows, "estimated": rows, "sha256": sha256}
    record = Record(**values | changes)  # type: ignore[arg-type]
    write_record(location, record)
    return record


def make_problem(stage: str, subject: str) -> dict[str, str | int]:
    return {"stage": stage, "subject": subject, "rows": 1, "error": "broken", "tries": 1}


def test_what_is_done_needs_nothing(tmp_path: Path) -> None:
    location = str(tmp_path)
    assert explain_remaining(location, PART, "now") == "not done yet"
    write_done(location, problems=[make_problem("cutout", "t1"), make_problem("estimate", "42")])
    assert explain_remaining(location, PART, "now") == ""
    assert explain_remaining(location, PART, "then") == "its inputs, settings, weights or code changed"


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (make_problem("read", "t1"), "a tile could not be read last time"),
        (make_problem("estimate", ALL_ROWS), "the estimator failed on all of its rows last time"),
    ],
)
def test_what_failed_last_time_is_tried_again(tmp_path: Path, problem: dict[str, str | int], reason: str) -> None:
    write_done(str(tmp_path), problems=[problem])
    assert explain_remaining(str(tmp_path), PART, "now") == reason


def test_a_lost_or_damaged_file_or_record_is_found(tmp_path: Path) -> None:
    location = str(tmp_path)
    write_done(location)
    file = Path(locate_partition(locate_output(location), PART))
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"?")
    assert explain_remaining(location, PART, "now") == "its file is damaged"
    file.unlink()
    assert explain_remaining(location, PART, "now") == "its file is missing"
    Path(locate_record(location, PART)).write_text("{")
    assert explain_remaining(location, PART, "now") == "not done yet"


def test_the_runs_key_is_of_what_changes_rows() -> None:
    def key(survey: Survey | None = None, weights: str = "5e", **inference: object) -> str:
        return compute_run_key(survey or Survey(), Inference(**inference), {"weights": weights})  # type: ignore[arg-type]

    assert key(join=True, min_completeness=0.5) == key()
    others = [key(pdf=False), key(batch_size=7), key(Survey(pixel_scale=0.3)), key(weights="5f")]
    assert len({key(), *others}) == 5


def test_a_partitions_key_is_of_its_rows_and_the_tiles_they_lie_on(locations: Locations) -> None:
    with_images = compute_partition_key(locations, PART, "run", images=True)
    without = compute_partition_key(locations, PART, "run", images=False)
    assert with_images != without
    assert compute_partition_key(locations, PART, "other run", images=False) != without
    Path(locations.tiles).mkdir()
    assert compute_partition_key(locations, PART, "run", images=True) == with_images
    write_rows(f"{locations.sources}/{PRIMARY}", PART, pa.table({"tile": ["t1", "t1", "t2"]}))
    assert compute_partition_key(locations, PART, "run", images=False) != without


def test_an_output_belongs_to_one_run(tmp_path: Path) -> None:
    location = str(tmp_path / "catalogue")
    check_output(location, OWNER)
    assert read_json(locate_in_run(location, "owner.json")) == OWNER
    check_output(location, OWNER)
    with pytest.raises(CatalogueError, match=r"holds another run .*: set locations.catalogue to another folder"):
        check_output(location, OWNER | {"estimator": "knn"})


def test_runs_that_begin_at_once_find_their_own_folder(tmp_path: Path) -> None:
    for place in range(50):
        location, start = str(tmp_path / str(place)), threading.Barrier(4)

        def begin(location: str = location, start: threading.Barrier = start) -> None:
            start.wait()
            check_output(location, OWNER)
            (Path(locate_in_run(location)) / f"{threading.get_ident()}.json").write_text("{}")

        with ThreadPoolExecutor(4) as threads:
            for begun in [threads.submit(begin) for _ in range(4)]:
                begun.result()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(CatalogueError, match="holds files that are no photoz run"):
        check_output(str(tmp_path), OWNER)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_name_of_a_folder_above_makes_no_folder_new(tmp_path: Path) -> None:
    location = tmp_path / "owner.json" / "catalogue"
    (location / "run").mkdir(parents=True)
    (location / "run" / "thesis.tex").write_text("x")
    with pytest.raises(CatalogueError, match="holds files that are no photoz run"):
        check_output(str(location), OWNER)


def test_files_that_no_partition_accounts_for_are_listed(tmp_path: Path) -> None:
    location, other = str(tmp_path), Partition(order=4, pixel=20_001)
    for part in (PART, other):
        write_rows(locate_output(location), part, pa.table({"object_id": ["a"]}))
    assert list_remaining_files(location, [PART]) == [locate_partition(locate_output(location), other)]
    assert list_remaining_files(location, [PART, other]) == []


def test_what_was_begun_and_never_finished_is_listed(tmp_path: Path) -> None:
    location = str(tmp_path)
    write_done(location)
    assert list_begun_files(location) == []
    file = Path(locate_partition(locate_output(location), PART))
    begun = [file.parent / ".Npix=271.parquet.ab.part", Path(locate_record(location, PART)).parent / ".x.json.ab.part"]
    for each in begun:
        each.write_bytes(b"PAR1")
    assert list_begun_files(location) == [str(each) for each in begun]


def test_weights_are_described_by_every_file(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    write_json(str(tmp_path / "more.json"), [1])
    described = describe_weights(str(tmp_path))
    assert described.keys() == {"manifest.json", "more.json"}
    assert described["manifest.json"] == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
