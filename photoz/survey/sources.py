"""A tile's multi-band catalogue to source rows: selection, magnitudes to fluxes, one schema."""

from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hats.pixel_math.spatial_index import compute_spatial_index

from photoz.errors import SurveyFileError
from photoz.measured import (
    Sentinels,
    convert_magnitudes,
    describe_repeated_magnitudes,
    find_sentinels,
    flag_bands,
    is_plausible_error,
    is_plausible_extinction,
    is_plausible_magnitude,
)
from photoz.schema import HEALPIX_COLUMN, make_source_schema, name_fluxes
from photoz.survey.fits import refuse_damaged
from photoz.survey.positions import find_positions, wrap_ra
from photoz.survey.settings import Columns, Cut, Selection, Survey
from photoz.survey.systems import read_frame, require_icrs
from photoz.survey.table import IDENTIFIERS, NUMBERS, FitsTable, check_column, read_table
from photoz.survey.units import convert_to_degrees, require_magnitudes

_OF_MAGNITUDES = ("survey.columns.mag", "survey.columns.extinction", "survey.columns.limit")
"""How the settings begin that name columns of magnitudes and of their errors."""
_LARGEST_OFFSET = 5.0
"""[mag] Homogenisation moves a zero point by hundredths; by -99, a sentinel, all sources would be bright."""


@dataclass(frozen=True, eq=False)
class TileSources:
    """A tile's sources, and what of its catalogue could not be used.

    Parameters
    ----------
    table : pyarrow.Table
        Schema `photoz.schema.make_source_schema`; sorted by ``_healpix_29`` and object_id; ra in [0, 360) deg.
    rejected : ndarray of intp
        Rows of the catalogue that are selected and left out, since they have no position (`find_positions`) or no
        identifier.
    implausible : mapping of str to int
        By band, selected sources with a value that is no measurement (`photoz.measured`) and so is missing; by
        "mag_auto", rows of the catalogue.
    repeated : str
        Which magnitudes so many selected sources share exactly that they may be a sentinel; "" for none.
    """

    table: pa.Table
    rejected: npt.NDArray[np.intp]
    implausible: Mapping[str, int] = field(default_factory=dict)
    repeated: str = ""


def list_catalogue_columns(survey: Survey, selection: Selection) -> dict[str, str]:
    """List the catalogue columns that the settings ask for: column -> the setting that names it."""
    names = survey.columns
    wanted = {
        getattr(names, key): f"survey.columns.{key}" for key in ("object_id", "ra", "dec", "mag_auto", "magerr_auto")
    }
    for band in survey.bands:
        # The limit is none of a survey's columns unless it is named.
        for key in ("mag", "magerr", *(["limit"] if names.limit else [])):
            wanted[getattr(names, key).format(band=band)] = f"survey.columns.{key}, band {band} of survey.bands"
        if not survey.magnitudes_dereddened:
            # Asked for only where it is subtracted, so that a survey without such columns can be read.
            wanted[names.extinction.format(band=band)] = "survey.columns.extinction, as magnitudes_dereddened is false"
    if not survey.mag_auto_dereddened:
        column = names.extinction.format(band=survey.mag_auto_band)
        wanted.setdefault(column, "survey.columns.extinction, as mag_auto_dereddened is false")
    # The sample's list takes the place of the cuts, and a catalogue that goes with it may lack their columns.
    if not selection.bright_sample:
        wanted |= {cut.column: "selection.cuts" for cut in selection.cuts if cut.column not in wanted}
    return wanted


def read_catalogue(location: str, survey: Survey, selection: Selection) -> FitsTable:
    """Read the columns of a tile's catalogue that the settings ask for.

    Parameters
    ----------
    location : str
        Of the FITS file.
    survey : Survey
        Its ``columns`` and ``bands`` name most of them.
    selection : Selection
        Its ``cuts`` name the others.

    Returns
    -------
    FitsTable
        Values as the file has them, sentinels and NaN too, but for positions, which are in degrees.

    Raises
    ------
    SurveyFileError
        As `photoz.survey.table.read_table`, or a column has no number, or no single one, a row, or a unit that is
        none of what is asked for; or the header says that positions are in another frame than ICRS.
    """
    wanted = list_catalogue_columns(survey, selection)
    catalogue = read_table(location, wanted)
    for column, setting in wanted.items():
        # Some surveys number their sources: an identifier may be an integer or text, and becomes text.
        kinds = IDENTIFIERS if column == survey.columns.object_id else NUMBERS
        check_column(catalogue, column, setting, kinds)
    _check_identifiers(catalogue, survey.columns.object_id)
    require_icrs(read_frame(catalogue.header), catalogue.name)
    return _convert_units(_fill_nulls(catalogue, wanted, survey.columns), wanted, survey.columns)


def make_sources(
    catalogue: FitsTable, tile: str, survey: Survey, selection: Selection, *, bright_ids: Set[str] | None = None
) -> TileSources:
    """Select a tile's sources and bring them into the schema of the source catalogue.

    Parameters
    ----------
    catalogue : FitsTable
        From `read_catalogue`.
    tile : str
        Name of the tile.
    survey : Survey
        Columns, bands, sentinels and what the magnitudes are corrected for already.
    selection : Selection
        The magnitude limit and the cuts.
    bright_ids : set of str, optional
        Keep these object_ids in place of ``selection.cuts``.

    Returns
    -------
    TileSources

    Raises
    ------
    SurveyFileError
        The header holds something else than a number where the zero-point offset should be, or a cut asks for bits of
        a column that holds none.
    """
    names = survey.columns
    auto = _read_mag_auto(catalogue, survey)
    # Selected first: rows without a position count as lost only where they would have been kept.
    selected = np.flatnonzero(select_sources(catalogue, survey, selection, bright_ids=bright_ids))
    identifiers = read_identifiers(catalogue, names.object_id, selected)
    placed_N = find_positions(catalogue.columns[names.ra], catalogue.columns[names.dec])
    usable = placed_N[selected] & (identifiers != "")
    # Rows of the file and not of the selection, so that a warning can show the first of them as it stands there.
    rows, rejected = selected[usable], selected[~usable]
    columns = {name: values[rows] for name, values in catalogue.columns.items()}
    ra, dec = wrap_ra(columns[names.ra]), columns[names.dec].astype(float)
    table: dict[str, Any] = {
        # HATS's spatial index: the HEALPix pixel of order 29, NESTED, so that rows of a coarser pixel follow each
        # other.
        HEALPIX_COLUMN: np.asarray(compute_spatial_index(ra, dec), np.int64),
        "object_id": identifiers[usable],
        "ra": ra,
        "dec": dec,
        "tile": np.full(len(rows), tile),
        "mag_auto": auto.magnitudes_N[rows],
        "magerr_auto": _clean_errors(columns[names.magerr_auto], survey),
    }
    fluxes, implausible = _convert_bands(columns, survey)
    table |= fluxes
    schema = make_source_schema(survey.bands)
    arrays = [
        pa.array(table[field.name].tolist() if field.type == pa.string() else table[field.name], field.type)
        for field in schema
    ]
    # The identifier decides between sources of one pixel of order 29: the order does not depend on the file's.
    order = [(HEALPIX_COLUMN, "ascending"), ("object_id", "ascending")]
    rows_of_schema = pa.Table.from_arrays(arrays, schema=schema).sort_by(order)
    return TileSources(
        rows_of_schema, rejected, implausible | {"mag_auto": auto.implausible}, _describe_repeated(columns, survey)
    )


def select_sources(
    catalogue: FitsTable, survey: Survey, selection: Selection, *, bright_ids: Set[str] | None = None
) -> npt.NDArray[np.bool_]:
    """Apply the selection to a catalogue.

    Parameters
    ----------
    catalogue : FitsTable
        From `read_catalogue`, of N rows.
    survey : Survey
        Names the columns of identifiers and total magnitudes.
    selection : Selection
        The magnitude limit is strict (``mag_auto_below = 20`` keeps 19.99 and not 20.00); a magnitude that is a
        sentinel or no measurement is not kept.
    bright_ids : set of str, optional
        Replaces ``selection.cuts``, never the magnitude limit.

    Returns
    -------
    ndarray of bool, shape (N,)
        True where a row is kept.

    Raises
    ------
    SurveyFileError
        As `calibrate_mag_auto`, or a cut asks for bits of a column that holds none.
    """
    # NaN is below no limit: a source without a total magnitude is left out here.
    keep: npt.NDArray[np.bool_] = calibrate_mag_auto(catalogue, survey) < selection.mag_auto_below
    if bright_ids is not None:
        # By identifier, as text without blanks: FITS pads text to the width of its column.
        names = read_identifiers(catalogue, survey.columns.object_id).tolist()
        # Asked of the set, which every tile shares: numpy would want 1.2 million of them as an array for each, 4.5 s.
        keep &= np.fromiter((name in bright_ids for name in names), dtype=bool, count=len(names))
        return keep
    for cut in selection.cuts:
        keep &= apply_cut(cut, catalogue)
    return keep


def calibrate_mag_auto(catalogue: FitsTable, survey: Survey) -> npt.NDArray[np.float32]:
    """Return the total magnitude that the limit is put on [mag(AB)], NaN where there is none; shape (rows,).

    Raises
    ------
    SurveyFileError
        The header holds something else than a number where the zero-point offset should be.

    References
    ----------
    KiDS-Bright's MAG_AUTO_CALIB (Bilicki et al. 2021, A&A 653, A82) is MAG_AUTO + DMAG_R - EXTINCTION_r.
    """
    return _read_mag_auto(catalogue, survey).magnitudes_N


@dataclass(frozen=True, eq=False)
class _MagAuto:
    """Total magnitudes of N rows [mag(AB)], NaN where there is none, and how many were no measurement."""

    magnitudes_N: npt.NDArray[np.float32]
    implausible: int


def _read_mag_auto(catalogue: FitsTable, survey: Survey) -> _MagAuto:
    # Sentinels first: -99 would be the brightest source of all, and an extinction may take one beyond the tolerance.
    mag = _clean(catalogue.columns[survey.columns.mag_auto], survey)
    wrong_N = ~np.isnan(mag) & ~is_plausible_magnitude(mag)
    if survey.mag_auto_offset_sign:
        offset = _read_offset(catalogue, survey, survey.mag_auto_band)
        # Without the card the offset counts as 0: only the images are refused where one is to be applied and lacks.
        mag += np.float32(survey.mag_auto_offset_sign * (offset or 0.0))
    if not survey.mag_auto_dereddened:
        extinction = catalogue.columns[survey.columns.extinction.format(band=survey.mag_auto_band)]
        wrong_N |= ~np.isnan(mag) & ~is_plausible_extinction(extinction)
        mag -= np.where(wrong_N | np.isnan(mag), 0, extinction).astype(np.float32)
    wrong_N |= ~np.isnan(mag) & ~is_plausible_magnitude(mag)
    return _MagAuto(np.where(wrong_N, np.float32(np.nan), mag), int(wrong_N.sum()))


def read_identifiers(
    table: FitsTable, column: str, rows: npt.NDArray[np.intp] | slice = slice(None)
) -> npt.NDArray[np.str_]:
    """Return identifiers of a table, or of some of its rows, as text without blanks around it.

    Those that are blank, NaN or TNULL are "".

    Raises
    ------
    SurveyFileError
        They are neither whole numbers nor text, or floats that have rounded them.
    """
    check_column(table, column, "survey.columns.object_id", IDENTIFIERS)
    _check_identifiers(table, column)
    values = table.columns[column][rows]
    missing_N = table.nulls[column][rows] if column in table.nulls else np.zeros(len(values), bool)
    if values.dtype.kind == "f":
        missing_N = missing_N | np.isnan(values)
        # As whole numbers, or their text would end in ".0".
        values = np.where(missing_N, 0, values).astype(np.int64)
    # Text of no width, as of an empty column, could not hold a "".
    return np.where(missing_N, "", np.char.strip(values.astype(str)))


def read_zeropoint_offsets(catalogue: FitsTable, survey: Survey) -> dict[str, float | None]:
    """Read the offset of each image band from a catalogue's primary header [mag]; None where it has none.

    Raises
    ------
    SurveyFileError
        The header holds something else than a number there.
    """
    return {band: _read_offset(catalogue, survey, band) for band in survey.image_bands}


def compute_mean_extinction(catalogue: FitsTable, survey: Survey) -> float | None:
    """Compute the mean extinction of a tile's sources in the band of ``mag_auto`` [mag]; None without its column."""
    column = survey.columns.extinction.format(band=survey.mag_auto_band)
    # The report sets redshifts beside it; the column is not asked for where magnitudes are dereddened already.
    values = catalogue.columns.get(column, np.empty(0))
    known = values[is_plausible_extinction(values)]
    return float(known.mean(dtype=np.float64)) if len(known) else None


def _read_offset(catalogue: FitsTable, survey: Survey, band: str) -> float | None:
    key = survey.zeropoint_offset.format(BAND=band.upper(), band=band)
    # astropy parses a card when it is asked for, so a damaged one raises here and not when the file is opened.
    with refuse_damaged(f"{catalogue.name}: its header's {key} cannot be read"):
        value = catalogue.primary.get(key)
    if value is None:  # absent, or there without a value
        return None
    offset = np.nan
    with suppress(TypeError, ValueError):
        offset = float(value)
    # FITS's T is Python's True, and float(True) is 1: a logical card would pass for an offset of one magnitude.
    if isinstance(value, bool) or not abs(offset) <= _LARGEST_OFFSET:
        raise SurveyFileError(
            f"{catalogue.name}: its header has {key} = {value!r}, which is no zero-point offset in mag (one is at most "
            f"{_LARGEST_OFFSET:g}): correct the header, or set survey.zeropoint_offset = {survey.zeropoint_offset!r} "
            "to the keyword that has it, or to one that no header has where there is none"
        )
    return offset


def _fill_nulls(catalogue: FitsTable, wanted: dict[str, str], names: Columns) -> FitsTable:
    """Make whole numbers that stand for none (TNULL) NaN, in all columns but the identifiers and those of cuts."""
    columns = {
        name: np.where(missing_N, np.nan, catalogue.columns[name])
        for name, missing_N in catalogue.nulls.items()
        # A cut may ask for bits, which a float has none of; it knows the nulls itself, as identifiers do.
        if wanted[name] != "selection.cuts" and name != names.object_id
    }
    nulls = {name: missing_N for name, missing_N in catalogue.nulls.items() if name not in columns}
    return replace(catalogue, columns=catalogue.columns | columns, nulls=nulls)


def _convert_units(catalogue: FitsTable, wanted: dict[str, str], names: Columns) -> FitsTable:
    """Bring positions to degrees, as TUNIT says, and hold the other columns that are asked for to magnitudes."""
    columns = dict(catalogue.columns)
    for column, setting in wanted.items():
        unit, place = catalogue.units.get(column, ""), f"{catalogue.name}: column {column} ({setting})"
        if column in (names.ra, names.dec):
            columns[column] = convert_to_degrees(columns[column], unit, column=place, hours=column == names.ra)
        # Of those that are asked for alone: what cuts are put on may have any unit.
        elif setting.startswith(_OF_MAGNITUDES):
            require_magnitudes(unit, column=place)
    return replace(catalogue, columns=columns)


def apply_cut(cut: Cut, catalogue: FitsTable) -> npt.NDArray[np.bool_]:
    """Tell which rows of a table meet a condition; what is not known meets none for certain.

    Raises
    ------
    SurveyFileError
        It asks for bits of a column that holds none.
    """
    values, name = catalogue.columns[cut.column], catalogue.name
    keep = np.ones(len(values), bool)
    if cut.equals is not None:
        keep &= values == cut.equals
    if cut.below is not None:
        keep &= values < cut.below
    if cut.at_least is not None:
        keep &= values >= cut.at_least
    if cut.bits_clear is not None:
        # A float column would be cut down to whole numbers, and the bits mean nothing.
        if values.dtype.kind not in "iub":
            raise SurveyFileError(
                f"{name}: selection.cuts asks for bits of column {cut.column}, which holds {values.dtype}, not integers"
            )
        # In 64 bits: NumPy refuses a number that is wider than the column, as 2**16 is for 16 bits.
        keep &= values.astype(np.int64) & cut.bits_clear == 0
    if cut.column in catalogue.nulls:
        keep &= ~catalogue.nulls[cut.column]
    return keep


def _convert_bands(
    columns: Mapping[str, npt.NDArray[Any]], survey: Survey
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, int]]:
    """Make fluxes, errors and flags of a table's rows; count by band what is no measurement."""
    names, bands = survey.columns, survey.bands
    table: dict[str, npt.NDArray[Any]] = {}
    implausible = {}
    for band in bands:
        found = convert_magnitudes(
            columns[names.mag.format(band=band)],
            columns[names.magerr.format(band=band)],
            sentinels=Sentinels(survey.not_detected, survey.not_observed),
            extinctions_N=None if survey.magnitudes_dereddened else columns[names.extinction.format(band=band)],
            limits_N=columns[names.limit.format(band=band)] if names.limit else None,
        )
        implausible[band] = found.implausible
        # As the file will hold them, so that the flags below agree with what an estimator derives from it.
        flux_N, error_N = found.flux_N.astype(np.float32), found.error_N.astype(np.float32)
        # An error of 1e-50 is 0 as float32, which no error is.
        values = flux_N, np.where(error_N > 0, error_N, np.float32(np.nan))
        table |= zip(name_fluxes(band), values, strict=True)
    fluxes, errors = ([table[name_fluxes(band)[which]] for band in bands] for which in (0, 1))
    return table | {"flags": flag_bands(fluxes, errors)}, implausible


def _describe_repeated(columns: Mapping[str, npt.NDArray[Any]], survey: Survey) -> str:
    sentinels = Sentinels(survey.not_detected, survey.not_observed)
    names = {band: survey.columns.mag.format(band=band) for band in survey.bands}
    return "; ".join(
        filter(None, (describe_repeated_magnitudes(columns[name], sentinels, band) for band, name in names.items()))
    )


def _clean(values: npt.NDArray[Any], survey: Survey) -> npt.NDArray[np.float32]:
    """Return magnitudes or errors as float32 with both sentinels, and what is not finite, as NaN."""
    # A sentinel of 1e300 is infinite as float32.
    with np.errstate(over="ignore"):
        clean = values.astype(np.float32)
    clean[find_sentinels(values, (survey.not_detected, survey.not_observed), magnitudes=True)] = np.nan
    clean[~np.isfinite(clean)] = np.nan
    return clean


def _clean_errors(values: npt.NDArray[Any], survey: Survey) -> npt.NDArray[np.float32]:
    errors = _clean(values, survey)
    return np.where(is_plausible_error(errors), errors, np.float32(np.nan))


def _check_identifiers(catalogue: FitsTable, column: str) -> None:
    """Refuse identifiers that are floats which round, or no whole numbers at all; NaN is none."""
    values = catalogue.columns[column]
    if values.dtype.kind != "f":
        return
    digits = np.finfo(values.dtype).nmant + 1
    known = values[~np.isnan(values)]
    wrong = known[~(np.abs(known) < 2.0**digits) | (known != np.floor(known))]
    if len(wrong):
        raise SurveyFileError(
            f"{catalogue.name}: column {column} (survey.columns.object_id) holds identifiers as {values.dtype}, "
            f"{wrong[0]:.17g} among them, and such numbers are exact to 2^{digits} alone: write them as whole numbers "
            "of 64 bits or as text, or name another column"
        )
