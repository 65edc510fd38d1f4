"""What a catalogue is compared with."""

import msgspec

from photoz.settings.base import Settings
from photoz.settings.locations import Location


class Evaluation(Settings, frozen=True):
    """What is compared with spectroscopic redshifts."""

    catalogues: dict[str, Location] = msgspec.field(default_factory=dict)
    """Label -> catalogue location; empty: ``locations.catalogue`` alone."""
    published: bool = True
    """Set published figures (of other samples) beside ours."""
    sample: str = ""
    """What the test galaxies are, in the report's words; empty: said from the survey's name and what the files tell."""
    colour: tuple[str, str] = ("g", "r")
    """Bands whose magnitude difference is the colour to bin in; g - r straddles the 4000 A break over the bright
    sample's redshifts, and g is far deeper than u."""
    bins: int = 8
    """About how many bins of magnitude, redshift and colour; fewer for a small sample."""
    resamples: int = 200
    """Bootstrap samples; 200 give an error to 5 % of itself."""
    vector_figures: bool = False
    """Write each figure as PDF too."""
    seeing_key: str = "SEEING"
    """Header keyword of a tile's images with the seeing [arcsec], for the report; the simulated survey's. What the KiDS
    coadds call it is unchecked: where it is absent the report says so."""
    noise_key: str = "SKYNOISE"
    """Header keyword with the standard deviation of a pixel of empty sky [flux], from which the report computes the
    depth; the simulated survey's."""
