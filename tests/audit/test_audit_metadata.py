"""The audit of what speaks of the whole: each file that is missing, wrong or damaged is told once, by its name."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audited import Sample, make_sample

from photoz.audit.findings import Finding
from photoz.audit.metadata import _NEEDED, audit_metadata
from photoz.catalogue.hats import PRIMARY


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path, 100)


def audit(sample: Sample, *, margin_arcsec: float = 0.0, change: int = 0) -> list[Finding]:
    rows = {partition: len(sample.read(partition)) for partition in sample.partitions}
    rows[next(iter(rows))] += change
    return audit_metadata(sample.catalogue, rows, margin_arcsec=margin_arcsec)


def table(sample: Sample) -> Path:
    return Path(sample.catalogue, PRIMARY)


def test_a_catalogue_as_it_was_finished_is_clean(sample: Sample) -> None:
    assert audit(sample) == []


@pytest.mark.parametrize("file", _NEEDED)
def test_each_file_that_is_needed_is_told_when_it_is_missing(sample: Sample, file: str) -> None:
    rows = {partition: len(sample.read(partition)) for partition in sample.partitions}
    (table(sample) / file).unlink()
    details = [finding.detail for finding in audit_metadata(sample.catalogue, rows, margin_arcsec=0.0)]
    assert details == [f"{PRIMARY}/{file} is missing"]


def test_other_rows_than_the_files_hold_are_told_by_total_and_by_file(sample: Sample) -> None:
    found = audit(sample, change=1)
    assert [finding.detail for finding in found] == [
        f"{PRIMARY}: hats_nrows is 100, its files hold 101 rows",
        f"{PRIMARY}/dataset/_metadata counts other rows for 1 files than they hold",
    ]
    assert found[1].ids[0].startswith("Norder=4/")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [(slice(0, -1), "lacks 1 partitions"), (slice(0, None), "repeats 1 partitions")],
)
def test_the_partition_list_is_held_against_the_files(sample: Sample, lines: slice, problem: str) -> None:
    listed = table(sample) / "partition_info.csv"
    text = listed.read_text().splitlines()
    kept = text[lines] if "lacks" in problem else [*text, text[-1]]
    rows = {partition: len(sample.read(partition)) for partition in sample.partitions}
    listed.write_text("\n".join(kept) + "\n")
    [finding] = audit_metadata(sample.catalogue, rows, margin_arcsec=0.0)
    assert finding.detail == f"{PRIMARY}/partition_info.csv {problem}"
    assert finding.count == len(finding.ids) == 1


def test_a_file_that_nobody_lists_is_told_with_its_own_remedy(sample: Sample) -> None:
    (table(sample) / "dataset" / "notes.txt").write_text("left over")
    [finding] = audit(sample)
    assert (finding.check, finding.ids, finding.remedy) == (
        "stray files",
        (f"{PRIMARY}/dataset/notes.txt",),
        "remove the file",
    )


def test_files_that_hats_passes_over_are_no_strays(sample: Sample) -> None:
    (table(sample) / "dataset" / "data_thumbnail.parquet").write_bytes(b"")
    assert audit(sample) == []


@pytest.mark.parametrize("name", ["_metadata", "_common_metadata"])
def test_damaged_metadata_is_told_and_not_raised(sample: Sample, name: str) -> None:
    (table(sample) / "dataset" / name).write_bytes(b"PAR1 and no more")
    [finding] = audit(sample)
    assert finding.detail.startswith(f"{PRIMARY}/dataset/_metadata or _common_metadata is damaged: ")


def test_a_schema_of_other_units_is_told(sample: Sample) -> None:
    file = table(sample) / "dataset" / "_common_metadata"
    schema = pq.read_schema(file)
    pq.write_metadata(pa.schema([pa.field(item.name, item.type) for item in schema]), file)
    [finding] = audit(sample)
    assert finding.detail == f"the schema in {PRIMARY}/dataset/_common_metadata is not the catalogue's"


def test_a_collection_without_its_properties_is_not_published(sample: Sample) -> None:
    Path(sample.catalogue, "collection.properties").unlink()
    [finding] = audit(sample)
    assert finding.detail == "collection.properties is missing: the catalogue is not published"
    assert "it writes metadata and margin anew" in finding.remedy


def test_tables_that_the_collection_names_and_those_there_are_differ(sample: Sample) -> None:
    Path(sample.catalogue, "margin").mkdir()
    told = [finding.detail for finding in audit(sample) if finding.detail.startswith("collection.properties")]
    assert told == [
        f"collection.properties names the tables ['{PRIMARY}'], the folder holds {sorted([PRIMARY, 'margin'])}"
    ]


def test_a_margin_that_was_asked_for_is_missed(sample: Sample) -> None:
    [finding] = audit(sample, margin_arcsec=7.5)
    assert finding.detail == "there is no margin; sources.margin_arcsec asks for 7.5 arcsec"
