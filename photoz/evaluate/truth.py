"""The test galaxies of a table of spectroscopic redshifts, found in a catalogue by identifier or by position.

What is held grows with the table of redshifts; catalogue and sources are read a partition at a time.
"""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.spatial import cKDTree

from photoz.catalogue.hats import list_partitions, locate_primary, read_partition
from photoz.catalogue.records import read_past_run
from photoz.errors import CatalogueError, EvaluationError, PhotozError
from photoz.evaluate.galaxies import Galaxies, RowReader, read_magnitudes
from photoz.evaluate.settings import Evaluation, Truth
from photoz.metrics import FloatArray
from photoz.sources import is_view, list_source_partitions, read_source_schema, read_sources
from photoz.storage import exists, join
from photoz.survey.wcs import compute_vectors
from photoz.tables import TableSurvey, check_columns, load_survey, open_survey_table
from photoz.tables import read_sources as read_part
from photoz.tables.settings import Extinction
from photoz.training.crossmatch import match_sky

logger = logging.getLogger(__name__)

Indices = npt.NDArray[np.int64]

_SET_ASIDE = {
    "cut": "are left out by the survey's cuts",
    "no_identifier": "have no identifier",
    "no_position": "have no position",
    "no_redshift": "have no redshift",
    "low_quality": "have a redshift of too little quality",
    "redshift_out_of_range": "have a redshift out of the survey's range",
}
_WIDER = 1 + 1e-6
"""Of the search for rows that may match, so that rounding loses none; `match_sky` decides."""


@dataclass(frozen=True, eq=False)
class _Redshifts:
    """M galaxies of a table, those of one identifier once.

    Parameters
    ----------
    object_id : pyarrow.Array of string, or None
        None where they are looked for by their position.
    position : (ndarray, ndarray) of float64, each of shape (M,)
        [deg]; empty where they are looked for by their identifier.
    z_spec : ndarray of float64, shape (M,)
    repeated : int
        Rows left out because their identifier had come before.
    notes : list of str
        What became of other rows.
    """

    object_id: pa.Array | None
    position: tuple[FloatArray, FloatArray]
    z_spec: FloatArray
    repeated: int
    notes: list[str]


@dataclass(frozen=True, eq=False)
class _Found:
    """What a catalogue holds of M galaxies: identifiers, null for none; mag_auto [mag], NaN for none; what to tell."""

    object_id: pa.Array
    mag_auto: FloatArray
    notes: list[str]


def read_truth_galaxies(settings: Evaluation, catalogue: str, sources: str) -> Galaxies:
    """Read the galaxies of ``evaluation.truth`` and find them in a catalogue.

    Parameters
    ----------
    settings : Evaluation
        Its ``truth`` and ``colour``.
    catalogue : str
        Photo-z catalogue (HATS). Others that are compared with it are looked through by its identifiers.
    sources : str
        Source catalogue, for the colours: as in `open_source_rows`.

    Returns
    -------
    Galaxies
        Every galaxy with a redshift, in the table's order, also where the catalogue lacks it. Total magnitudes are the
        catalogue's, colours those of its sources; both NaN where there are none, which the notes say.

    Raises
    ------
    ConfigError, TableError
        The table is missing or damaged, or is not what its survey's file says.
    CatalogueError
        The catalogue is missing or damaged.
    EvaluationError
        No galaxy of the table has a redshift, or none is in the catalogue.
    """
    truth = settings.truth
    redshifts = _read_redshifts(truth)
    by_id = redshifts.object_id is not None
    found = _find_by_id(catalogue, redshifts) if by_id else _find_by_position(catalogue, redshifts, truth)
    notes = [*redshifts.notes, *found.notes]
    if not np.isfinite(found.mag_auto).any():
        notes.append("The catalogue has no total magnitude of them: there are no bins of magnitude")
    galaxies = Galaxies(
        object_id=found.object_id,
        z_spec=redshifts.z_spec,
        mag_auto=found.mag_auto,
        colour=np.full(len(redshifts.z_spec), np.nan),
        repeated=redshifts.repeated,
        truth=truth.table,
    )
    colour_N, without = _read_colours(open_source_rows(catalogue, sources), galaxies, settings.colour)
    notes += [without] if without else []
    for note in notes:
        logger.warning("%s: %s", truth.table, note)
    return replace(galaxies, colour=colour_N, notes=tuple(notes))


def open_source_rows(catalogue: str, sources: str) -> RowReader:
    """Return what reads the sources of a catalogue: those of the run that made it, else ``sources``.

    It raises `CatalogueError` where neither is there, or columns are not.
    """
    recorded = read_past_run(catalogue).config.get("locations")
    own = recorded.get("sources") if isinstance(recorded, dict) else None
    places = [place for place in (own, sources) if isinstance(place, str) and place]
    there = [place for place in places if is_view(place) or exists(join(locate_primary(place), "hats.properties"))]
    return partial(_read_source_rows, there[0] if there else "")


def _read_source_rows(sources: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    if not sources:
        raise CatalogueError("the sources of the catalogue are not there: set locations.sources to them")
    names = read_source_schema(sources).names
    # Of sources that do not say which columns they have, partitions tell.
    if names and (missing := [name for name in columns if name not in names]):
        raise CatalogueError(f"the sources {sources} have no {', '.join(missing)}")
    for partition in list_source_partitions(sources):
        yield read_sources(sources, partition, columns=columns)


def _read_redshifts(truth: Truth) -> _Redshifts:
    survey = _choose_survey(truth)
    table = open_survey_table(truth.table, survey)
    by_id = truth.join == "id"
    check_columns(table, survey, need=("z_spec",) if by_id else ("z_spec", "position"))
    counts: Counter[str] = Counter()
    columns = ["object_id", "z_spec"] if by_id else ["ra", "dec", "z_spec"]
    kept = []
    for part in table.parts:
        for found in read_part(table, part, survey, positions=not by_id):
            counts.update(found.counts)
            rows = found.table.select(columns)
            kept.append(rows.filter(pc.is_finite(rows["z_spec"])))
    galaxies = pa.concat_tables(kept).combine_chunks() if kept else None
    lost = [f"{counts[key]:,} of {counts['rows']:,} rows {text}" for key, text in _SET_ASIDE.items() if counts[key]]
    if galaxies is None or not len(galaxies):
        raise EvaluationError(
            f"{truth.table}: no row has a redshift to measure with ({'; '.join(lost)}): correct z_spec, its quality or "
            "the cuts in the survey's file (evaluation.truth.survey)"
        )
    z_N = galaxies["z_spec"].to_numpy().astype(np.float64)
    if not by_id:
        ra_N, dec_N = (galaxies[name].to_numpy() for name in ("ra", "dec"))
        return _Redshifts(None, (ra_N, dec_N), z_N, 0, lost)
    first_K = _find_first(galaxies["object_id"])
    repeated = len(z_N) - len(first_K)
    if repeated:
        lost.append(f"{repeated:,} rows repeat an identifier: the first one counts")
    object_id = galaxies["object_id"].take(pa.array(first_K)).combine_chunks()
    return _Redshifts(object_id, (np.empty(0), np.empty(0)), z_N[first_K], repeated, lost)


def _choose_survey(truth: Truth) -> TableSurvey:
    """Return the table's survey with what a redshift needs: such tables often have no photometry."""
    survey = load_survey(truth.survey or "plain")
    changes: dict[str, Any] = {"bands": (), "photometry": (), "extinction": Extinction(), "total": None}
    # Repeated identifiers are told below, over all parts. Of what is matched by position they are nobody's business.
    changes |= {"tile": "", "carry": (), "duplicates": "keep"}
    changes |= {"ra": "", "dec": ""} if truth.join == "id" else {"identifier": ()}
    return msgspec.structs.replace(survey, **changes)


def _find_first(identifiers: pa.ChunkedArray) -> Indices:
    """Return the rows whose identifier no row before them has."""
    # By number and not as text, of which Python would make an object each.
    codes = identifiers.combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    return np.sort(first)


def _find_by_id(catalogue: str, redshifts: _Redshifts) -> _Found:
    sought = Galaxies(redshifts.object_id, redshifts.z_spec, *_make_nothing(redshifts), repeated=0)
    found_N, mag_N = np.zeros(len(sought), bool), np.full(len(sought), np.nan)
    other = ""
    for table in _read_catalogue(catalogue, ["object_id"]):
        index, rows = sought.match(table["object_id"])
        fresh = ~found_N[index]
        mag_N[index[fresh]] = _read_magnitude(table)[rows[fresh]]
        found_N[index] = True
        other = other or (str(table["object_id"][0].as_py()) if len(table) else "")
    if not found_N.any():
        raise EvaluationError(
            f"the catalogue {catalogue} (one of its identifiers: {other!r}) holds none of the {len(sought):,} galaxies "
            f"with a redshift (one of them: {sought.object_id[0].as_py()!r}): name the column of identifiers in the "
            "survey's file (evaluation.truth.survey), or match by position with evaluation.truth.join = 'position'"
        )
    missing = int((~found_N).sum())
    notes = [f"The catalogue lacks {missing:,} of the {len(sought):,} galaxies with a redshift"] if missing else []
    return _Found(redshifts.object_id, mag_N, notes)


def _find_by_position(catalogue: str, redshifts: _Redshifts, truth: Truth) -> _Found:
    """Match one to one over the whole catalogue: only rows near a galaxy are held, whatever partition they are in."""
    tree, reach = cKDTree(compute_vectors(*redshifts.position)), _compute_chord(truth.radius_arcsec) * _WIDER
    near = []
    for table in _read_catalogue(catalogue, ["object_id", "ra", "dec"]):
        table = table.append_column("mag", pa.array(_read_magnitude(table)))
        ra_N, dec_N = (table[name].to_numpy() for name in ("ra", "dec"))
        table = table.filter(pa.array(np.isfinite(ra_N) & np.isfinite(dec_N)))
        separation_N, _ = tree.query(
            compute_vectors(table["ra"].to_numpy(), table["dec"].to_numpy()), distance_upper_bound=reach
        )
        near.append(table.filter(pa.array(np.isfinite(separation_N))).select(["object_id", "ra", "dec", "mag"]))
    count = len(redshifts.z_spec)
    rows = pa.concat_tables(near).combine_chunks() if near else None
    if rows is None or not len(rows):
        raise EvaluationError(
            f"no row of the catalogue {catalogue} lies within {truth.radius_arcsec:g} arcsec of any of the {count:,} "
            f"galaxies with a redshift: do both cover the same sky, and is evaluation.truth.radius_arcsec right?"
        )
    place = rows["ra"].to_numpy(), rows["dec"].to_numpy()
    galaxy_K, row_K, _ = match_sky(redshifts.position, place, radius_arcsec=truth.radius_arcsec)
    # A catalogue may hold an identifier twice, and a galaxy stands for one row of it alone.
    first_K = _find_first(rows["object_id"].take(pa.array(row_K)))
    galaxy_K, row_K = galaxy_K[first_K], row_K[first_K]
    place_N = np.full(count, -1)
    place_N[galaxy_K] = row_K
    chosen = pa.array(place_N, mask=place_N < 0)
    candidates_N = cKDTree(compute_vectors(*place)).query_ball_point(
        compute_vectors(*redshifts.position), _compute_chord(truth.radius_arcsec), return_length=True
    )
    return _Found(
        object_id=rows["object_id"].cast(pa.string()).take(chosen).combine_chunks(),
        mag_auto=np.where(place_N < 0, np.nan, rows["mag"].to_numpy()[place_N]),
        notes=_describe_matches(place_N >= 0, candidates_N, truth.radius_arcsec),
    )


def _describe_matches(matched_N: npt.NDArray[np.bool_], candidates_N: Indices, radius_arcsec: float) -> list[str]:
    within = f"within {radius_arcsec:g} arcsec"
    told = {
        f"galaxies with a redshift have no row of the catalogue {within}": ~matched_N & (candidates_N == 0),
        f"galaxies have rows of the catalogue {within} that are nearer to others: they have none": ~matched_N
        & (candidates_N > 0),
        f"galaxies have several rows of the catalogue {within}: they have the nearest that is no other's": matched_N
        & (candidates_N > 1),
    }
    return [f"{int(rows_N.sum()):,} of {len(rows_N):,} {text}" for text, rows_N in told.items() if rows_N.any()]


def _read_catalogue(catalogue: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Read columns of a catalogue a partition at a time, and ``mag_auto`` where it has it."""
    partitions = list_partitions(catalogue)
    if not partitions:
        return
    # The first partition stands for all, as everywhere.
    there = read_partition(catalogue, partitions[0]).column_names
    read = [*columns, *(["mag_auto"] if "mag_auto" in there else [])]
    for partition in partitions:
        yield read_partition(catalogue, partition, columns=read)


def _read_magnitude(table: pa.Table) -> FloatArray:
    if "mag_auto" not in table.column_names:
        return np.full(len(table), np.nan)
    return np.asarray(table["mag_auto"].to_numpy(), np.float64)


def _read_colours(rows: RowReader, galaxies: Galaxies, colour: tuple[str, str]) -> tuple[FloatArray, str]:
    """Return colours [mag], and why there are none; "" where there are."""
    blue, red = colour
    try:
        blue_N, red_N = read_magnitudes(rows, galaxies, colour).T
    # Sources may be gone, or of other bands: the rest of the figures does not need them.
    except PhotozError as error:
        return np.full(len(galaxies), np.nan), f"There are no bins of colour {blue} - {red}: {error}"
    known = np.isfinite(blue_N - red_N).any()
    return blue_N - red_N, "" if known else f"There are no bins of colour {blue} - {red}: the sources have none of them"


def _make_nothing(redshifts: _Redshifts) -> tuple[FloatArray, FloatArray]:
    nothing = np.full(len(redshifts.z_spec), np.nan)
    return nothing, nothing


def _compute_chord(radius_arcsec: float) -> float:
    return 2 * math.sin(math.radians(radius_arcsec / 3600) / 2)
