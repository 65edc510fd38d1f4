"""The catalogue part of a tile's ingest: its selected sources, staged for the partitioning."""

import json
import logging
from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import photoz
from photoz.errors import ConfigError, SurveyFileError, TableError
from photoz.ingest.bright import keep_bright_columns, read_bright_ids
from photoz.ingest.outcome import PartOutcome
from photoz.ingest.staging import StagedRecord, read_staged, write_staged
from photoz.ingest.tables import give_tiles, open_catalogue, read_part
from photoz.measured import describe_implausible
from photoz.schema import HEALPIX_COLUMN
from photoz.storage import JsonObject, join, remove
from photoz.survey.files import TileFiles, fill_name
from photoz.survey.fits import base_name, stamp_file
from photoz.survey.settings import Columns, Selection, Survey
from photoz.survey.sources import (
    TileSources,
    compute_mean_extinction,
    make_sources,
    read_catalogue,
    read_identifiers,
    read_zeropoint_offsets,
)
from photoz.survey.table import FitsTable
from photoz.tables import load_survey
from photoz.tables.load import describe_survey

logger = logging.getLogger(__name__)

# Of the rows: a tile that was staged in another is staged again. 1, which no key told, held magnitudes, 2 rows
# without an identifier, and 3 what stands beneath masks.
_FORMAT = 4
_KEY_SETTINGS = (
    "bands",
    "image_bands",
    "columns",
    "not_detected",
    "not_observed",
    "magnitudes_dereddened",
    "mag_auto_band",
    "mag_auto_dereddened",
    "mag_auto_offset_sign",
    "zeropoint_offset",
    "tile",
)
"""Of ``survey``, those that the staged rows depend on: a change of another does not stage them again."""


def ingest_catalogue(tile: TileFiles, survey: Survey, selection: Selection, *, folder: str, staged: str) -> PartOutcome:
    """Stage the selected sources of a tile, unless they are there from the same file and settings.

    Parameters
    ----------
    tile : TileFiles
        From `photoz.survey.files.find_tiles`.
    survey : Survey
    selection : Selection
    folder : str
        Path or URL of the survey's files, in which ``selection.bright_sample`` lies.
    staged : str
        Where the rows go, from `photoz.ingest.staging.staged_location`.

    Returns
    -------
    PartOutcome
        "done" or "skipped", with the rows staged and rejected.

    Raises
    ------
    SurveyFileError, TableError, ConfigError
        A file is missing or damaged, or does not hold what the settings say. Rows staged before are removed then.
    """
    try:
        # Within the try: a catalogue that is gone from the survey must not leave its rows staged.
        key = _make_key(tile, survey, selection, folder)
        known = read_staged(staged)
        # A record that does not tell the rejected rows is of a version that staged them as if they had a position.
        if known is not None and known.record.key == key and known.record.rejected is not None:
            return PartOutcome("skipped", sources=known.num_rows, rejected=known.record.rejected)
        if survey.catalogue_survey:
            table, record = _read_any_table(tile, survey, selection, folder)
        else:
            table, record = _read_columns(tile, survey, selection, folder)
        table = keep_bright_columns(table, folder, survey, selection)
    except (SurveyFileError, TableError, ConfigError):
        # Rows of a file that is bad by now would be partitioned with the others, and nobody would know.
        remove(staged)
        raise
    record = replace(record, key=key)
    # Rows and record in one file, so that no crash can leave the one without the other.
    write_staged(table, staged, record)
    return PartOutcome("done", sources=table.num_rows, rejected=record.rejected or 0)


def _read_any_table(
    tile: TileFiles, survey: Survey, selection: Selection, folder: str
) -> tuple[pa.Table, StagedRecord]:
    """Read the tile's sources from a table that ``survey.catalogue_survey`` tells the meaning of."""
    catalogue = open_catalogue(tile.catalogue, survey, selection, folder=folder)
    ids, counts, read = read_bright_ids(folder, survey, selection), Counter[str](), []
    for part in catalogue.table.parts:
        rows, found = read_part(catalogue, part, ids)
        read.append(rows)
        counts.update(found)
    order = [(HEALPIX_COLUMN, "ascending"), ("object_id", "ascending")]
    rows = pa.concat_tables([catalogue.schema.empty_table(), *read]).sort_by(order)
    record = StagedRecord(
        rows=counts["rows"], rejected=counts["no_position"], counts=dict(counts), photoz=photoz.__version__
    )
    return give_tiles(rows, [tile.name] * len(rows)), record


def _read_columns(tile: TileFiles, survey: Survey, selection: Selection, folder: str) -> tuple[pa.Table, StagedRecord]:
    """Read the tile's sources from a FITS table with ``survey.columns``."""
    catalogue = read_catalogue(tile.catalogue, survey, selection)
    # Before any row is staged: the images' part reads them from the record, and never opens the catalogue.
    offsets = read_zeropoint_offsets(catalogue, survey)
    ids = read_bright_ids(folder, survey, selection)
    found = make_sources(catalogue, tile.name, survey, selection, bright_ids=ids)
    _warn_of_rejected(tile.name, catalogue, found.rejected, survey.columns)
    _warn_of_values(tile.name, found)
    record = StagedRecord(
        sha256=catalogue.sha256,
        rows=len(catalogue),
        rejected=len(found.rejected),
        offsets=offsets,
        extinction=compute_mean_extinction(catalogue, survey),
        photoz=photoz.__version__,
    )
    return found.table, record


def require_catalogue(tile: TileFiles, survey: Survey) -> None:
    """Refuse a tile without a catalogue.

    Raises
    ------
    SurveyFileError
        Naming the file that is missing.
    """
    if not tile.catalogue:
        raise SurveyFileError(f"the catalogue {name_catalogue(tile, survey)} is missing")


def name_catalogue(tile: TileFiles, survey: Survey) -> str:
    """Return the name that the tile's catalogue should have."""
    return base_name(fill_name(survey.catalogue_file, survey, tile.places))


def _make_key(tile: TileFiles, survey: Survey, selection: Selection, folder: str) -> JsonObject:
    """What the staged rows depend on: the file and the settings."""
    require_catalogue(tile, survey)
    values = msgspec.to_builtins(survey)
    key = {
        "format": _FORMAT,
        "source": stamp_file(tile.catalogue).to_dict(),
        # Not all of survey: another pixel scale or file name would stage a thousand tiles again for the same rows.
        "survey": {name: values[name] for name in _KEY_SETTINGS},
        "selection": _describe_selection(selection),
    }
    if survey.catalogue_survey:
        # The file and not its name: what it says of the columns may change.
        key["catalogue_survey"] = describe_survey(load_survey(survey.catalogue_survey))
    if selection.bright_sample:
        # Its name stands in selection already; another file under the same name keeps other rows.
        key["bright_sample"] = stamp_file(join(folder, selection.bright_sample)).to_dict()
    # As it comes back from the file, where tuples have become lists.
    plain: JsonObject = json.loads(json.dumps(key))
    return plain


def _warn_of_values(tile: str, found: TileSources) -> None:
    if said := describe_implausible(found.implausible):
        logger.warning("%s: values that are no measurement, taken for missing, sources by band: %s", tile, said)
    if found.repeated:
        remedy = "set survey.not_detected or survey.not_observed to it where that stands for no measurement"
        logger.warning("%s: %s: %s", tile, found.repeated, remedy)


def _describe_selection(selection: Selection) -> JsonObject:
    described: JsonObject = msgspec.to_builtins(selection)
    # Without those of a list that has none: tiles that were staged before there were any stay.
    return {name: value for name, value in described.items() if value or name not in ("bright_cuts", "bright_columns")}


def _warn_of_rejected(tile: str, catalogue: FitsTable, rejected: npt.NDArray[np.intp], names: Columns) -> None:
    nameless_N = read_identifiers(catalogue, names.object_id, rejected) == ""
    if nameless_N.any():
        problem = "%s: %d selected rows have no identifier and are left out; if they are not a few, correct "
        logger.warning(problem + "survey.columns.object_id = %r", tile, nameless_N.sum(), names.object_id)
    unplaced = rejected[~nameless_N]
    if not len(unplaced):
        return
    # One row by name tells a wrong column from a few bad sources; all of them may be 100,000 lines.
    first = [catalogue.columns[name][unplaced[0]] for name in (names.object_id, names.ra, names.dec)]
    problem = "%s: %d selected rows have no position and are left out, the first %s with %s deg, %s deg; if they "
    remedy = "are not a few, correct survey.columns.ra = %r and survey.columns.dec = %r"
    logger.warning(problem + remedy, tile, len(unplaced), *first, names.ra, names.dec)
