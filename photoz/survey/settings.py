"""The sections of the settings that say what a survey is, which sources count, and where its files come from."""

from typing import Literal

import msgspec

from photoz.settings.base import Settings
from photoz.settings.locations import Location


class Cut(Settings, frozen=True):
    """One condition a source must meet on a column of the survey's catalogue."""

    column: str
    equals: float | None = None
    below: float | None = None
    """Strictly less than this."""
    at_least: float | None = None
    bits_clear: int | None = None
    """None of these bits may be set."""


class Columns(Settings, frozen=True):
    """Column names in the survey's multi-band catalogue; ``{band}`` stands for the band."""

    object_id: str = "ID"
    ra: str = "RAJ2000"
    dec: str = "DECJ2000"
    tile: str = "KIDS_TILE"
    mag_auto: str = "MAG_AUTO"
    magerr_auto: str = "MAGERR_AUTO"
    mag: str = "MAG_GAAP_{band}"
    magerr: str = "MAGERR_GAAP_{band}"
    extinction: str = "EXTINCTION_{band}"
    limit: str = ""
    """Magnitude of a flux of one sigma, such as ``MAG_LIM_{band}``, dereddened where ``mag`` is: the error of a flux
    that was not detected. "": none; where ``magerr`` holds a magnitude beside the sentinel, as in BPZ's catalogues,
    that is taken."""


class Survey(Settings, frozen=True):
    """What a survey is: its bands, file names, columns and pixel scale. The defaults are KiDS DR4."""

    name: str = "KiDS DR4.0"
    bands: tuple[str, ...] = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
    image_bands: tuple[str, ...] = ("u", "g", "r", "i")
    pixel_scale: float = 0.2
    """[arcsec / pixel]"""
    tile: str = "KIDS_{ra}_{dec}"
    """Name of a tile; ``{ra}`` and ``{dec}`` stand for its centre in degrees as the file names write it."""
    image_file: str = "KiDS_DR4.0_{ra}_{dec}_{band}_sci.fits"
    weight_file: str = "KiDS_DR4.0_{ra}_{dec}_{band}_wei.fits"
    mask_file: str = "KiDS_DR4.0_{ra}_{dec}_{band}_msk.fits"
    catalogue_file: str = "KiDS_DR4.[01]_{ra}_{dec}_ugriZYJHKs_cat.fits"
    """May be a glob: DR4.1 re-released 196 of the 1006 catalogues. The highest match is read."""
    columns: Columns = Columns()
    # Both stand in magnitude and error alike. Within 0.5 mag of it a value counts as the sentinel (sources.py).
    not_detected: float = 99.0
    not_observed: float = -99.0
    magnitudes_dereddened: bool = True
    """KiDS DR4's GAaP magnitudes are already corrected for extinction; False subtracts ``columns.extinction``."""
    mag_auto_band: str = "r"
    """Band of ``columns.mag_auto``: whose extinction and zero-point offset the two settings below apply."""
    mag_auto_dereddened: bool = False
    """KiDS DR4's MAG_AUTO is as measured; False subtracts the extinction. The KiDS-Bright file's MAG_AUTO_CALIB, which
    the limit r_auto < 20 is put on, is MAG_AUTO + DMAG_R - EXTINCTION_r (as public analyses of DR4 compute it)."""
    mag_auto_offset_sign: Literal[-1, 0, 1] = 1
    """mag_auto + sign * zero-point offset of its band, where the catalogue's header has one."""
    zeropoint: float = 0.0
    """[mag(AB)] of the images; KiDS coadds are calibrated to 0."""
    zeropoint_offset: str = "DMAG_{BAND}"
    """Key of the catalogue's primary header with the band's homogenisation offset; ``{BAND}`` is upper case."""
    zeropoint_offset_sign: Literal[-1, 0, 1] = 0
    """Apply the offset to image fluxes as m + sign * offset; 0 records it without applying it."""


class Selection(Settings, frozen=True):
    """Which sources of the multi-band catalogue enter the source catalogue: the KiDS-Bright cuts by default."""

    mag_auto_below: float = 20.0
    """[mag(AB)] limit in r_auto (Bilicki et al. 2021, section 2)."""
    cuts: tuple[Cut, ...] = (
        # Bilicki et al. 2021, A&A 653, A82: galaxies by each of three classifiers, then no flagged pixels.
        Cut(column="SG_FLAG", equals=1),
        Cut(column="SG2DPHOT", equals=0),
        Cut(column="CLASS_STAR", below=0.5),
        # 28668 is bits 2 to 11, 13 and 14; bits 0, 1 and 12 may be set.
        Cut(column="MASK", bits_clear=28668),
    )
    bright_sample: str = ""
    """File within ``locations.survey`` whose IDs are kept instead of applying ``cuts`` (the KiDS-Bright file)."""


class Download(Settings, frozen=True):
    """What jobs/download_dr4.py fetches. A whole DR4 tile of four bands has 7.5 GB of images and masks."""

    base_url: str = "http://ds.astro.rug.astro-wise.org:8000"
    """Folder of the files. The Astro-WISE server that KiDS's own lists name for DR1 and DR5; unchecked for DR4, whose
    lists are linked from https://kids.strw.leidenuniv.nl/DR4."""
    tiles: tuple[str, ...] = ()
    """Names of tiles, like ``KIDS_180.0_-0.5``."""
    tile_list: Location = ""
    """File with a tile a line; the release's wget scripts will do."""
    # Weights are left out: no estimator reads them (tiles.store_weights).
    kinds: tuple[Literal["sci", "wei", "msk", "cat"], ...] = ("sci", "msk", "cat")
    # The KiDS-Bright file, for selection.bright_sample.
    other_urls: tuple[str, ...] = ("https://kids.strw.leidenuniv.nl/DR4/data_files/KiDS_DR4_brightsample.fits",)
    """Further files to fetch."""


class Frame(Settings, frozen=True):
    """A frame of co-registered images without a catalogue, which jobs/ingest_frame.py turns into a survey's tile."""

    folder: Location = ""
    """Where the images lie, one file a band of ``survey.bands``."""
    image_file: str = "{band}.fits"
    zeropoints: dict[str, float] = msgspec.field(default_factory=dict)
    """[mag] of the bands whose zero point is not ``survey.zeropoint``."""
    ab_offsets: dict[str, float] = msgspec.field(default_factory=dict)
    """[mag] AB minus Vega, added to the zero points of bands calibrated to Vega; empty: all are AB."""
    pixel_scale: float = 0.0
    """[arcsec / pixel] of the images, which need no WCS; must be set. They are resampled to ``survey.pixel_scale``."""
    centre: tuple[float, float] = (180.0, 0.0)
    """[deg] nominal position of the frame's centre; it names the tile, so one decimal."""
    detection_band: str = "r"
    threshold: float = 2.0
    """Signal to noise a pixel, after matched filtering with sep's default 3 x 3 kernel. On the real frame the negative
    of the r image gives 2 % as many detections with r < 23 as the image does; at 1.5, 5 % (docs/real-pixels.md)."""
    min_pixels: int = 5
    background_pixels: int = 128
    """Side of the squares the background is estimated in; larger than the largest galaxy's bright part."""
    aperture: float = 3.4
    """[arcsec] diameter of the circle that all bands are measured in, after blurring to the worst seeing; some 2.5
    times that seeing."""
    saturated_mag: float = 15.3
    """[mag] in the detection band: stars brighter than this are saturated (their half-light radius grows)."""
    saturated_radius: float = 10.0
    """[arcsec] around a saturated star that is masked."""
