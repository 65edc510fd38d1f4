"""What a catalogue is compared with."""

from typing import Literal

import msgspec

from photoz.errors import ConfigError
from photoz.settings.base import Count, Settings, Whole
from photoz.settings.locations import Location

WIDEST = 60.0
"""[arcsec] Within it there is one galaxy or a few: what is held while matching grows with the table of redshifts."""


class Truth(Settings, frozen=True):
    """A table whose redshifts catalogues are measured on, in place of the test split of the training set."""

    table: Location = ""
    """File, folder, HATS catalogue or names with ``*``, as ``table.location`` has it; "": the test split."""
    survey: str = ""
    """Whose columns it has: a name that photoz knows, or the path of a survey's file (docs/tables.md); "": "plain".
    Identifier, position, redshift with its quality, and cuts are read; photometry need not be there."""
    join: Literal["id", "position"] = "id"
    """How its galaxies are found in a catalogue: by their identifiers, letter by letter, or on the sky."""
    radius_arcsec: float = 1.0
    """[arcsec] Greatest separation of a galaxy from its row of a catalogue; of ``join = "position"`` alone."""

    def check(self) -> None:
        """Raise `ConfigError` where the radius is none."""
        if not 0 < self.radius_arcsec <= WIDEST:
            raise ConfigError(
                f"evaluation.truth.radius_arcsec = {self.radius_arcsec} arcsec must be above 0 and at most {WIDEST:g}"
            )


class Evaluation(Settings, frozen=True):
    """What is compared with spectroscopic redshifts."""

    catalogues: dict[str, Location] = msgspec.field(default_factory=dict)
    """Label -> catalogue location; empty: ``locations.catalogue`` alone."""
    truth: Truth = Truth()
    published: bool = True
    """Set published figures (of other samples) beside ours."""
    sample: str = ""
    """What the test galaxies are, in the report's words; empty: said from the survey's name and what the files tell."""
    colour: tuple[str, str] = ("g", "r")
    """Bands whose magnitude difference is the colour to bin in; g - r straddles the 4000 A break over the bright
    sample's redshifts, and g is far deeper than u."""
    bins: Count = 8
    """About how many bins of magnitude, redshift and colour; fewer for a small sample."""
    resamples: Whole = 200
    """Bootstrap samples; 200 give an error to 5 % of itself."""
    vector_figures: bool = False
    """Write each figure as PDF too."""
    seeing_key: str = "SEEING"
    """Header keyword of a tile's images with the seeing [arcsec], for the report; the simulated survey's. What the KiDS
    coadds call it is unchecked: where it is absent the report says so."""
    seeing_table: Location = ""
    """Table of the tiles' seeing (docs/tables.md has the formats), which counts before the header; "": none."""
    seeing_tile: str = "tile"
    """Its column with the tiles' names."""
    seeing_column: str = "seeing_{band}"
    """Its column with a band's seeing [arcsec]."""
    seeing: dict[str, float] = msgspec.field(default_factory=dict)
    """[arcsec] by band, of tiles of which neither the table nor a header tells it."""
    noise_key: str = "SKYNOISE"
    """Header keyword with the standard deviation of a pixel of empty sky [flux], from which the report computes the
    depth; the simulated survey's."""
