"""What a survey's columns mean: the file that people share, ``photoz/surveys/<name>.toml`` or one of their own.

Only declares; `photoz.tables.load` finds and checks the files, `photoz.tables.columns` holds them against a table.
"""

import math
from typing import Literal

import msgspec

from photoz.settings.base import Settings
from photoz.settings.locations import Location

Unit = Literal["AB", "Vega", "nJy", "uJy", "mJy", "Jy", "nanomaggy", "maggy", "counts"]
# What a survey may call optional and a caller may need; `columns` and `check` have a line for each.
Role = Literal["position", "errors", "total", "tile", "z_spec", "carry"]


class Photometry(Settings, frozen=True):
    """How a band's brightness stands in the table.

    In ``column``, ``error`` and ``limit``, ``{band}`` stands for the band as the survey's file spells it, ``{BAND}``
    for its upper case and ``{lower}`` for its lower case.
    """

    column: str
    kind: Literal["flux", "mag", "luptitude"]
    """A luptitude is an asinh magnitude with ``softening`` (Lupton, Gunn & Szalay 1999, AJ 118, 1406)."""
    unit: Unit = "AB"
    """Of magnitudes AB or Vega; of fluxes one of the others. A maggy is the flux of AB magnitude 0, 3631 Jy."""
    error: str = ""
    """1 sigma, or what ``error_kind`` says; "": the table has none, and flux errors are NaN."""
    error_kind: Literal["error", "ivar", "snr"] = "error"
    """In the unit of ``column``; inverse variance in one over its square; signal to noise has none."""
    columns: dict[str, str] = msgspec.field(default_factory=dict)
    """Band -> column, for bands that ``column`` does not name rightly."""
    errors: dict[str, str] = msgspec.field(default_factory=dict)
    """Band -> column of its error."""
    ab_offsets: dict[str, float] = msgspec.field(default_factory=dict)
    """[mag] added to a band's magnitudes to be AB: AB minus Vega, which unit "Vega" needs for every band."""
    zeropoint: float | dict[str, float] | None = None
    """[mag(AB)] of one count, for all bands or by band; of unit "counts" alone."""
    softening: dict[str, float] = msgspec.field(default_factory=dict)
    """Of luptitudes by band: b, a fraction of a maggy."""
    not_detected: tuple[float, ...] = ()
    """Values that say: observed, and nothing detected. The flux is 0."""
    not_observed: tuple[float, ...] = ()
    """Values that say: not observed. NaN and null say so besides."""
    limit: str = ""
    """Columns of limiting magnitudes, in the unit of ``column``: the error of what was not detected."""
    limit_sigma: float = 1.0
    """How many sigma the limit is of."""
    limit_in_error: bool = False
    """Where the magnitude says not detected, ``error`` holds the limiting magnitude, as in catalogues for BPZ."""
    dereddened: bool = False
    """The values are corrected for the extinction of the Galaxy already."""


class Extinction(Settings, frozen=True):
    """What the Galaxy takes away. Not used for photometry that is ``dereddened``."""

    kind: Literal["none", "A_b", "ebv", "transmission"] = "none"
    """``A_b``: extinction of the band [mag]; ``ebv``: E(B-V) [mag], times the band's coefficient; ``transmission``:
    the fraction of the light that arrives."""
    column: str = ""
    """With ``{band}`` and its cases for what differs by band."""
    columns: dict[str, str] = msgspec.field(default_factory=dict)
    """Band -> column, for bands that ``column`` does not name rightly."""
    coefficients: dict[str, float] = msgspec.field(default_factory=dict)
    """A_b / E(B-V) by band, of kind ``ebv`` alone."""


class TableSurvey(Settings, frozen=True, kw_only=True):
    """A survey as its tables have it: which columns they are, and what they mean."""

    name: str
    source: str = ""
    """Where the facts of this file come from."""
    bands: tuple[str, ...] = ()
    """In order of wavelength; capital and small letters differ. Empty: every band that the table has."""
    hdu: str = ""
    """Of FITS files, the number or name of the table; "": the first that holds sources."""
    identifier: str | tuple[str, ...]
    """A column, or several that are joined by "-"."""
    duplicates: Literal["refuse", "keep"] = "refuse"
    """What happens with rows whose identifier another row has; kept, they are counted, and the first are named."""
    # Optional, since redshifts can be estimated from fluxes without a place on the sky.
    ra: str = ""
    dec: str = ""
    position_unit: Literal["", "deg", "hourangle", "rad"] = ""
    """"": what the file states of the column, degrees where it states nothing. ``hourangle``: ra in hours, dec in
    degrees."""
    # A table that names one photometry gives that; of several the first whose columns are there is taken.
    photometry: tuple[Photometry, ...]
    extinction: Extinction = Extinction()
    total: Photometry | None = None
    """Total magnitude (``mag_auto``) of the band ``total_band``."""
    # KiDS's MAG_AUTO, and GAMA's selection, are of r.
    total_band: str = "r"
    tile: str = ""
    """Column with the name of the tile whose images hold the source."""
    cuts: tuple[str, ...] = ()
    """Conditions that each row must meet, such as ``FLAGS == 0`` or ``CLASS_STAR < 0.5``; see `photoz.tables.cuts`."""
    z_spec: str = ""
    z_quality: str = ""
    """Column of the redshift's quality; a redshift below ``z_quality_least`` becomes NaN."""
    z_quality_least: float = -math.inf
    z_min: float = 0.0
    """Redshifts below it, as sentinels are, become NaN; so do those above ``z_max``."""
    z_max: float = 15.0
    carry: tuple[str, ...] = ()
    """Columns to carry along as they are."""
    optional: tuple[Role, ...] = ()
    """What a table of this survey may lack; cuts and extinction are not among it, without which values mean something
    else."""

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Columns of the identifier."""
        return (self.identifier,) if isinstance(self.identifier, str) else self.identifier

    def without_redshifts(self) -> "TableSurvey":
        """Return the survey as one that names no redshifts: of tables that are estimated nobody reads them."""
        return msgspec.structs.replace(self, z_spec="", z_quality="")


def find_column(pattern: str, band: str, named: dict[str, str] | None = None) -> str:
    """Return a band's column: its own name where it has one, else from the pattern.

    >>> find_column("MAG_{BAND}", "g"), find_column("{lower}_mag", "Ks"), find_column("", "g", {"g": "gmag"})
    ('MAG_G', 'ks_mag', 'gmag')
    """
    if named and band in named:
        return named[band]
    # Not `str.format`, to which any other brace in a name would be an error.
    for mark, text in (("{band}", band), ("{BAND}", band.upper()), ("{lower}", band.lower())):
        pattern = pattern.replace(mark, text)
    return pattern


def names_bands(pattern: str) -> bool:
    """Tell whether a pattern names a column for each band."""
    return any(mark in pattern for mark in ("{band}", "{BAND}", "{lower}"))


class TableInput(Settings, frozen=True):
    """Which table is read, and whose columns it has."""

    location: Location = ""
    """File, folder, HATS catalogue or collection, or names with ``*``."""
    survey: str = ""
    """Name of a survey that photoz knows, or path of a file like those (docs/tables.md); "": that of the model, or
    "plain" where there is none yet."""
    absent_bands: Literal["refuse", "accept"] = "refuse"
    """Of bands that the model reads and the survey or its table lacks; accepted, they count as not observed."""
    other_survey: Literal["refuse", "accept"] = "refuse"
    """Of a model that was fitted to another survey's table: bands of one name may be other filters."""
    duplicates: Literal["", "refuse", "keep"] = ""
    """What happens with rows whose identifier another row has; "": what the survey's file says."""

    def settle(self, survey: TableSurvey) -> TableSurvey:
        """Return the survey with what these settings say otherwise."""
        return msgspec.structs.replace(survey, duplicates=self.duplicates) if self.duplicates else survey
