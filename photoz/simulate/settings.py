"""Settings of the simulated survey; apart from `photoz.simulate`, which needs packages that no other job does."""

import msgspec

from photoz.settings import Settings
from photoz.settings.base import Count, Fraction, NotNegative, Positive, Whole

_VISTA = ("Z", "Y", "J", "H", "Ks")


def _simulation_responses() -> dict[str, str]:
    return {
        "u": "sdss_u0",
        "g": "sdss_g0",
        "r": "cfht_megacam_r",
        "i": "sdss_i0",
        "Z": "ukirt_wfcam_Z",
        "Y": "ukirt_wfcam_Y",
        "J": "ukirt_wfcam_J",
        "H": "ukirt_wfcam_H",
        "Ks": "hawki_Ks1",
    }


class Simulation(Settings, frozen=True):
    """The simulated survey. Physical choices are documented in photoz/simulate."""

    centres: tuple[tuple[float, float], ...] = ((180.0, -0.5), (180.2, -0.5), (180.0, -0.3), (180.2, -0.3))
    """[deg] tile centres; they name the files, so one decimal. Each catalogue ends half-way to the next centre."""
    pixels: Count = 3700
    """[pixel] side of a tile: 0.2 deg between centres is 3600 pixels of 0.2 arcsec, so images overlap by 100."""
    galaxies_per_tile: Whole = 1600
    """Galaxies with r < 20 over a whole tile: 38,000 a square degree at 3700 pixels, 31 times the 1,230 of the real
    sky, so that a survey small enough for a laptop can train a network. They keep apart, and so blend as seldom as
    nature's."""
    faint_per_tile: Whole = 1000
    """Galaxies of 20 <= r < 23 over a whole tile, neighbours and blends; 24,000 a square degree, about as in nature."""
    stars_per_tile: Whole = 200
    """Stars of 10 < r < 22 over a whole tile; about 5,000 a square degree."""
    mean_redshift: Positive = 0.23
    """Of the galaxies with r < 20; that of KiDS-Bright and GAMA (Bilicki et al. 2021)."""
    highest_redshift: Positive = 0.6
    """Of the galaxies with r < 20."""
    spectral_variety: NotNegative = 1.0
    """Deviations of spectra from sums of templates, in those of real SDSS and 2MASS galaxies; 0 for none."""
    responses: dict[str, str] = msgspec.field(default_factory=_simulation_responses)
    """kcorrect's response file for each band: those nearest in pivot wavelength to the real ones (within 2 %)."""
    seeing: dict[str, float] = msgspec.field(
        default_factory=lambda: {"u": 1.0, "g": 0.9, "r": 0.7, "i": 0.8, **dict.fromkeys(_VISTA, 0.9)}
    )
    """[arcsec] FWHM of each band of which images are made; tiles vary by some 6 %. Of VISTA's bands about what VIKING
    asked for (0.9 to 1.0): unchecked."""
    depth: dict[str, float] = msgspec.field(
        default_factory=lambda: dict(
            zip(
                ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks"),
                (24.2, 25.1, 25.0, 23.7, 22.7, 22.0, 21.8, 21.1, 21.2),
                strict=True,
            )
        )
    )
    """[mag(AB)] 5 sigma in an aperture of 2 arcsec diameter."""
    photometry_floor: NotNegative = 0.02
    """[mag] error that no depth removes, of each source and band: flat fields and the like. Images have it, too."""
    zero_points: NotNegative = 1.0
    """Scatter of zero points from tile to tile, in KiDS's own (`photoz.simulate.sky.ZERO_POINT_ERRORS`); 0 for none."""
    spectroscopic_fraction: Fraction = 0.95
    """Of the bright galaxies that have a GAMA-like redshift."""
    missing_band_fraction: Fraction = 0.02
    """Of a tile's area (a strip at one side) where one near-infrared band was not observed: NaN in its image, too."""
    failed_fraction: Fraction = 0.002
    """Of magnitudes that are not measured though the band was observed (99), beside those too faint to be detected."""
    compress: bool = False
    """Write the images tile-compressed (fpack); names end in ``.fits.fz``."""
