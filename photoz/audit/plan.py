"""What an audit has to do: one task a pixel, planned from the partition lists alone."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from hats.catalog import PartitionInfo

from photoz.catalogue.hats import MARGIN, PRIMARY, Partition, locate_partition, read_properties
from photoz.catalogue.neighbours import Owners, find_margin_order
from photoz.catalogue.records import locate_in_run
from photoz.errors import CatalogueError
from photoz.schema import find_algorithm, list_carried, make_catalogue_schema
from photoz.sources import list_source_partitions, read_source_schema
from photoz.storage import exists, join, make_upath, open_file


@dataclass(frozen=True)
class AuditTask:
    """One HEALPix pixel to audit, small enough to send anywhere.

    Parameters
    ----------
    partition : Partition
        A partition, or a pixel beside the survey's edge that has a margin only.
    in_sources, in_catalogue : bool
        Which of the two catalogues lists it as a partition.
    neighbours : tuple of Partition
        Partitions with pixels in the margin's ring around this one.
    margin_order : int
        HEALPix order of the ring's pixels; -1 when there is no margin to check.
    spill : str
        Folder for the hashes of ids.
    algorithm : str
        Estimator whose p(z) the catalogue holds; "" for none.
    carried : tuple of pyarrow.Field
        Columns of the sources that go with the rows (`photoz.schema.list_carried`).
    """

    partition: Partition
    in_sources: bool
    in_catalogue: bool
    neighbours: tuple[Partition, ...]
    margin_order: int
    spill: str
    algorithm: str
    carried: tuple[pa.Field, ...] = ()

    @property
    def schema(self) -> pa.Schema:
        """What the catalogue's files must have."""
        return make_catalogue_schema(self.algorithm, self.carried)


def plan_audit(catalogue: str, sources: str) -> list[AuditTask]:
    """Plan the audit of the photo-z catalogue against its source catalogue.

    Parameters
    ----------
    catalogue, sources : str
        The photo-z catalogue and its source catalogue (HATS).

    Returns
    -------
    list of AuditTask
        For every partition of either catalogue, and every pixel beside them that must have a margin.

    Raises
    ------
    CatalogueError
        There is no source catalogue, or nothing at all where the photo-z catalogue should be.
    """
    # The sources must be finished, or nothing could be proven; the catalogue may be as damaged as it likes, down to a
    # missing list.
    of_sources = list_source_partitions(sources)
    if not exists(join(catalogue, PRIMARY)):
        raise CatalogueError(
            f"no photo-z catalogue at {catalogue!r}: run jobs/infer_dr4.py, or set locations.catalogue"
        )
    listed = read_partition_list(join(catalogue, PRIMARY))
    margin_order = choose_margin_order(catalogue)
    # Of both: a partition that the catalogue's list lost still has rows that belong in its neighbours' margins.
    owners = Owners({*of_sources, *listed})
    # Pixels that the margin itself lists come with those that must have one, so that a margin in excess is audited as
    # well.
    around = [*owners.list_edge_pixels(), *read_partition_list(join(catalogue, MARGIN))] if margin_order >= 0 else []
    # A name of its own: of two audits of one catalogue at a time, each would else read the other's hashes.
    spill = locate_in_run(catalogue, f"audit-{uuid.uuid4().hex}")
    in_sources, in_catalogue = set(of_sources), set(listed)
    carried = tuple(list_carried(read_source_schema(sources)))
    algorithm = _find_algorithm(catalogue, [*listed, *of_sources])  # the list may be spoiled
    return [
        AuditTask(
            partition=partition,
            in_sources=partition in in_sources,
            in_catalogue=partition in in_catalogue,
            # By the short ring: any as deep as the partitions finds the same neighbours as the margin's own, which has
            # thousands of pixels.
            neighbours=owners.find_neighbours(partition) if margin_order >= 0 else (),
            margin_order=margin_order,
            spill=spill,
            algorithm=algorithm,
            carried=carried,
        )
        for partition in sorted({*owners.partitions, *around})
    ]


def _find_algorithm(location: str, partitions: Iterable[Partition]) -> str:
    """Return the estimator whose p(z) the first partition that can be read holds; the others must hold the same."""
    for partition in partitions:
        try:
            with open_file(locate_partition(join(location, PRIMARY), partition)) as file:
                return find_algorithm(pq.read_schema(file).names)
        except (OSError, pa.ArrowException, UnicodeDecodeError):  # damage is for this partition's own task to report
            continue
    return ""


def read_partition_list(table: str) -> list[Partition]:
    """Read the partitions that ``partition_info.csv`` of a table lists; none where no such file can be read."""
    # `hats` would make the list up from the files that are there, and so agree with any damage.
    if not exists(join(table, "partition_info.csv")):
        return []
    try:
        pixels = PartitionInfo.read_from_dir(make_upath(table)).get_healpix_pixels()
    except (ValueError, KeyError):
        return []
    return [Partition(order=int(pixel.order), pixel=int(pixel.pixel)) for pixel in pixels]


def choose_margin_order(location: str) -> int:
    """Return the HEALPix order of the pixels that the margin is made of; -1 without a margin."""
    properties = read_properties(join(location, MARGIN))
    # The threshold of the margin that is there, not of the settings: rows are compared with what it says it holds.
    if properties is None or not properties.margin_threshold:
        return -1
    return find_margin_order(properties.margin_threshold)
