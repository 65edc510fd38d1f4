"""A small photo-z catalogue with p(z), its sources and its completion records, to audit whole or damaged."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tiny_catalogues import make_pdfs, make_sky, write_photoz

from photoz.audit import AuditTask, PartitionAudit, audit_partition, plan_audit
from photoz.audit.checks import count_values
from photoz.catalogue.hats import PRIMARY, Partition, list_partitions, locate_partition, read_partition
from photoz.catalogue.records import Record, write_record
from photoz.storage import compute_checksum

ALGORITHM = "double"


@dataclass(frozen=True)
class Sample:
    """Where a catalogue and its sources lie."""

    catalogue: str
    sources: str

    @property
    def partitions(self) -> list[Partition]:
        return list_partitions(self.catalogue)

    def locate(self, partition: Partition) -> str:
        return locate_partition(f"{self.catalogue}/{PRIMARY}", partition)

    def read(self, partition: Partition) -> pa.Table:
        return read_partition(self.catalogue, partition)

    def write(self, partition: Partition, rows: pa.Table) -> None:
        """Replace a file, and its record to match."""
        pq.write_table(rows, self.locate(partition))
        self.record(partition)

    def record(self, partition: Partition) -> None:
        counted, checksum = count_values(self.read(partition)), compute_checksum(self.locate(partition))
        write_record(self.catalogue, Record(partition.order, partition.pixel, "key", sha256=checksum, **vars(counted)))

    def plan(self) -> list[AuditTask]:
        return plan_audit(self.catalogue, self.sources)

    def audit(self, partition: Partition) -> PartitionAudit:
        [task] = [task for task in self.plan() if task.partition == partition]
        return audit_partition(self.catalogue, self.sources, task)


def make_sample(folder: Path, count: int = 300) -> Sample:
    """Write a catalogue of a few partitions that an audit finds clean."""
    sample = Sample(str(folder / "catalogue"), str(folder / "sources"))
    sky = make_sky(count)
    z_phot, pdf = make_pdfs(sky, width=0.02, claimed=0.02)
    write_photoz(sample.catalogue, sky, z_phot, pdf=pdf, algorithm=ALGORITHM)
    write_photoz(sample.sources, sky, z_phot)
    for partition in sample.partitions:
        sample.record(partition)
    return sample


def replace_column(rows: pa.Table, name: str, values: np.ndarray | pa.Array | list) -> pa.Table:
    """Put other values into a column, of the same type and metadata."""
    place, field = rows.schema.get_field_index(name), rows.schema.field(name)
    return rows.set_column(place, field, pa.array(values, field.type))


def change_value(rows: pa.Table, name: str, row: int, value: object) -> pa.Table:
    """Change one value of a column."""
    values = rows[name].to_pylist()
    values[row] = value
    return replace_column(rows, name, values)
