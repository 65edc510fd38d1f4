"""The catalogue part of a tile's ingest: its selected sources, staged for the partitioning."""

import json
import logging
from functools import lru_cache

import msgspec
import numpy as np
import numpy.typing as npt

import photoz
from photoz.errors import SurveyFileError
from photoz.ingest.outcome import PartOutcome
from photoz.ingest.staging import StagedRecord, read_staged, write_staged
from photoz.measured import describe_implausible
from photoz.storage import JsonObject, join, remove
from photoz.survey.files import TileFiles
from photoz.survey.fits import FileStamp, base_name, stamp_file
from photoz.survey.settings import Columns, Selection, Survey
from photoz.survey.sources import compute_mean_extinction, make_sources, read_catalogue, read_zeropoint_offsets
from photoz.survey.table import FitsTable, read_table

logger = logging.getLogger(__name__)

# Of the rows: a tile that was staged in another is staged again. 1, which no key told, held magnitudes.
_FORMAT = 2
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
    SurveyFileError
        A file is missing or damaged, or does not hold what the settings say. Rows staged before are removed then.
    """
    try:
        # Within the try: a catalogue that is gone from the survey must not leave its rows staged.
        key = _make_key(tile, survey, selection, folder)
        known = read_staged(staged)
        # A record that does not tell the rejected rows is of a version that staged them as if they had a position.
        if known is not None and known.record.key == key and known.record.rejected is not None:
            return PartOutcome("skipped", sources=known.num_rows, rejected=known.record.rejected)
        catalogue = read_catalogue(tile.catalogue, survey, selection)
        # Before any row is staged: the images' part reads them from the record, and never opens the catalogue.
        offsets = read_zeropoint_offsets(catalogue, survey)
        ids = read_bright_ids(folder, survey, selection)
        found = make_sources(catalogue, tile.name, survey, selection, bright_ids=ids)
    except SurveyFileError:
        # Rows of a file that is bad by now would be partitioned with the others, and nobody would know.
        remove(staged)
        raise
    _warn_of_rejected(tile.name, catalogue, found.rejected, survey.columns)
    if said := describe_implausible(found.implausible):
        logger.warning("%s: values that are no measurement, taken for missing, sources by band: %s", tile.name, said)
    record = StagedRecord(
        key=key,
        sha256=catalogue.sha256,
        rows=len(catalogue),
        rejected=len(found.rejected),
        offsets=offsets,
        extinction=compute_mean_extinction(catalogue, survey),
        photoz=photoz.__version__,
    )
    # Rows and record in one file, so that no crash can leave the one without the other.
    write_staged(found.table, staged, record)
    return PartOutcome("done", sources=found.table.num_rows, rejected=len(found.rejected))


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
    return base_name(survey.catalogue_file.format(ra=tile.ra, dec=tile.dec))


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
        The file is missing or damaged, or lacks the column.
    """
    if not selection.bright_sample:
        return None
    location = join(folder, selection.bright_sample)
    # The stamp is part of the cache's key: a worker that lives on reads a file anew that was replaced since.
    return _load_ids(location, survey.columns.object_id, stamp_file(location))


@lru_cache(maxsize=1)
def _load_ids(location: str, column: str, _stamp: FileStamp) -> frozenset[str]:
    # 1.2 million identifiers serve every tile that this process ingests.
    table = read_table(location, {column: "survey.columns.object_id, in selection.bright_sample"})
    return frozenset(str(identifier).strip() for identifier in table.columns[column])


def _make_key(tile: TileFiles, survey: Survey, selection: Selection, folder: str) -> JsonObject:
    """What the staged rows depend on: the file and the settings."""
    require_catalogue(tile, survey)
    values = msgspec.to_builtins(survey)
    key = {
        "format": _FORMAT,
        "source": stamp_file(tile.catalogue).to_dict(),
        # Not all of survey: another pixel scale or file name would stage a thousand tiles again for the same rows.
        "survey": {name: values[name] for name in _KEY_SETTINGS},
        "selection": msgspec.to_builtins(selection),
    }
    if selection.bright_sample:
        # Its name stands in selection already; another file under the same name keeps other rows.
        key["bright_sample"] = stamp_file(join(folder, selection.bright_sample)).to_dict()
    # As it comes back from the file, where tuples have become lists.
    plain: JsonObject = json.loads(json.dumps(key))
    return plain


def _warn_of_rejected(tile: str, catalogue: FitsTable, rejected: npt.NDArray[np.intp], names: Columns) -> None:
    if not len(rejected):
        return
    # One row by name tells a wrong column from a few bad sources; all of them may be 100,000 lines.
    first = [catalogue.columns[name][rejected[0]] for name in (names.object_id, names.ra, names.dec)]
    problem = "%s: %d selected rows have no position and are left out, the first %s with %s deg, %s deg; if they "
    remedy = "are not a few, correct survey.columns.ra = %r and survey.columns.dec = %r"
    logger.warning(problem + remedy, tile, len(rejected), *first, names.ra, names.dec)
