"""The audit: clean on a real catalogue, and the right finding for each kind of damage to a copy of it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import save_untrained
from hats.io.validation import is_valid_catalog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_survey import make_catalogue, make_config, write_catalogue, write_survey

from cluster.audit import audit_catalogue
from cluster.infer import infer_catalogue
from cluster.partitioning import partition_sources
from photoz.audit import format_audit, plan_audit
from photoz.catalogue import MARGIN, PRIMARY, Partition, finish_catalogue, list_partitions, locate_partition
from photoz.config import Config, config_to_dict, convert_config
from photoz.ingest import ingest_tile
from photoz.schema import Flag, make_catalogue_schema
from photoz.storage import compute_checksum
from photoz.survey.kids import find_tiles

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
        return {str(value) for file in files for value in pq.read_table(file, partitioning=None)["object_id"].to_pylist()}

    def find_inner_row(self, partition: Partition) -> int:
        """Find a row that is in no margin, so that damage to it concerns the primary table alone."""
        near = self.list_margin_ids()
        return next(n for n, value in enumerate(self.read(partition)["object_id"].to_pylist()) if value not in near)

    def audit(self) -> dict[str, Any]:
        return audit_catalogue(self.config)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two tiles whose 300 bright sources spread over half a degree each: some 15 partitions with rows in margins."""
    folder = tmp_path_factory.mktemp("audit")
    survey = write_survey(folder, ("180.0_-0.5", "180.5_-0.5"), shape=(64, 64))
    for seed, tile in enumerate(survey.catalogues):
        table = make_catalogue(tile, 200, width_deg=0.5, seed=seed)
        write_catalogue(survey.path(tile, "ugriZYJHKs_cat"), table)
    sources = {"rows_per_partition": 40, "highest_order": 9, "margin_arcsec": MARGIN_ARCSEC}
    config = make_config(folder, sources=sources, engine={"name": "serial"}, inference={"estimator": "photometry"})
    assert [ingest_tile(config, tile)["problem"] for tile in find_tiles(config)] == ["", ""]
    partition_sources(config)
    save_untrained(config, "photometry")
    infer_catalogue(config)
    return config


@pytest.fixture
def copy(finished: Config, tmp_path: Path) -> Copy:
    return copy_catalogue(finished, tmp_path)


def copy_catalogue(config: Config, folder: Path, **settings: Any) -> Copy:
    locations = config_to_dict(config)["locations"]
    shutil.copytree(locations["catalogue"], folder / "catalogue")
    shutil.copytree(locations["sources"], folder / "sources")
    locations |= {"catalogue": str(folder / "catalogue"), "sources": str(folder / "sources")}
    values = msgspec.json.decode(msgspec.json.encode(config_to_dict(config) | {"locations": locations} | settings))
    return Copy(convert_config(values))


def list_failed(report: dict[str, Any]) -> set[str]:
    assert report["clean"] == (not report["findings"])
    failed = {row["check"] for row in report["checks"] if row["verdict"] == "fail"}
    assert failed == {finding["check"] for finding in report["findings"]}
    assert all(finding["remedy"] for finding in report["findings"])
    return failed


def get_findings(report: dict[str, Any], check: str) -> list[dict[str, Any]]:
    return [finding for finding in report["findings"] if finding["check"] == check]


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
    assert {row["verdict"] for row in report["checks"]} == {"pass"}
    assert report["rows"] == report["source_rows"] == sum(len(copy.read(part)) for part in copy.partitions)
    no_redshift = sum(int(np.isnan(copy.read(part)["z_phot"].to_numpy()).sum()) for part in copy.partitions)
    assert report["rows"] - report["estimated"] == report["flags"]["ESTIMATE_FAILED"]["rows"] == no_redshift == 2
    assert json.loads(Path(copy.config.locations.catalogue, "run", "audit.json").read_text()) == report
    assert not list(Path(copy.config.locations.catalogue, "run").glob("audit-*"))
    assert "pass" in format_audit(report)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_engines_find_the_same(finished: Config, tmp_path: Path, ray_cluster: None, engine: str) -> None:
    tables = config_to_dict(finished)
    settings = {"engine": tables["engine"] | {"name": engine}}
    clean = copy_catalogue(finished, tmp_path / "clean", **settings)
    assert list_failed(clean.audit()) == set()
    damaged = copy_catalogue(finished, tmp_path / "damaged", **settings)
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
    (hide_a_failure, {"flags"}),
    (lose_a_flag, {"flags"}),
    (lose_the_units, {"schema"}),
    (count_wrongly, {"records"}),
    (lose_a_record, {"records"}),
    (tell_a_wrong_total, {"metadata"}),
    (lose_a_partition_from_the_list, {"metadata"}),
    (lose_the_parquet_metadata, {"metadata"}),
    (leave_a_stray_file, {"stray files"}),
    (leave_half_a_file, {"stray files"}),
    (change_a_margin_row, {"margin"}),
    (exchange_a_margin_row, {"margin"}),
    (narrow_the_margin, {"margin"}),
    (truncate_the_sources, {"sources"}),
]
# fmt: on


@pytest.mark.parametrize(("damage", "expected"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_damage_is_found_for_what_it_is(copy: Copy, damage: Callable[[Copy], None], expected: set[str]) -> None:
    damage(copy)
    assert list_failed(copy.audit()) == expected
