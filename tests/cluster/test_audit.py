"""The audit: clean on a real catalogue, and the right finding for each kind of damage to a copy of it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import save_untrained
from hats.io.validation import is_valid_catalog
from hats.pixel_math import HealpixPixel
from hats.pixel_tree.negative_tree import compute_negative_tree_pixels
from hats.pixel_tree.pixel_tree import PixelTree
from hypothesis import given, settings
from hypothesis import strategies as st
from ingested import ingest_every, partition
from tiny_survey import make_catalogue, make_config, write_catalogue, write_survey

from cluster.audit import audit_catalogue
from cluster.commands import audit
from cluster.inference.run import infer_catalogue
from photoz.audit import AuditReport, AuditTask, Finding, audit_partition, format_audit, plan_audit
from photoz.catalogue.hats import (
    MARGIN,
    PRIMARY,
    Partition,
    finish_catalogue,
    finish_collection,
    list_partitions,
    locate_partition,
)
from photoz.catalogue.neighbours import Owners
from photoz.errors import CatalogueError
from photoz.hashes import plan_buckets
from photoz.schema import Flag
from photoz.settings import config_to_dict
from photoz.settings.config import Config, convert_config
from photoz.storage import compute_checksum

MARGIN_ARCSEC = 60.0


class Copy:
    """A copy of a finished catalogue to damage."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.partitions = list_partitions(config.locations.catalogue)

    def path(self, partition: Partition, table: str = PRIMARY) -> Path:
        return Path(locate_partition(f"{self.config.locations.catalogue}/{table}", partition))

    def read(self, partition: Partition, table: str = PRIMARY) -> pa.Table:
        return pq.read_table(self.path(partition, table), partitioning=None)

    def write(self, partition: Partition, rows: pa.Table, table: str = PRIMARY) -> None:
        """Replace a file, and nothing that speaks of it."""
        pq.write_table(rows, self.path(partition, table))

    def write_with_records(self, partition: Partition, rows: pa.Table) -> None:
        """Replace a file with record and metadata to match, as a run that went wrong would leave them."""
        self.write(partition, rows)
        self.update_record(partition)
        self.update_metadata()

    def update_record(self, partition: Partition) -> None:
        rows, flags = self.read(partition), self.read(partition)["flags"].to_numpy()
        record = self.read_record(partition) | {
            "rows": len(rows),
            "estimated": int(np.isfinite(rows["z_phot"].to_numpy()).sum()),
            "flags": {flag.name: int(((flags & flag) != 0).sum()) for flag in Flag},
            "sha256": compute_checksum(str(self.path(partition))),
        }
        self.record_path(partition).write_text(json.dumps(record))

    def update_metadata(self) -> None:
        rows = [(part, len(self.read(part))) for part in self.partitions]
        finish_catalogue(self.config.locations.catalogue, rows, info={})

    def record_path(self, partition: Partition) -> Path:
        return Path(self.config.locations.catalogue) / "run" / "records" / f"{partition.name}.json"

    def read_record(self, partition: Partition) -> dict[str, Any]:
        return dict(json.loads(self.record_path(partition).read_text()))

    def list_margin_ids(self) -> set[str]:
        files = Path(self.config.locations.catalogue, MARGIN, "dataset").rglob("Npix=*.parquet")
        return {
            str(value) for file in files for value in pq.read_table(file, partitioning=None)["object_id"].to_pylist()
        }

    def find_inner_row(self, partition: Partition) -> int:
        """Find a row that is in no margin, so that damage to it concerns the primary table alone."""
        near = self.list_margin_ids()
        return next(n for n, value in enumerate(self.read(partition)["object_id"].to_pylist()) if value not in near)

    def plan(self) -> list[AuditTask]:
        locations = self.config.locations
        return plan_audit(locations.catalogue, locations.sources)

    def audit(self) -> AuditReport:
        return audit_catalogue(self.config)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two tiles whose 300 bright sources spread over half a degree each: some 15 partitions with rows in margins."""
    folder = tmp_path_factory.mktemp("audit") / "[a]* ?{b} #%20"  # each kind of damage in a folder that is a pattern
    survey = write_survey(folder, ("180.0_-0.5", "180.5_-0.5"), shape=(64, 64))
    for seed, tile in enumerate(survey.catalogues):
        table = make_catalogue(tile, 200, width_deg=0.5, seed=seed)
        write_catalogue(survey.path(tile, "ugriZYJHKs_cat"), table)
    sources = {"rows_per_partition": 40, "highest_order": 9, "margin_arcsec": MARGIN_ARCSEC}
    config = make_config(folder, sources=sources, engine={"name": "serial"}, inference={"estimator": "photometry"})
    assert [outcome.problem for outcome in ingest_every(config)] == ["", ""]
    partition(config)
    save_untrained(config, "photometry")
    infer_catalogue(config)
    return config


@pytest.fixture
def copy(finished: Config, tmp_path: Path) -> Copy:
    return copy_catalogue(finished, tmp_path)


def copy_catalogue(config: Config, folder: Path, **changes: Any) -> Copy:
    locations = config_to_dict(config)["locations"]
    folder = folder / "[a]*"
    shutil.copytree(locations["catalogue"], folder / "catalogue")
    shutil.copytree(locations["sources"], folder / "sources")
    locations |= {"catalogue": str(folder / "catalogue"), "sources": str(folder / "sources")}
    values = msgspec.json.decode(msgspec.json.encode(config_to_dict(config) | {"locations": locations} | changes))
    return Copy(convert_config(values))


def list_failed(report: AuditReport) -> set[str]:
    assert report.clean == (not report.findings)
    failed = {row.check for row in report.checks if row.verdict == "fail"}
    assert failed == {finding.check for finding in report.findings}
    assert all(finding.remedy for finding in report.findings)
    return failed


def get_findings(report: AuditReport, check: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.check == check]


def replace(rows: pa.Table, name: str, row: int, value: object) -> pa.Table:
    values = rows[name].to_pylist()
    values[row] = value
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, rows.schema.field(name), pa.array(values, rows.schema.field(name).type))


def drop(rows: pa.Table, row: int) -> pa.Table:
    return pa.concat_tables([rows.slice(0, row), rows.slice(row + 1)])


def test_a_finished_catalogue_passes(copy: Copy) -> None:
    report = copy.audit()
    assert list_failed(report) == set()
    assert {row.verdict for row in report.checks} == {"pass"}
    assert report.rows == report.source_rows == sum(len(copy.read(part)) for part in copy.partitions)
    no_redshift = sum(int(np.isnan(copy.read(part)["z_phot"].to_numpy()).sum()) for part in copy.partitions)
    assert report.rows - report.estimated == report.flags["ESTIMATE_FAILED"].rows == no_redshift == 2
    assert json.loads(Path(copy.config.locations.catalogue, "run", "audit.json").read_text()) == json.loads(
        json.dumps(asdict(report))
    )
    assert not list(Path(copy.config.locations.catalogue, "run").glob("audit-*"))
    assert "pass" in format_audit(report)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_engines_find_the_same(finished: Config, tmp_path: Path, ray_cluster: None, engine: str) -> None:
    tables = config_to_dict(finished)
    changes = {"engine": tables["engine"] | {"name": engine}}
    clean = copy_catalogue(finished, tmp_path / "clean", **changes)
    assert list_failed(clean.audit()) == set()
    damaged = copy_catalogue(finished, tmp_path / "damaged", **changes)
    part = damaged.partitions[0]
    damaged.write_with_records(part, drop(damaged.read(part), damaged.find_inner_row(part)))
    assert list_failed(damaged.audit()) == {"rows", "lost ids"}


def swap_two_pixels(copy: Copy) -> None:
    first, second = copy.partitions[0], copy.partitions[-1]
    rows = copy.read(first), copy.read(second)
    copy.write_with_records(first, rows[1])
    copy.write_with_records(second, rows[0])


def duplicate_an_id(copy: Copy) -> None:
    part, other = copy.partitions[0], copy.partitions[-1]
    known = copy.read(other)["object_id"].to_pylist()[copy.find_inner_row(other)]
    copy.write_with_records(part, replace(copy.read(part), "object_id", copy.find_inner_row(part), known))


def duplicate_a_row(copy: Copy) -> None:
    part = copy.partitions[0]
    rows, row = copy.read(part), copy.find_inner_row(part)
    copy.write_with_records(part, pa.concat_tables([rows.slice(0, row + 1), rows.slice(row)]))


def drop_a_row(copy: Copy) -> None:
    part = copy.partitions[0]
    copy.write_with_records(part, drop(copy.read(part), copy.find_inner_row(part)))


def invent_an_id(copy: Copy) -> None:
    part = copy.partitions[0]
    copy.write_with_records(part, replace(copy.read(part), "object_id", copy.find_inner_row(part), "nobody"))


def truncate_a_file(copy: Copy) -> None:
    path = copy.path(copy.partitions[0])
    path.write_bytes(path.read_bytes()[:-100])


def delete_a_file(copy: Copy) -> None:
    copy.path(copy.partitions[0]).unlink()


def change_a_redshift(copy: Copy) -> None:
    part = copy.partitions[0]
    copy.write(part, replace(copy.read(part), "z_phot", copy.find_inner_row(part), 0.123))


def change_ra_a_little(copy: Copy) -> None:
    part = copy.partitions[0]
    rows, row = copy.read(part), copy.find_inner_row(part)
    copy.write_with_records(part, replace(rows, "ra", row, rows["ra"][row].as_py() + 1e-5))


def change_ra_a_lot(copy: Copy) -> None:
    part = copy.partitions[0]
    rows, row = copy.read(part), copy.find_inner_row(part)
    copy.write_with_records(part, replace(rows, "ra", row, rows["ra"][row].as_py() + 10.0))


def lose_a_position(copy: Copy) -> None:
    part = copy.partitions[0]
    copy.write_with_records(part, replace(copy.read(part), "dec", copy.find_inner_row(part), float("nan")))


def change_mag_auto(copy: Copy) -> None:
    part = copy.partitions[0]
    copy.write_with_records(part, replace(copy.read(part), "mag_auto", copy.find_inner_row(part), float("nan")))


def unsort_a_file(copy: Copy) -> None:
    part = copy.partitions[0]
    rows = copy.read(part)
    copy.write_with_records(part, rows.take(pa.array(np.arange(len(rows))[::-1])))


def hide_a_failure(copy: Copy) -> None:
    part = copy.partitions[0]
    copy.write_with_records(part, replace(copy.read(part), "z_phot", copy.find_inner_row(part), float("nan")))


def lose_a_flag(copy: Copy) -> None:
    def flagged(rows: pa.Table) -> list[int]:
        return np.flatnonzero(rows["flags"].to_numpy() & Flag.BAND_NOT_DETECTED).tolist()

    near = copy.list_margin_ids()
    part, row = next(
        (part, row)
        for part in copy.partitions
        for row in flagged(copy.read(part))
        if copy.read(part)["object_id"][row].as_py() not in near
    )
    rows = copy.read(part)
    copy.write_with_records(part, replace(rows, "flags", row, rows["flags"][row].as_py() & ~Flag.BAND_NOT_DETECTED))


def lose_the_units(copy: Copy) -> None:
    part = copy.partitions[0]
    rows = copy.read(part)
    copy.write(part, rows.cast(pa.schema([pa.field(field.name, field.type) for field in rows.schema])))
    copy.update_record(part)


def count_wrongly(copy: Copy) -> None:
    part = copy.partitions[0]
    record = copy.read_record(part)
    copy.record_path(part).write_text(json.dumps(record | {"estimated": record["estimated"] - 1}))


def lose_a_record(copy: Copy) -> None:
    copy.record_path(copy.partitions[0]).unlink()


def tell_a_wrong_total(copy: Copy) -> None:
    path = Path(copy.config.locations.catalogue, PRIMARY, "hats.properties")
    total = sum(len(copy.read(part)) for part in copy.partitions)
    text = path.read_text()
    assert f"hats_nrows={total}\n" in text
    path.write_text(text.replace(f"hats_nrows={total}\n", f"hats_nrows={total - 1}\n"))


def lose_a_partition_from_the_list(copy: Copy) -> None:
    path = Path(copy.config.locations.catalogue, PRIMARY, "partition_info.csv")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def spoil_the_partition_list(copy: Copy) -> None:
    Path(copy.config.locations.catalogue, PRIMARY, "partition_info.csv").write_bytes(b"\xff\xfe\x00")


def spoil_the_parquet_metadata(copy: Copy) -> None:
    path = Path(copy.config.locations.catalogue, PRIMARY, "dataset", "_metadata")
    path.write_bytes(path.read_bytes()[:-20])


def lose_the_parquet_metadata(copy: Copy) -> None:
    Path(copy.config.locations.catalogue, PRIMARY, "dataset", "_metadata").unlink()


def leave_a_stray_file(copy: Copy) -> None:
    part = copy.partitions[0]
    stray = Partition(order=part.order, pixel=12)
    copy.path(stray).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(copy.path(part), copy.path(stray))


def leave_half_a_file(copy: Copy) -> None:
    copy.path(copy.partitions[0]).with_suffix(".parquet.0123.part").write_bytes(b"PAR1")


def find_margin(copy: Copy) -> Partition:
    return next(part for part in copy.partitions if copy.path(part, MARGIN).exists())


def change_a_margin_row(copy: Copy) -> None:
    part = find_margin(copy)
    copy.write(part, replace(copy.read(part, MARGIN), "z_phot", 0, 0.123), MARGIN)


def exchange_a_margin_row(copy: Copy) -> None:
    part = find_margin(copy)
    own, margin = copy.read(part), copy.read(part, MARGIN)
    row = copy.find_inner_row(part)
    copy.write(part, pa.concat_tables([own.slice(row, 1), drop(margin, 0)]), MARGIN)


def drop_a_margin_row(copy: Copy) -> None:
    part = find_margin(copy)
    copy.write(part, drop(copy.read(part, MARGIN), 0), MARGIN)


def delete_the_margin(copy: Copy) -> None:
    shutil.rmtree(Path(copy.config.locations.catalogue, MARGIN))


def unpublish(copy: Copy) -> None:
    Path(copy.config.locations.catalogue, "collection.properties").unlink()


def narrow_the_margin(copy: Copy) -> None:
    path = Path(copy.config.locations.catalogue, MARGIN, "hats.properties")
    text = path.read_text()
    assert "hats_margin_threshold=60.0" in text
    path.write_text(text.replace("hats_margin_threshold=60.0", "hats_margin_threshold=59.0"))


def truncate_the_sources(copy: Copy) -> None:
    path = Path(locate_partition(f"{copy.config.locations.sources}/{PRIMARY}", copy.partitions[0]))
    path.write_bytes(path.read_bytes()[:-100])


# fmt: off
DAMAGES: list[tuple[Callable[[Copy], None], set[str]]] = [
    (swap_two_pixels, {"pixels", "misplaced ids", "rows", "margin"}),
    (duplicate_an_id, {"duplicate ids", "lost ids"}),
    (duplicate_a_row, {"duplicate ids", "rows"}),
    (drop_a_row, {"lost ids", "rows"}),
    (invent_an_id, {"unknown ids", "lost ids"}),
    (truncate_a_file, {"files", "checksums"}),
    (delete_a_file, {"files"}),
    (change_a_redshift, {"checksums"}),
    (change_ra_a_little, {"positions", "columns"}),
    (change_ra_a_lot, {"positions", "pixels", "columns"}),
    (lose_a_position, {"positions", "pixels", "columns"}),
    (change_mag_auto, {"columns"}),
    (unsort_a_file, {"order"}),
    (hide_a_failure, {"flags", "p(z)"}),
    (lose_a_flag, {"flags"}),
    (lose_the_units, {"schema"}),
    (count_wrongly, {"records"}),
    (lose_a_record, {"records"}),
    (tell_a_wrong_total, {"metadata"}),
    (lose_a_partition_from_the_list, {"metadata"}),
    (spoil_the_partition_list, {"metadata"}),
    (lose_the_parquet_metadata, {"metadata"}),
    (spoil_the_parquet_metadata, {"metadata"}),
    (leave_a_stray_file, {"stray files"}),
    (leave_half_a_file, {"stray files"}),
    (change_a_margin_row, {"margin"}),
    (exchange_a_margin_row, {"margin"}),
    (drop_a_margin_row, {"margin", "metadata"}),  # the margin's own metadata counts the row still
    (delete_the_margin, {"margin", "metadata"}),
    (narrow_the_margin, {"margin"}),
    (unpublish, {"metadata"}),
    (truncate_the_sources, {"sources"}),
]
# fmt: on


@pytest.mark.parametrize(("damage", "expected"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_damage_is_found_for_what_it_is(copy: Copy, damage: Callable[[Copy], None], expected: set[str]) -> None:
    damage(copy)
    assert list_failed(copy.audit()) == expected


@pytest.mark.parametrize("damage", [swap_two_pixels, duplicate_an_id])
def test_the_official_validator_misses_it(copy: Copy, damage: Callable[[Copy], None]) -> None:
    assert is_valid_catalog(copy.config.locations.catalogue, strict=True)
    damage(copy)
    assert is_valid_catalog(copy.config.locations.catalogue, strict=True)
    assert not copy.audit().clean


def test_findings_name_partition_ids_and_remedy(copy: Copy) -> None:
    part, row = copy.partitions[0], copy.find_inner_row(copy.partitions[0])
    dropped = copy.read(part)["object_id"][row].as_py()
    copy.write_with_records(part, drop(copy.read(part), row))
    report = copy.audit()
    [lost] = get_findings(report, "lost ids")
    assert (lost.ids, lost.partition, lost.count) == ((dropped,), part.name, 1)
    assert "run jobs/infer_dr4.py again" in lost.remedy
    [rows] = get_findings(report, "rows")
    assert (rows.partition, rows.count) == (part.name, 1)
    assert dropped in format_audit(report)


def test_a_duplicate_is_named_once_with_both_partitions(copy: Copy) -> None:
    duplicate_an_id(copy)
    [finding] = get_findings(copy.audit(), "duplicate ids")
    assert finding.count == len(finding.ids) == 1
    assert copy.partitions[0].name in finding.detail
    assert copy.partitions[-1].name in finding.detail
    assert "the sources do not" in finding.detail


def test_a_duplicate_of_the_sources_is_told_as_such(copy: Copy) -> None:
    duplicate_an_id(copy)
    part = copy.partitions[0]
    source = Path(locate_partition(f"{copy.config.locations.sources}/{PRIMARY}", part))
    rows, ids = pq.read_table(source, partitioning=None), copy.read(part)["object_id"]
    order = {value: n for n, value in enumerate(rows["_healpix_29"].to_pylist())}
    position = [order[value] for value in copy.read(part)["_healpix_29"].to_pylist()]
    renamed = rows.take(pa.array(position)).set_column(rows.schema.get_field_index("object_id"), "object_id", ids)
    pq.write_table(renamed.cast(rows.schema), source)
    report = copy.audit()
    assert list_failed(report) == {"duplicate ids"}
    assert "the sources have them twice too" in report.findings[0].detail
    assert "leave each of these sources out of all catalogues but one" in report.findings[0].remedy


@pytest.mark.parametrize("damage", [swap_two_pixels, duplicate_an_id, duplicate_a_row, drop_a_row])
def test_many_buckets_find_the_same_ids(finished: Config, tmp_path: Path, damage: Callable[[Copy], None]) -> None:
    engine = config_to_dict(finished)["engine"] | {"memory_gib": 1e-5}
    copy = copy_catalogue(finished, tmp_path, engine=engine)
    rows = sum(len(copy.read(partition)) for partition in copy.partitions)
    assert len(plan_buckets("", rows, copy.config.engine.memory_gib)) > 3
    damage(copy)
    assert list_failed(copy.audit()) == dict(DAMAGES)[damage]


def test_ids_that_share_a_hash_are_told_apart(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one hash for all ids, no duplicate is invented, none is missed, and a strange id still comes to light."""
    for module in ("photoz.audit.ids", "photoz.hashes"):
        monkeypatch.setattr(f"{module}.hash_ids", lambda ids: np.zeros(len(list(ids)), np.uint64))
    assert copy.audit().clean
    invent_an_id(copy)
    [finding] = copy.audit().findings
    assert (finding.check, finding.partition) == ("misplaced ids", copy.partitions[0].name)
    duplicate_an_id(copy)
    assert "duplicate ids" in list_failed(copy.audit())


def test_any_changed_byte_is_found(copy: Copy) -> None:
    path = copy.path(copy.partitions[0])
    content = path.read_bytes()
    [task] = [task for task in copy.plan() if task.partition == copy.partitions[0]]

    @settings(max_examples=60, deadline=None)
    @given(place=st.integers(0, len(content) - 1), flip=st.integers(1, 255))
    def check(place: int, flip: int) -> None:
        path.write_bytes(content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])
        found = {
            finding.check
            for finding in audit_partition(
                copy.config.locations.catalogue, copy.config.locations.sources, task
            ).findings
        }
        assert "checksums" in found

    check()


def test_without_a_margin_none_is_asked_for(finished: Config, tmp_path: Path) -> None:
    sources = config_to_dict(finished)["sources"] | {"margin_arcsec": 0.0}
    copy = copy_catalogue(finished, tmp_path, sources=sources)
    delete_the_margin(copy)
    finish_collection(copy.config.locations.catalogue, name="tiny", margin=False)
    report = copy.audit()
    assert report.clean
    assert [row.check for row in report.checks if row.verdict == "not asked"] == ["margin"]


def test_nothing_to_audit_is_an_error(finished: Config, tmp_path: Path) -> None:
    locations = config_to_dict(finished)["locations"] | {"catalogue": str(tmp_path)}
    config = convert_config(
        msgspec.json.decode(msgspec.json.encode(config_to_dict(finished) | {"locations": locations}))
    )
    with pytest.raises(CatalogueError, match="no photo-z catalogue"):
        audit_catalogue(config)


def test_the_command_prints_the_checks_and_its_status_tells(copy: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(copy.config) == 0
    assert "fail" not in capsys.readouterr().out
    drop_a_row(copy)
    assert audit.main(copy.config) == 1
    printed = capsys.readouterr().out
    assert "lost ids       fail" in printed
    assert "remedy: " in printed


def test_empty_pixels_are_those_of_hats(finished: Config) -> None:
    partitions = list_partitions(finished.locations.catalogue)
    tree = PixelTree.from_healpix([HealpixPixel(part.order, part.pixel) for part in partitions])
    expected = {(int(pixel.order), int(pixel.pixel)) for pixel in compute_negative_tree_pixels(tree)}
    assert {(part.order, part.pixel) for part in Owners(partitions).list_empty_pixels()} == expected
