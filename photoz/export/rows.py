"""The rows that are exported, a partition at a time, and what must be known of them all before the first is written."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from photoz.catalogue.hats import Partition, list_partitions, locate_partition, locate_primary, read_partition
from photoz.catalogue.quantiles import filter_rows
from photoz.errors import CatalogueError, ConfigError
from photoz.export.settings import Export
from photoz.schema import QUANTILES, Flag, find_algorithm
from photoz.storage import open_file

# No zero in front, which a number would lose; 19 digits may be too many, which the cast tells.
_WHOLE = r"^(0|-?[1-9][0-9]{0,18})$"


@dataclass(frozen=True)
class Selection:
    """Rows and columns of a catalogue, in the order of its partitions on the sky.

    Parameters
    ----------
    catalogue : str
    partitions : tuple of Partition
    schema : pyarrow.Schema
        Of the chosen columns.
    algorithm : str
        Whose p(z) the catalogue holds; "" for none.
    unwanted : int
        Bits of the flags that leave a row out.
    estimated : bool
        Leave out what has no z_phot.
    """

    catalogue: str
    partitions: tuple[Partition, ...]
    schema: pa.Schema
    algorithm: str
    unwanted: int
    estimated: bool

    @property
    def quantiles(self) -> str:
        """Name of the column of stored quantiles; "" where there is none."""
        return f"{self.algorithm}_{QUANTILES}" if self.algorithm else ""

    def read(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Read the rows, a table a partition.

        Parameters
        ----------
        columns : sequence of str, optional
            Other ones than those chosen.

        Raises
        ------
        CatalogueError
            A partition is missing, damaged or of other columns than the first.
        """
        names = list(self.schema.names if columns is None else columns)
        filters = self._list_filters()
        for partition in self.partitions:
            table = read_partition(
                self.catalogue, partition, columns=[*names, *(name for name in filters if name not in names)]
            )
            if filters:
                table = filter_rows(table, self._choose(table))
            yield table.select(names)

    def _list_filters(self) -> list[str]:
        return ["flags"] * bool(self.unwanted) + ["z_phot"] * self.estimated

    def _choose(self, table: pa.Table) -> np.ndarray:
        kept_N = np.ones(len(table), dtype=bool)
        if self.unwanted:
            kept_N &= (pc.fill_null(table["flags"], 0).to_numpy() & self.unwanted) == 0
        if self.estimated:
            kept_N &= np.isfinite(table["z_phot"].to_numpy())
        return kept_N


@dataclass(frozen=True)
class Extent:
    """What formats with fields of fixed width must know first.

    Parameters
    ----------
    rows : int
    widths : dict of str to int
        [byte] longest value of each column of text, at least 1.
    whole : frozenset of str
        Columns of text whose every value is a whole number that 64 bits hold.
    with_null : frozenset of str
        Columns of whole numbers that lack some.
    """

    rows: int
    widths: dict[str, int] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    with_null: frozenset[str] = frozenset()


def select_rows(catalogue: str, settings: Export) -> Selection:
    """Find what the settings choose of a catalogue.

    Raises
    ------
    CatalogueError
        There is no finished catalogue, or no row in it.
    ConfigError
        A column or a flag is none.
    """
    partitions = list_partitions(catalogue)
    if not partitions:
        raise CatalogueError(f"{catalogue} has no partition: there is nothing to export")
    schema = _read_schema(catalogue, partitions[0])
    names = settings.columns or tuple(schema.names)
    if doubled := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError(f"export.columns has {doubled[0]!r} more than once: name each column once")
    for name in names:
        if name not in schema.names:
            near = difflib.get_close_matches(name, schema.names, 1) or ["none is like it"]
            raise ConfigError(f"export.columns has {name!r}, the catalogue {schema.names}; nearest: {near[0]}")
    unknown = [name for name in settings.exclude_flags if name not in Flag.__members__]
    if unknown:
        raise ConfigError(f"export.exclude_flags has {unknown}; the flags are {list(Flag.__members__)}")
    return Selection(
        catalogue=catalogue,
        partitions=tuple(partitions),
        schema=pa.schema([schema.field(name) for name in names]),
        algorithm=find_algorithm(schema.names),
        unwanted=sum({int(Flag[name]) for name in settings.exclude_flags}),
        estimated=settings.estimated,
    )


def measure_rows(selection: Selection) -> Extent:
    """Read what of the rows must be known before the first is written: their number and how wide text is."""
    schema = selection.schema
    texts = [each.name for each in schema if is_text(each.type)]
    numbers = [each.name for each in schema if pa.types.is_integer(each.type) or pa.types.is_boolean(each.type)]
    # One column at the least, or there would be no rows to count.
    columns = [*texts, *numbers] or schema.names[:1]
    rows, widths, whole, with_null = 0, dict.fromkeys(texts, 1), set(texts), set[str]()
    for table in selection.read(columns):
        rows += len(table)
        for name in texts:
            widths[name] = max(widths[name], pc.max(pc.binary_length(table[name])).as_py() or 1)
            if name in whole and not _is_whole(table[name]):
                whole.remove(name)
        with_null.update(name for name in numbers if table[name].null_count)
    return Extent(rows, widths, frozenset(whole) if rows else frozenset(), frozenset(with_null))


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column holds text, in either of Arrow's types."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_whole(column: pa.ChunkedArray) -> bool:
    if not pc.all(pc.fill_null(pc.match_substring_regex(column, _WHOLE), False), min_count=0).as_py():
        return False
    try:
        column.cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def _read_schema(catalogue: str, partition: Partition) -> pa.Schema:
    # Of the first partition, which stands for all.
    name = locate_partition(locate_primary(catalogue), partition)
    try:
        with open_file(name) as file:
            return pq.read_schema(file)
    except (FileNotFoundError, pa.ArrowException, OSError) as error:
        raise CatalogueError(f"cannot read {name} ({error}): remove it and run the job again") from error
