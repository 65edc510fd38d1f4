"""What an audit checks, and what it reports where a check fails."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

FIRST_IDS = 5
"""Ids that a finding names; its count says how many there are."""

_REDO = "run jobs/infer_dr4.py again: it redoes every partition whose file does not match its record"
# Here the file is the one that its record describes, so a run would find nothing to do: the record has to go first.
_REDO_ALL = "remove the partition's file in run/records, then run jobs/infer_dr4.py again"
# Without collection.properties the run takes the catalogue for unpublished and completes it again; no row is estimated.
_REPUBLISH = "remove collection.properties, then run jobs/infer_dr4.py again: it writes metadata and margin anew"
_INGEST = "run jobs/ingest_dr4.py, then jobs/infer_dr4.py again"
TWICE_IN_SOURCES = (
    "the catalogue is as its sources are: leave each of these sources out of all catalogues but one of the survey (or "
    "all rows but one of the table), or name a column in which they differ (survey.columns.object_id, or identifier in "
    "the survey's file), then make sources and catalogue again (photoz ingest and photoz infer, or photoz estimate); "
    "or accept them with --set table.duplicates=keep"
)
"""What helps where the sources themselves have an identifier twice."""


@dataclass(frozen=True)
class Check:
    """One property of a catalogue that the audit proves or refutes."""

    proves: str
    remedy: str


CHECKS: dict[str, Check] = {
    "files": Check("every partition has a file that can be read", _REDO),
    "checksums": Check("every file is the one its completion record describes", _REDO),
    "records": Check("rows, redshifts and flags of every partition are those its completion record counts", _REDO_ALL),
    "schema": Check("columns, types, units and descriptions are those of the photo-z catalogue", _REDO_ALL),
    "positions": Check("_healpix_29 is the pixel that ra and dec say", _REDO_ALL),
    "pixels": Check("every row lies in the pixel of its file", _REDO_ALL),
    "order": Check("the rows of a file are sorted by _healpix_29", _REDO_ALL),
    "rows": Check("every partition has as many rows as its sources, and so has the whole", _REDO_ALL),
    "lost ids": Check("every source is in the catalogue", _REDO_ALL),
    "unknown ids": Check("every row is one of the sources", _REDO_ALL),
    "duplicate ids": Check("no id comes twice, unless such are kept (table.duplicates)", _REDO_ALL),
    "misplaced ids": Check("every source is in the partition it has in the source catalogue", _REDO_ALL),
    "columns": Check("ra, dec, mag_auto, tile and object_id are the sources'", _REDO_ALL),
    "flags": Check("z_phot is NaN exactly where ESTIMATE_FAILED is set, and no flag of a source is lost", _REDO_ALL),
    "p(z)": Check(
        "quantiles do not fall, the limits are among them, odds lie in 0 to 1, and none is missing where z_phot is not;"
        " OUTSIDE_TRAINING is set exactly where training_distance is above 1",
        _REDO_ALL,
    ),
    "metadata": Check("properties, partition list and Parquet metadata say what the files hold", _REPUBLISH),
    "margin": Check("each margin holds its neighbours' rows near the border, and nothing else", _REPUBLISH),
    "stray files": Check("dataset folders hold no file that the metadata does not list", "remove the file"),
    "sources": Check("the source catalogue itself can be read", _INGEST),
}


@dataclass(frozen=True)
class Finding:
    """One way in which a catalogue is not what it must be.

    Parameters
    ----------
    check : str
        Key of ``CHECKS``.
    partition : str
        ``Norder=3_Npix=271``; "" for the catalogue as a whole.
    detail : str
        What is wrong, with figures.
    count : int
        Rows, ids or files concerned.
    ids : tuple of str
        The first few of them.
    remedy : str
        What to do about it.
    """

    check: str
    partition: str
    detail: str
    count: int = 1
    ids: tuple[str, ...] = ()
    remedy: str = ""


def make_finding(
    check: str, partition: str, detail: str, *, count: int = 1, ids: Iterable[Any] = (), remedy: str = ""
) -> Finding:
    """Make a finding with the remedy of its check, or another.

    Parameters
    ----------
    check : str
        Key of `CHECKS`.
    partition, detail, count
        As of `Finding`.
    ids : iterable
        Of what is concerned; at most ``FIRST_IDS`` are kept.
    remedy : str
        "": that of the check.

    Returns
    -------
    Finding
    """
    # Ids may come from damaged columns as None or numbers; the report is JSON. `zip` ends with the shorter.
    first = tuple(str(value) for value, _ in zip(ids, range(FIRST_IDS), strict=False))
    return Finding(check, partition, detail, count, first, remedy or CHECKS[check].remedy)
