"""A tile's multi-band catalogue to source rows: selection, sentinels to NaN and bits, one schema."""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from astropy.io import fits
from hats.pixel_math.spatial_index import compute_spatial_index

from photoz.config import Config, Cut
from photoz.errors import SurveyFileError
from photoz.schema import HEALPIX_COLUMN, Flag, make_source_schema
from photoz.survey.table import FitsTable, read_table

SENTINEL_TOLERANCE = 0.5
"""[mag] No measured magnitude or error lies so near 99 or -99; rounding does not hide a sentinel."""


def list_catalogue_columns(config: Config) -> dict[str, str]:
    """List the catalogue columns that the settings ask for: column -> the setting that names it."""
    names = config.survey.columns
    wanted = {
        getattr(names, key): f"survey.columns.{key}" for key in ("object_id", "ra", "dec", "mag_auto", "magerr_auto")
    }
    for band in config.survey.bands:
        for key in ("mag", "magerr"):
            wanted[getattr(names, key).format(band=band)] = f"survey.columns.{key}, band {band} of survey.bands"
        if not config.survey.magnitudes_dereddened:
            wanted[names.extinction.format(band=band)] = "survey.columns.extinction, as magnitudes_dereddened is false"
    if not config.survey.mag_auto_dereddened:
        column = names.extinction.format(band=config.survey.mag_auto_band)
        wanted.setdefault(column, "survey.columns.extinction, as mag_auto_dereddened is false")
    if not config.selection.bright_sample:
        wanted |= {cut.column: "selection.cuts" for cut in config.selection.cuts if cut.column not in wanted}
    return wanted


def read_catalogue(config: Config, location: str) -> FitsTable:
    """Read the columns of a tile's catalogue that the settings ask for; raises `SurveyFileError`."""
    return read_table(location, list_catalogue_columns(config))


def make_sources(config: Config, tile: str, catalogue: FitsTable, bright_ids: Collection[str] | None) -> pa.Table:
    """Select a tile's sources and bring them into the schema of the source catalogue.

    Parameters
    ----------
    config : Config
        Its ``survey`` and ``selection``.
    tile : str
        Name of the tile.
    catalogue : FitsTable
        From `read_catalogue`.
    bright_ids : collection of str or None
        Keep these object_ids in place of ``selection.cuts``.

    Returns
    -------
    pyarrow.Table
        Schema `photoz.schema.make_source_schema`; sorted by ``_healpix_29`` and object_id.
    """
    rows = np.flatnonzero(select_sources(config, catalogue, bright_ids))
    columns = {name: values[rows] for name, values in catalogue.columns.items()}
    names, bands = config.survey.columns, config.survey.bands
    ra, dec = columns[names.ra].astype(float), columns[names.dec].astype(float)
    table: dict[str, Any] = {
        HEALPIX_COLUMN: np.asarray(compute_spatial_index(ra, dec), np.int64),
        "object_id": _to_strings(columns[names.object_id]),
        "ra": ra,
        "dec": dec,
        "tile": np.full(len(rows), tile),
        "mag_auto": calibrate_mag_auto(config, catalogue)[rows],
        "magerr_auto": _clean(config, columns[names.magerr_auto]),
    }
    table |= _convert_magnitudes(config, columns)
    schema = make_source_schema(bands)
    arrays = [
        pa.array(table[field.name].tolist() if field.type == pa.string() else table[field.name], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema).sort_by(
        [(HEALPIX_COLUMN, "ascending"), ("object_id", "ascending")]
    )


def select_sources(config: Config, catalogue: FitsTable, bright_ids: Collection[str] | None) -> npt.NDArray[np.bool_]:
    """Apply the selection to a catalogue; True where a row is kept.

    The magnitude limit is strict (``mag_auto_below = 20`` keeps 19.99 and not 20.00); a magnitude that is a sentinel or
    not finite is not kept. ``bright_ids`` replaces ``selection.cuts``, never the magnitude limit.
    """
    columns = catalogue.columns
    keep: npt.NDArray[np.bool_] = calibrate_mag_auto(config, catalogue) < config.selection.mag_auto_below
    if bright_ids is not None:
        return keep & np.isin(_to_strings(columns[config.survey.columns.object_id]), list(bright_ids))
    for cut in config.selection.cuts:
        keep &= _apply_cut(cut, columns[cut.column], catalogue.name)
    return keep


def calibrate_mag_auto(config: Config, catalogue: FitsTable) -> npt.NDArray[np.float32]:
    """Return the total magnitude that the limit is put on [mag(AB)], NaN where there is none; shape (rows,).

    References
    ----------
    KiDS-Bright's MAG_AUTO_CALIB (Bilicki et al. 2021, A&A 653, A82) is MAG_AUTO + DMAG_R - EXTINCTION_r.
    """
    survey = config.survey
    mag = _clean(config, catalogue.columns[survey.columns.mag_auto])
    key = survey.zeropoint_offset.format(BAND=survey.mag_auto_band.upper(), band=survey.mag_auto_band)
    mag += np.float32(survey.mag_auto_offset_sign * float(catalogue.primary.get(key, 0.0)))
    if not survey.mag_auto_dereddened:
        mag -= catalogue.columns[survey.columns.extinction.format(band=survey.mag_auto_band)].astype(np.float32)
    return mag


def read_zeropoint_offsets(config: Config, primary: fits.Header) -> dict[str, float | None]:
    """Read the offset of each image band from a catalogue's primary header [mag]; None where it has none."""
    keys = {b: config.survey.zeropoint_offset.format(BAND=b.upper(), band=b) for b in config.survey.image_bands}
    return {band: float(primary[key]) if key in primary else None for band, key in keys.items()}


def compute_mean_extinction(config: Config, catalogue: FitsTable) -> float | None:
    """Compute the mean extinction of a tile's sources in the band of ``mag_auto`` [mag]; None without its column."""
    column = config.survey.columns.extinction.format(band=config.survey.mag_auto_band)
    values = catalogue.columns.get(column, np.empty(0))
    known = values[np.isfinite(values)]
    return float(known.mean(dtype=np.float64)) if len(known) else None


def _apply_cut(cut: Cut, values: npt.NDArray[Any], name: str) -> npt.NDArray[np.bool_]:
    keep = np.ones(len(values), bool)
    if cut.equals is not None:
        keep &= values == cut.equals
    if cut.below is not None:
        keep &= values < cut.below
    if cut.at_least is not None:
        keep &= values >= cut.at_least
    if cut.bits_clear is not None:
        if values.dtype.kind not in "iub":
            raise SurveyFileError(
                f"{name}: selection.cuts asks for bits of column {cut.column}, which holds {values.dtype}, not integers"
            )
        keep &= values.astype(np.int64) & cut.bits_clear == 0
    return keep


def _convert_magnitudes(config: Config, columns: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    survey, names = config.survey, config.survey.columns
    count = len(columns[names.ra])
    flags, detected, observed = (np.zeros(count, np.int32) for _ in range(3))
    table: dict[str, npt.NDArray[Any]] = {}
    for index, band in enumerate(survey.bands):
        raw = columns[names.mag.format(band=band)]
        mag, err = _clean(config, raw), _clean(config, columns[names.magerr.format(band=band)])
        if not survey.magnitudes_dereddened:
            mag = mag - columns[names.extinction.format(band=band)].astype(np.float32)
        undetected = _is_sentinel(raw, survey.not_detected)
        # A value that is neither a number nor a sentinel does not show that the band was observed.
        unobserved = np.isnan(mag) & ~undetected
        observed |= unobserved.astype(np.int32) << index
        detected |= undetected.astype(np.int32) << index
        table[f"mag_{band}"], table[f"magerr_{band}"] = mag, np.where(np.isnan(mag), np.float32(np.nan), err)
    every = (1 << len(survey.bands)) - 1
    flags[detected != 0] |= Flag.BAND_NOT_DETECTED
    flags[observed != 0] |= Flag.BAND_NOT_OBSERVED
    flags[(detected | observed) == every] |= Flag.NO_PHOTOMETRY
    return table | {"not_detected": detected, "not_observed": observed, "flags": flags}


def _clean(config: Config, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return magnitudes or errors as float32 with both sentinels, and what is not finite, as NaN."""
    clean = values.astype(np.float32)
    for sentinel in (config.survey.not_detected, config.survey.not_observed):
        clean[_is_sentinel(values, sentinel)] = np.nan
    clean[~np.isfinite(clean)] = np.nan
    return clean


def _is_sentinel(values: npt.NDArray[Any], sentinel: float) -> npt.NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return np.abs(values.astype(np.float64) - sentinel) < SENTINEL_TOLERANCE


def _to_strings(values: npt.NDArray[Any]) -> npt.NDArray[np.str_]:
    return np.char.strip(values.astype(str))
