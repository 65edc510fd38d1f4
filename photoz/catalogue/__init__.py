"""HATS catalogues: partitions, margins, metadata."""

from photoz.catalogue.hats import Partition, list_partitions, read_partition

__all__ = ["Partition", "list_partitions", "read_partition"]
