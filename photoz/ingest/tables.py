"""Catalogues in any table that `photoz.tables` reads: of one tile, or of many, whose sources go to their tiles."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pyarrow as pa

import photoz
from photoz.content import compute_key
from photoz.errors import ConfigError
from photoz.ingest.footprints import Footprint, assign_tiles
from photoz.ingest.staging import StagedRecord, read_staged, staged_location, staging_location, write_staged
from photoz.measured import Mask
from photoz.storage import JsonObject, join, list_folder, remove
from photoz.survey.fits import stamp_file
from photoz.survey.settings import Cut, Selection, Survey
from photoz.tables import (
    Table,
    TablePart,
    TableSurvey,
    check_columns,
    choose_columns,
    load_survey,
    open_survey_table,
    read_sources,
)
from photoz.tables.load import describe_survey
from photoz.views import gather_sources, list_read_bands, make_table_schema

_FORMAT = 2
"""Of the rows: a part that was staged in another is staged again."""


@dataclass(frozen=True, eq=False)
class Catalogue:
    """A table of sources, and what its columns mean.

    Parameters
    ----------
    table : Table
    meaning : TableSurvey
        With the selection's cuts among its own.
    schema : pyarrow.Schema
        Of the source catalogue that it gives.
    bands : tuple of str
        That are read.
    limit : float
        [mag(AB)] sources that are not brighter than this in total magnitude are left out; infinite: none is.
    bright : dict
        Stamp of the file that lists the sources to keep, and the cuts on it; empty: none does.
    """

    table: Table
    meaning: TableSurvey
    schema: pa.Schema
    bands: tuple[str, ...]
    limit: float
    bright: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class PartOfCatalogue:
    """What came of a part of a catalogue of many tiles.

    Parameters
    ----------
    name : str
        Of its staged rows.
    rows : int
        Staged.
    counts : dict of str to int
        Rows of the table by what became of them, as `photoz.tables.Converted` counts; ``off_tiles``: staged, and on no
        tile.
    """

    name: str
    rows: int
    counts: dict[str, int]


def open_catalogue(location: str, survey: Survey, selection: Selection, *, folder: str = "") -> Catalogue:
    """Open a catalogue whose columns ``survey.catalogue_survey`` tells the meaning of; no row is read.

    Parameters
    ----------
    location : str
        Of the table.
    survey : Survey
    selection : Selection
    folder : str
        Path or URL of the survey's files, in which ``selection.bright_sample`` lies.

    Raises
    ------
    ConfigError, TableError
        There is no such survey or table, it lacks a column, or has no total magnitude that a limit could be put on.
    """
    meaning = load_survey(survey.catalogue_survey)
    # The list of bright sources takes the place of the cuts of the settings, and not of those in the survey's file.
    cuts = () if selection.bright_sample else selection.cuts
    meaning = msgspec.structs.replace(meaning, cuts=(*meaning.cuts, *(text for cut in cuts for text in write_cut(cut))))
    table = open_survey_table(location, meaning)
    bands = list_read_bands(meaning, survey.bands)
    choice = choose_columns(meaning, table.schema.names, bands, table=location)
    if math.isfinite(selection.mag_auto_below) and choice.survey.total is None:
        raise ConfigError(
            f"selection.mag_auto_below = {selection.mag_auto_below} mag, and {location} has no total magnitude: name "
            f"it in [total] of survey.catalogue_survey = {survey.catalogue_survey!r}, or set "
            "selection.mag_auto_below = inf"
        )
    schema = make_table_schema(table, meaning, survey.bands)
    bright: JsonObject = {}
    if selection.bright_sample:
        cuts_on_list = [text for cut in selection.bright_cuts for text in write_cut(cut)]
        bright = {**stamp_file(join(folder, selection.bright_sample)).to_dict(), "cuts": cuts_on_list}
    return Catalogue(table, meaning, schema, bands, selection.mag_auto_below, bright)


def check_catalogue(catalogue: Catalogue) -> None:
    """Hold a catalogue against its survey's file, by a sample of its rows; raises as `photoz.tables.check_columns`."""
    check_columns(catalogue.table, catalogue.meaning, catalogue.bands, need=("position",))


def write_cut(cut: Cut) -> list[str]:
    """Write a condition of ``selection.cuts`` as a survey's file does.

    Examples
    --------
    >>> write_cut(Cut(column="CLASS_STAR", below=0.5)), write_cut(Cut(column="MASK", bits_clear=6))
    (['`CLASS_STAR` < 0.5'], ['(`MASK` & 6) == 0'])
    """
    name = f"`{cut.column}`"
    written = [(cut.equals, f"{name} == {cut.equals!r}"), (cut.below, f"{name} < {cut.below!r}")]
    written += [(cut.at_least, f"{name} >= {cut.at_least!r}"), (cut.bits_clear, f"({name} & {cut.bits_clear}) == 0")]
    return [text for value, text in written if value is not None]


def describe_catalogue(catalogue: Catalogue) -> JsonObject:
    """Describe what staged rows depend on beside the table's file, as it comes back from JSON."""
    described: JsonObject = {
        "format": _FORMAT,
        "survey": describe_survey(catalogue.meaning),
        "schema": catalogue.schema.names,
        "limit": str(catalogue.limit),
        "bright_sample": catalogue.bright,
    }
    plain: JsonObject = json.loads(json.dumps(described))
    return plain


def read_part(catalogue: Catalogue, part: TablePart, ids: Set[str] | None = None) -> tuple[pa.Table, Counter[str]]:
    """Read the selected sources of a part of a catalogue.

    Parameters
    ----------
    catalogue : Catalogue
    part : TablePart
        Of its table.
    ids : set of str, optional
        The only object_ids that are kept.

    Returns
    -------
    sources : pyarrow.Table
        Schema ``catalogue.schema``, sorted.
    counts : Counter
        Rows by what became of them, as `photoz.tables.Converted`; ``faint``: beyond the limit; ``not_listed``: not in
        ``ids``.

    Raises
    ------
    ConfigError, TableError
        As `photoz.tables.read_sources`.
    """
    counts: Counter[str] = Counter()
    batches = []
    for found in read_sources(catalogue.table, part, catalogue.meaning, catalogue.bands, positions=True):
        counts.update(found.counts)
        batch = found.table
        if math.isfinite(catalogue.limit):
            # NaN is below no limit: a source without a total magnitude is left out.
            batch = _keep(batch, batch["mag_auto"].to_numpy() < catalogue.limit, "faint", counts)
        if ids is not None:
            names = batch["object_id"].to_pylist()
            listed = np.fromiter((name in ids for name in names), dtype=bool, count=len(names))
            batch = _keep(batch, listed, "not_listed", counts)
        batches.append(batch)
    return gather_sources(batches, catalogue.schema), counts


def give_tiles(sources: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return sources with the names of their tiles, one a row."""
    place = sources.schema.get_field_index("tile")
    return sources.set_column(place, sources.schema.field(place), pa.array(names, pa.string()))


def stage_part(
    catalogue: Catalogue,
    footprints: Sequence[Footprint],
    read_ids: Callable[[], Set[str] | None],
    sources: str,
    task: tuple[int, TablePart],
) -> PartOfCatalogue:
    """Stage a part of a catalogue of many tiles, each source with its tile, unless it is there from the same.

    Parameters
    ----------
    catalogue : Catalogue
    footprints : sequence of Footprint
        Of the survey's finished tiles. A source that lies on none is staged with the tile "".
    read_ids : callable
        Gives the only object_ids that are kept, or None: in the worker, since a list may be long.
    sources : str
        Location of the source catalogue.
    task : (int, TablePart)
        Number of the part, and the part.

    Returns
    -------
    PartOfCatalogue
    """
    number, part = task
    name = name_part(number)
    location = staged_location(sources, name)
    key = describe_catalogue(catalogue) | {
        "source": stamp_file(part.location).to_dict(),
        "part": [part.start, part.stop],
        "footprints": compute_key([[each.tile, each.wcs, list(each.shape)] for each in footprints]),
    }
    known = read_staged(location)
    if known is not None and known.record.key == key:
        return PartOfCatalogue(name, known.num_rows, known.record.counts)
    rows, counts = read_part(catalogue, part, read_ids())
    found_N = assign_tiles(rows["ra"].to_numpy(), rows["dec"].to_numpy(), footprints)
    # The number of none, -1, is that of the last name.
    names = np.array([*(each.tile for each in footprints), ""], object)[found_N]
    counts["off_tiles"] = int((found_N < 0).sum())
    record = StagedRecord(
        key=key,
        rows=counts["rows"],
        rejected=counts["no_position"],
        counts=dict(counts),
        photoz=photoz.__version__,
    )
    write_staged(give_tiles(rows, names.tolist()), location, record)
    return PartOfCatalogue(name, len(rows), dict(counts))


def name_part(number: int) -> str:
    """Return the name of a part's staged rows.

    >>> name_part(7)
    'catalogue-000007'
    """
    return f"catalogue-{number:06d}"


def locate_shared(survey: Survey, folder: str) -> str:
    """Return the location of the catalogue of many tiles: a table, whose name may hold ``*``.

    >>> locate_shared(Survey(catalogue_file="objects/{tract}.parquet"), "s3://survey")
    's3://survey/objects/*.parquet'
    """
    name = re.sub(r"\{\w+\}", "*", survey.catalogue_file)
    return name if name.startswith("/") or "://" in name else join(folder, name)


def drop_parts(catalogue: Catalogue) -> Catalogue:
    """Return the catalogue without the list of its table's parts."""
    return replace(catalogue, table=replace(catalogue.table, parts=()))


def remove_other_parts(sources: str, count: int) -> None:
    """Remove what is staged of an earlier catalogue: of more parts, or of single tiles.

    Parameters
    ----------
    sources : str
        Location of the source catalogue.
    count : int
        Parts of the catalogue of many tiles; 0 where each tile has its own, and what is staged of them stays.
    """
    wanted = {staged_location(sources, name_part(number)) for number in range(count)}
    # Of single tiles nothing is wanted beside these: their sources would be in the catalogue twice.
    for location in list_folder(staging_location(sources), "*.parquet" if count else "catalogue-*.parquet"):
        # Only what a record of ours says is a tile's or a part's.
        if location not in wanted and read_staged(location) is not None:
            remove(location)


def _keep(batch: pa.Table, keep_N: Mask, reason: str, counts: Counter[str]) -> pa.Table:
    counts[reason] += int((~keep_N).sum())
    return batch.filter(pa.array(keep_N))
