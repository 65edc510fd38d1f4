"""Find a survey's file by its name or its location, and check that what it says fits together."""

import math
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

import msgspec

from photoz.errors import ConfigError
from photoz.storage import open_file
from photoz.tables.cuts import parse_cut
from photoz.tables.settings import Extinction, Photometry, TableSurvey, find_column, names_bands

_MAGNITUDES = ("AB", "Vega")
_LARGEST_ZEROPOINT = 100
"""[mag] Beyond it a flux of one count is no number."""
# Columns of the source catalogue and of training sets: one carried along under such a name would stand for the other.
_OUTPUT = {"_healpix_29", "object_id", "ra", "dec", "tile", "mag_auto", "magerr_auto", "flags", "z_spec", "split"}
_OUTPUT |= {"cutout", "z_phot"}
_REDDENING = re.compile(r"e_?bv|e_?b_?v(?![a-z])|e\(b-v\)|ebmv|ebminusv|^sfd|_sfd\d*$", re.IGNORECASE)
"""How a column's name says that it holds E(B-V)."""


def list_surveys() -> list[str]:
    """List the names of the surveys that photoz knows."""
    folder = files("photoz").joinpath("surveys")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_survey(name: str) -> TableSurvey:
    """Load what a survey's columns mean.

    Parameters
    ----------
    name : str
        One of `list_surveys`, or the location of a TOML file: one that ends in ``.toml`` or holds a slash.

    Raises
    ------
    ConfigError
        There is no such survey or file, or what it says is no TOML, unknown, of the wrong type or contradicts itself.
    """
    if name.endswith(".toml") or "/" in name:
        try:
            with open_file(name) as file:
                content: bytes = file.read()
        except FileNotFoundError as error:
            raise ConfigError(f"there is no file {name!r} of a survey: {_list_known()}") from error
        return parse_survey(content, name)
    if name not in list_surveys():
        # The files' names are lower case, and people write DES and KiDS.
        near = get_close_matches(name.lower(), list_surveys(), 1, 0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"there is no survey {name!r}: {hint}{_list_known()}")
    return parse_survey(files("photoz").joinpath("surveys", f"{name}.toml").read_bytes(), name)


def parse_survey(content: bytes, origin: str) -> TableSurvey:
    """Parse a survey's TOML; raises `ConfigError` as `load_survey`, naming the origin."""
    try:
        values = tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{origin!r} is not valid TOML: {error}") from error
    return make_survey(values, origin)


def make_survey(values: Mapping[str, Any], origin: str = "survey") -> TableSurvey:
    """Turn nested mappings into a checked survey; raises `ConfigError` as `load_survey`, naming the origin."""
    values = dict(values)
    # One photometry needs no list: [photometry] is as good as [[photometry]].
    if isinstance(values.get("photometry"), Mapping):
        values["photometry"] = [values["photometry"]]
    try:
        # Strict, so that "20" is no number and 1 no text: what a file says by mistake is told and not guessed.
        survey = msgspec.convert(values, TableSurvey, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {error}; docs/tables.md tells what a survey's file holds") from error
    try:
        check_survey(survey)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
    return survey


def describe_survey(survey: TableSurvey) -> dict[str, Any]:
    """Return what a survey's file holds, as `make_survey` takes it and JSON holds it: all that is not a default."""
    described: dict[str, Any] = _describe(survey)
    return described


def _describe(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        # Without the defaults, some of which are infinite, as nothing in JSON is.
        return {
            each.encode_name: _describe(getattr(value, each.name))
            for each in msgspec.structs.fields(value)
            if each.required or getattr(value, each.name) != each.default
        }
    return [_describe(each) for each in value] if isinstance(value, tuple | list) else value


def check_survey(survey: TableSurvey) -> None:
    """Refuse settings of a survey that do not fit together; raises `ConfigError`."""
    # Their columns would be made twice under one name.
    if len(set(survey.bands)) < len(survey.bands) or "" in survey.bands:
        raise ConfigError(f"bands = {list(survey.bands)}: name each band once")
    if not survey.identifiers or "" in survey.identifiers:
        raise ConfigError("identifier names no column: give one, or several that are joined")
    if bool(survey.ra) != bool(survey.dec):
        raise ConfigError(f"ra = {survey.ra!r} and dec = {survey.dec!r}: name both or none")
    if not survey.photometry:
        raise ConfigError("photometry is empty: say which columns hold the fluxes or magnitudes")
    for i, photometry in enumerate(survey.photometry):
        where = f"photometry[{i}]" if len(survey.photometry) > 1 else "photometry"
        _check_photometry(photometry, survey.bands, where)
    if survey.total is not None:
        _check_photometry(survey.total, (survey.total_band,), "total")
    _check_extinction(survey)
    # For its refusal: a cut that cannot be read is told with the survey's file and not with its first table.
    for cut in survey.cuts:
        parse_cut(cut)
    _check_redshifts(survey)
    _check_carried(survey)


def _check_photometry(photometry: Photometry, bands: tuple[str, ...], where: str) -> None:
    is_flux = photometry.kind == "flux"
    if is_flux == (photometry.unit in _MAGNITUDES):
        units = "nJy, uJy, mJy, Jy, nanomaggy, maggy or counts" if is_flux else "AB or Vega"
        raise ConfigError(f"{where}.unit = {photometry.unit!r} is none of kind {photometry.kind!r}: give {units}")
    _check_patterns(photometry, bands, where)
    if photometry.kind == "luptitude":
        _require_bands(photometry.softening, bands, f"{where}.softening")
    if photometry.unit == "Vega":
        _require_bands(photometry.ab_offsets, bands, f"{where}.ab_offsets")
    if (photometry.unit == "counts") != (photometry.zeropoint is not None):
        raise ConfigError(
            f"{where}.zeropoint goes with unit = 'counts', and must be given there [mag(AB)] of one count"
        )
    if isinstance(photometry.zeropoint, dict):
        _require_bands(photometry.zeropoint, bands, f"{where}.zeropoint")
    positive = [*photometry.softening.values(), photometry.limit_sigma]
    # Written so that NaN is refused: comparisons with it are false.
    if not all(0 < value < math.inf for value in positive):
        raise ConfigError(f"{where}: softening and limit_sigma must be positive and finite")
    _refuse_shared(photometry, bands, where)
    _check_magnitudes(photometry, where)
    if (photometry.limit or photometry.limit_in_error) and is_flux:
        raise ConfigError(
            f"{where}.limit and limit_in_error are of magnitudes: a flux that is not detected has its error"
        )


def _check_patterns(photometry: Photometry, bands: tuple[str, ...], where: str) -> None:
    # Limits have no names by band: `find_column` takes them from the pattern alone.
    by_band: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("column", photometry.column, photometry.columns),
        ("error", photometry.error, photometry.errors),
        ("limit", photometry.limit, {}),
    )
    for key, pattern, named in by_band:
        # A band that is named apart has nothing to do with the pattern, and one band alone cannot be taken for another.
        alike = [band for band in bands if band not in named]
        if pattern and not names_bands(pattern) and len(alike) > 1:
            raise ConfigError(
                f"{where}.{key} = {pattern!r} is one column for the bands {alike}: write {{band}}, {{BAND}} or "
                "{lower} where the band's name stands in it"
            )


def _refuse_shared(photometry: Photometry, bands: tuple[str, ...], where: str) -> None:
    """Refuse a column that two bands, or a band and an error, would be read from."""
    columns = [find_column(photometry.column, band, photometry.columns) for band in bands]
    columns += [find_column(photometry.error, band, photometry.errors) for band in bands]
    if shared := [name for name in dict.fromkeys(columns) if name and columns.count(name) > 1]:
        raise ConfigError(f"{where} reads {shared} more than once: name a column of its own for each band and error")


def _check_magnitudes(photometry: Photometry, where: str) -> None:
    zeropoint = photometry.zeropoint
    zeropoints = zeropoint.values() if isinstance(zeropoint, dict) else [0.0 if zeropoint is None else zeropoint]
    for key, values in (("zeropoint", zeropoints), ("ab_offsets", photometry.ab_offsets.values())):
        if wrong := [value for value in values if not abs(value) <= _LARGEST_ZEROPOINT]:
            raise ConfigError(
                f"{where}.{key} = {wrong[0]} mag: give one of -{_LARGEST_ZEROPOINT} to {_LARGEST_ZEROPOINT}"
            )


def _check_extinction(survey: TableSurvey) -> None:
    extinction = survey.extinction
    if (extinction.kind == "none") == bool(extinction.column):
        raise ConfigError(
            f"extinction.kind = {extinction.kind!r} with extinction.column = {extinction.column!r}: give both or "
            "neither"
        )
    if extinction.kind == "ebv":
        # A total magnitude that is corrected already needs no coefficient of its band.
        dimmed = survey.total is not None and not survey.total.dereddened
        bands = (*survey.bands, *([survey.total_band] if dimmed else []))
        _require_bands(extinction.coefficients, bands, "extinction.coefficients")
        if wrong := [band for band, value in extinction.coefficients.items() if not 0 <= value < math.inf]:
            raise ConfigError(f"extinction.coefficients of {wrong} must be 0 or more, and finite")
        # Not by band: one E(B-V) reddens all.
        return
    if extinction.coefficients:
        raise ConfigError("extinction.coefficients goes with extinction.kind = 'ebv'")
    # Before the names by band are asked for: one column for all bands is right of E(B-V), and its remedy is another
    # kind.
    _refuse_reddening(extinction)
    alike = [band for band in survey.bands if band not in extinction.columns]
    if extinction.column and not names_bands(extinction.column) and len(alike) > 1:
        raise ConfigError(
            f"extinction.column = {extinction.column!r} is one column for all bands, and {extinction.kind} differs by "
            "band: write {band}, {BAND} or {lower} where the band's name stands in it"
        )


def _refuse_reddening(extinction: Extinction) -> None:
    column = next(filter(_REDDENING.search, (extinction.column, *extinction.columns.values())), None)
    if extinction.kind == "A_b" and column:
        raise ConfigError(
            f"extinction.column = {column!r} holds E(B-V) by its name, which is not the extinction of a "
            "band: set extinction.kind = 'ebv' and extinction.coefficients to A_b / E(B-V) of each band, such as "
            "g = 3.186 for DES"
        )


def _require_bands(values: Mapping[str, float], bands: tuple[str, ...], where: str) -> None:
    missing = [band for band in bands if band not in values]
    if missing:
        raise ConfigError(f"{where} lacks the bands {missing}: give each band's")


def _check_redshifts(survey: TableSurvey) -> None:
    if survey.z_quality and not survey.z_spec:
        raise ConfigError(f"z_quality = {survey.z_quality!r} without z_spec: name the column of redshifts")
    if not survey.z_min < survey.z_max:
        raise ConfigError(f"z_min = {survey.z_min} must be below z_max = {survey.z_max}")


def _check_carried(survey: TableSurvey) -> None:
    # By how they begin: a survey may find its bands only in the table, so that nobody knows yet which fluxes there are.
    taken = [name for name in survey.carry if name in _OUTPUT or name.startswith(("flux_", "fluxerr_"))]
    if taken:
        raise ConfigError(f"carry has {taken}, which are names of columns that are made: rename them in the table")
    if len(set(survey.carry)) < len(survey.carry):
        raise ConfigError(f"carry = {list(survey.carry)}: name each column once")


def _list_known() -> str:
    return f"photoz knows {', '.join(list_surveys())}; of your own, give the path of a TOML file (docs/tables.md)"
