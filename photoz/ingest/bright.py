"""The list of bright sources (the KiDS-Bright file): which of a catalogue's are kept, and what it knows of them."""

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from photoz.errors import ConfigError, SurveyFileError
from photoz.storage import join
from photoz.survey.fits import FileStamp, stamp_file
from photoz.survey.settings import Cut, Selection, Survey
from photoz.survey.sources import apply_cut, read_identifiers
from photoz.survey.table import read_table


def read_bright_ids(folder: str, survey: Survey, selection: Selection) -> frozenset[str] | None:
    """Read the object_ids of ``selection.bright_sample``.

    Parameters
    ----------
    folder : str
        Path or URL of the survey's files.
    survey : Survey
        Names the column.
    selection : Selection

    Returns
    -------
    frozenset of str, or None
        None where no such sample is asked for.

    Raises
    ------
    SurveyFileError
        The file is missing or damaged, lacks the column, or holds no identifiers in it.
    """
    if not selection.bright_sample:
        return None
    location = join(folder, selection.bright_sample)
    # The stamp is part of the cache's key: a worker that lives on reads a file anew that was replaced since.
    return _load_ids(location, survey.columns.object_id, selection.bright_cuts, stamp_file(location))


def keep_bright_columns(sources: pa.Table, folder: str, survey: Survey, selection: Selection) -> pa.Table:
    """Add ``selection.bright_columns`` of the list to rows of sources, found by their identifiers.

    Parameters
    ----------
    sources : pyarrow.Table
        Rows of the source catalogue, all of them of the list.
    folder : str
        Path or URL of the survey's files.
    survey : Survey
    selection : Selection

    Returns
    -------
    pyarrow.Table
        The same rows, with the columns behind their own, in the list's types.

    Raises
    ------
    SurveyFileError
        As `read_bright_ids`; the list lacks one of the columns.
    ConfigError
        The sources have a column of that name.
    """
    if not selection.bright_columns:
        return sources
    if doubled := [name for name in selection.bright_columns if name in sources.column_names]:
        raise ConfigError(f"selection.bright_columns names {doubled}, which the source catalogue has: leave it out")
    location = join(folder, selection.bright_sample)
    known = _load_columns(location, survey.columns.object_id, selection.bright_columns, stamp_file(location))
    place_N = pc.index_in(sources["object_id"].combine_chunks(), known["object_id"])
    for name in selection.bright_columns:
        sources = sources.append_column(name, known[name].take(place_N))
    return sources


@lru_cache(maxsize=1)
def _load_ids(location: str, column: str, cuts: tuple[Cut, ...], _stamp: FileStamp) -> frozenset[str]:
    # 1.2 million identifiers serve every tile that this process ingests.
    wanted = {cut.column: "selection.bright_cuts" for cut in cuts}
    table = read_table(location, wanted | {column: "survey.columns.object_id, in selection.bright_sample"})
    keep = np.ones(len(table), bool)
    for cut in cuts:
        keep &= apply_cut(cut, table)
    # As those of the catalogues are read: an identifier that is a double here and a whole number there is one.
    return frozenset(read_identifiers(table, column)[keep].tolist()) - {""}


@lru_cache(maxsize=1)
def _load_columns(location: str, column: str, names: tuple[str, ...], _stamp: FileStamp) -> pa.Table:
    wanted = dict.fromkeys(names, "selection.bright_columns")
    table = read_table(location, wanted | {column: "survey.columns.object_id, in selection.bright_sample"})
    arrays = {"object_id": pa.array(read_identifiers(table, column).tolist(), pa.string())}
    for name in names:
        values = np.asarray(table.columns[name])
        if values.ndim != 1:
            raise SurveyFileError(f"{location}: column {name} (selection.bright_columns) holds more than a value a row")
        # In native order, which Arrow asks for; FITS has the other.
        arrays[name] = pa.array(values.astype(values.dtype.newbyteorder("=")))
    return pa.table(arrays)
