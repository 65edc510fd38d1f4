"""Which columns of a table a survey's file asks for: what is there, what it may lack, what is missing."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import msgspec

from photoz.errors import ConfigError
from photoz.tables.cuts import parse_cut
from photoz.tables.load import list_surveys, load_survey
from photoz.tables.settings import Photometry, Role, TableSurvey, find_column

_WAVELENGTHS = ("FUV", "NUV", "u", "U", "B", "g", "V", "r", "R", "i", "I", "z", "Z", "y", "Y", "J", "H", "K", "Ks",
                "W1", "W2", "W3", "W4")  # fmt: skip
"""Bands in order of wavelength, for tables whose bands nobody names."""


@dataclass(frozen=True)
class Choice:
    """A survey held against the columns of a table.

    Parameters
    ----------
    survey : TableSurvey
        With the bands that are read, one photometry, and without what may be lacking and is.
    columns : dict of str to str
        Each column that is read -> the setting that names it.
    """

    survey: TableSurvey
    columns: dict[str, str]

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands that are read."""
        return self.survey.bands

    @property
    def photometry(self) -> Photometry:
        """The one that is read."""
        return self.survey.photometry[0]

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that are read as numbers and nothing else: a cut may ask for the bits of whole ones."""
        others = {*self.survey.identifiers, *self.survey.carry, self.survey.tile}
        others |= {column for cut in self.survey.cuts for column in parse_cut(cut).columns}
        return tuple(column for column in self.columns if column not in others)


def choose_columns(
    survey: TableSurvey, names: Iterable[str], bands: Sequence[str] | None = None, *, table: str = "the table"
) -> Choice:
    """Choose the columns to read.

    Parameters
    ----------
    survey : TableSurvey
        One that was given no photometry, as no file says it, has no bands: identifiers, positions, redshifts are read.
    names : iterable of str
        The table's columns.
    bands : sequence of str, optional
        Read these only, in this order; else all of the survey.
    table : str
        Named in messages.

    Raises
    ------
    ConfigError
        The table lacks columns, told together with the settings that name them and the nearest that are there; or a
        band is none of the survey's.
    """
    there = list(names)
    choice, missing = _choose_nearest(survey, there, bands, table)
    if missing:
        raise ConfigError(_describe_missing(survey.name, table, missing, there))
    return choice


def find_bands(survey: TableSurvey, names: Iterable[str], bands: Sequence[str]) -> tuple[str, ...]:
    """Find those of some bands whose columns a table has, by the photometry of which it has most; none where none.

    Parameters
    ----------
    survey : TableSurvey
    names : iterable of str
        The table's columns.
    bands : sequence of str

    Examples
    --------
    >>> find_bands(load_survey("plain"), ["flux_g", "fluxerr_g", "mag_r"], ["g", "r", "i"])
    ('g',)
    """
    there, asked = set(names), [band for band in bands if not survey.bands or band in survey.bands]
    survey = _drop_absent(msgspec.structs.replace(survey, bands=tuple(asked)), there)
    found = [
        tuple(band for band in asked if _list_band(survey, photometry, band) <= there)
        for photometry in survey.photometry
    ]
    return max(found, key=len)


def _list_band(survey: TableSurvey, photometry: Photometry, band: str) -> set[str]:
    columns = {column for column, _ in _list_photometry(photometry, band)}
    if survey.extinction.kind != "none" and not photometry.dereddened:
        columns.add(find_column(survey.extinction.column, band, survey.extinction.columns))
    return columns - {""}


def _choose_nearest(
    survey: TableSurvey, there: list[str], bands: Sequence[str] | None, table: str
) -> tuple[Choice, dict[str, str]]:
    """Choose the photometry that lacks the fewest columns, and tell which it lacks."""
    chosen = _choose_bands(survey, there, bands, table)
    # Before what may be lacking is taken out, since errors are looked for in the bands that are read and in no other.
    survey = msgspec.structs.replace(survey, bands=chosen)
    survey = _drop_absent(survey, set(there))
    choices = [msgspec.structs.replace(survey, photometry=(each,)) for each in survey.photometry] or [survey]
    listed = [_list_columns(choice) for choice in choices]
    missing = [{column: named for column, named in columns.items() if column not in there} for columns in listed]
    # The first that lacks nothing. Where each lacks something, the message tells of the one most likely meant, and not
    # of every photometry that a survey may have.
    known = {name.lower() for name in there}
    # Of two that lack as many the one whose columns are there in other letters, MAG_G for mag_g.
    strange = [sum(column.lower() not in known for column in columns) for columns in missing]
    best = min(range(len(choices)), key=lambda i: (len(missing[i]), strange[i]))
    return Choice(choices[best], listed[best]), missing[best]


def _choose_bands(survey: TableSurvey, names: list[str], bands: Sequence[str] | None, table: str) -> tuple[str, ...]:
    if bands is not None:
        # A survey that finds its bands in the table has none to hold these against; `choose_columns` misses their
        # columns.
        wrong = [band for band in bands if survey.bands and band not in survey.bands]
        if wrong or not bands or len(set(bands)) < len(bands):
            # Of one that finds its bands in the table there are none to tell.
            there = (
                f", and survey {survey.name} has {list(survey.bands)}: name some of these"
                if survey.bands
                else ": name some"
            )
            raise ConfigError(f"bands {list(bands)} are asked for{there}, each once")
        return tuple(bands)
    if survey.bands or not survey.photometry:
        return survey.bands
    for photometry in survey.photometry:
        if found := _find_bands(photometry, names, survey):
            return found
    patterns = " or ".join(photometry.column for photometry in survey.photometry)
    raise ConfigError(f"{table} has no column like {patterns}: survey {survey.name} finds its bands by them")


def _find_bands(photometry: Photometry, names: list[str], survey: TableSurvey) -> tuple[str, ...]:
    """Find the bands of which a table has a column, those with an error where any has one."""
    # Escaped, as names of columns may hold dots and brackets. Once only: a pattern has no two groups of one name.
    pattern = re.escape(photometry.column).replace(re.escape("{band}"), "(?P<band>[A-Za-z0-9]+)", 1)
    # From {BAND} or {lower} nobody can tell how the band itself is written, and Ks is another name than KS.
    if "(?P<band>" not in pattern:
        return ()
    # mag_auto fits mag_{band} and is no magnitude of a band "auto".
    total = {survey.total.column, survey.total.error} if survey.total else set()
    found = [match["band"] for name in names if name not in total and (match := re.fullmatch(pattern, name))]
    # flux_radius is no band's flux: it has no error beside it.
    with_errors = [band for band in found if find_column(photometry.error, band, photometry.errors) in names]
    # Where none has an error the table may simply have no errors, which a survey may allow.
    found = with_errors or found
    # One band of unknown wavelength has no place among the others: the table's own order is the better guess then.
    known = all(band in _WAVELENGTHS for band in found)
    return tuple(sorted(found, key=_WAVELENGTHS.index) if known else found)


def _drop_absent(survey: TableSurvey, names: set[str]) -> TableSurvey:
    """Take out what the survey says a table may lack, and the table lacks altogether: half of it would be a mistake."""
    without: dict[Role, dict[str, object]] = {
        "position": {"ra": "", "dec": ""},
        "total": {"total": None},
        "tile": {"tile": ""},
        "z_spec": {"z_spec": "", "z_quality": ""},
    }
    for role in survey.optional:
        if role == "errors":
            survey = _drop_errors(survey, names)
        # Each by itself: a column that is carried along has no other that it goes with.
        elif role == "carry":
            survey = msgspec.structs.replace(survey, carry=tuple(name for name in survey.carry if name in names))
        # By `_list_all` and not `_list_columns`: a column that serves twice must be seen under each of its settings.
        elif names.isdisjoint(column for column, setting in _list_all(survey) if setting.startswith(_SETTINGS[role])):
            survey = msgspec.structs.replace(survey, **without[role])
    return survey


_SETTINGS: dict[Role, tuple[str, ...]] = {
    "position": ("ra", "dec"),
    "total": ("total",),
    "tile": ("tile",),
    "z_spec": ("z_spec", "z_quality"),
}
"""How the settings of a role begin, as `_list_all` writes them."""


def _drop_errors(survey: TableSurvey, names: set[str]) -> TableSurvey:
    """Take out the errors of a photometry of which no band has one; some without would be a mistake."""

    def drop(photometry: Photometry, bands: Sequence[str]) -> Photometry:
        columns = {find_column(photometry.error, band, photometry.errors) for band in bands}
        return photometry if columns & names else msgspec.structs.replace(photometry, error="", errors={})

    total = drop(survey.total, [survey.total_band]) if survey.total else None
    photometry = tuple(drop(each, survey.bands) for each in survey.photometry)
    return msgspec.structs.replace(survey, photometry=photometry, total=total)


def _list_columns(survey: TableSurvey) -> dict[str, str]:
    """List the columns that a survey names: column -> the first setting that names it."""
    found: dict[str, str] = {}
    for column, setting in _list_all(survey):
        found.setdefault(column, setting)
    return found


def _list_all(survey: TableSurvey) -> list[tuple[str, str]]:
    """List every column and the setting that names it; a column that serves twice stands there twice."""
    # Cuts and what is carried along come last: by a column's first setting `check_columns` tells whether it must hold
    # numbers, and photometry that a cut asks for too must.
    found = [(column, "identifier") for column in survey.identifiers]
    found += [(survey.ra, "ra"), (survey.dec, "dec")]
    for photometry in survey.photometry:
        for band in survey.bands:
            found += [(name, f"photometry.{key}, band {band}") for name, key in _list_photometry(photometry, band)]
    if survey.total is not None:
        found += [(name, f"total.{key}") for name, key in _list_photometry(survey.total, survey.total_band)]
    found += _list_extinctions(survey)
    found += [(survey.tile, "tile"), (survey.z_spec, "z_spec"), (survey.z_quality, "z_quality")]
    found += [(column, f"cuts: {cut}") for cut in survey.cuts for column in parse_cut(cut).columns]
    found += [(column, "carry") for column in survey.carry]
    return [(column, setting) for column, setting in found if column]


def _list_photometry(photometry: Photometry, band: str) -> list[tuple[str, str]]:
    return [
        (find_column(photometry.column, band, photometry.columns), "column"),
        (find_column(photometry.error, band, photometry.errors), "error"),
        (find_column(photometry.limit, band), "limit"),
    ]


def _list_extinctions(survey: TableSurvey) -> list[tuple[str, str]]:
    extinction = survey.extinction
    if extinction.kind == "none":
        return []
    # A column that corrects nothing is not asked for, and so may be lacking.
    bands = [] if all(each.dereddened for each in survey.photometry) else list(survey.bands)
    if survey.total is not None and not survey.total.dereddened:
        bands.append(survey.total_band)
    return [
        (find_column(extinction.column, band, extinction.columns), f"extinction.column, band {band}") for band in bands
    ]


def _describe_missing(survey: str, table: str, missing: dict[str, str], there: list[str]) -> str:
    lines = []
    for column, setting in missing.items():
        # To `get_close_matches` capital and small letters differ: RA and ra have nothing in common.
        near = get_close_matches(column, there, 2, 0.6) or _match_in_any_case(column, there)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        lines.append(f"{column} ({setting}{hint})")
    fitting = [name for name in list_surveys() if _fits(load_survey(name), there)]
    other = f"take the survey {' or '.join(fitting)}, whose columns it has" if fitting else "choose another survey"
    return (
        f"{table} lacks {len(missing)} of the columns that survey {survey!r} names: {', '.join(lines)}. Correct the "
        f"survey's file to the table's names, or {other}"
    )


def _fits(survey: TableSurvey, there: list[str]) -> bool:
    # One that finds its bands in the table fits too many.
    return bool(survey.bands) and not _choose_nearest(survey, there, None, "")[1]


def _match_in_any_case(column: str, there: list[str]) -> list[str]:
    return [name for name in there if name.lower() == column.lower()]
