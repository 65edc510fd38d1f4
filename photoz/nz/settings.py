"""How n(z) is stacked."""

from photoz.settings.base import Count, Positive, Settings, Whole
from photoz.settings.locations import Location


class Nz(Settings, frozen=True):
    """The redshift distribution of the catalogue in tomographic bins (jobs/summarize_nz.py)."""

    edges: tuple[float, ...] = ()
    """In z_phot, of the tomographic bins; empty: ``bins`` bins with equally many galaxies."""
    bins: Count = 5
    """As many as KiDS-1000's cosmic shear has."""
    highest_redshift: Positive = 1.0
    """Of the cells that n(z) is given on, which begin at 0; the share of p(z) beyond is recorded."""
    step: Positive = 0.01
    """In redshift, width of a cell: half the scatter of a good photometric redshift, or less."""
    resamples: Whole = 200
    """Bootstrap samples; 200 give an error to 5 % of itself."""
    exclude_flags: tuple[str, ...] = ()
    """Names of `photoz.schema.Flag`: rows with any of them are left out, as rows without z_phot always are."""
    output: Location = ""
    """Folder of the result; "": ``nz`` within ``locations.report``."""
