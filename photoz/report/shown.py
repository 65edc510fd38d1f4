"""The report's section of single galaxies: a figure and a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np

from photoz.evaluate.examples import ShownGalaxies
from photoz.metrics import compute_dz
from photoz.plots.galaxies import plot_galaxies
from photoz.report.plates import Plate
from photoz.schema import Flag


@dataclass(frozen=True)
class ShownRow:
    """What the section's table says of a galaxy, as text."""

    panel: str
    kind: str
    object_id: str
    position: str
    z_spec: str
    z_phot: list[str]
    """In each catalogue."""
    difference: str
    flags: str


def draw_shown(shown: ShownGalaxies, *, width: float) -> Iterator[Plate]:
    """Draw the section's figure; none where no galaxy is shown.

    Parameters
    ----------
    shown : ShownGalaxies
    width : float
        [arcsec] of the images.
    """
    if not len(shown):
        return
    first = next(iter(shown.z_phot))
    names = "one band" if len(shown.bands) == 1 else f"{', '.join(shown.bands)} as red, green, blue"
    images = (
        f"Images: {names}, {width:.3g} arcsec wide, each on its own scale. "
        if shown.images_KBYX is not None
        else "There are no images. "
    )
    yield Plate(
        "galaxies-shown",
        "Some galaxies",
        f"By the redshifts of “{first}”: the least |Δz|, those around the median, the greatest, and some drawn at "
        f"random of those that carry a flag. {images}Black: z_spec; dashed: z_phot; curves: p(z), to no common scale.",
        plot_galaxies(shown, [f"{row.panel}  {row.kind}" for row in make_shown_rows(shown)]),
        photograph=shown.images_KBYX is not None,
    )


def make_shown_rows(shown: ShownGalaxies) -> list[ShownRow]:
    """Format what the section's table shows, a galaxy each."""
    z_KC = np.stack(list(shown.z_phot.values()), axis=1)
    dz_K = compute_dz(z_KC[:, 0], shown.z_spec_K)
    return [
        ShownRow(
            panel=panel,
            kind=str(shown.kinds[k]),
            object_id=shown.object_id[k],
            position=f"{shown.ra_K[k]:.5f}, {shown.dec_K[k]:+.5f}".replace("-", "−"),
            z_spec=_format(shown.z_spec_K[k]),
            z_phot=[_format(z) for z in z_KC[k]],
            difference=_format(dz_K[k], sign="+"),
            flags=", ".join(flag.name or "" for flag in Flag if shown.flags_K[k] & flag.value) or "none",
        )
        # A letter each, of which there are more than galaxies.
        for k, panel in zip(range(len(shown)), ascii_lowercase, strict=False)
    ]


def _format(value: float, *, sign: str = "") -> str:
    return f"{value:{sign}.4f}".replace("-", "−") if np.isfinite(value) else "–"
