"""The sections of the settings that say what a survey is, which sources count, and where its files come from."""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from photoz.errors import ConfigError
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


class OtherImages(Settings, frozen=True):
    """Image bands whose files are another survey's, such as VIKING's beside KiDS': what of ``survey`` does not hold of
    them. What is not given here does.
    """

    bands: tuple[str, ...]
    image_file: str | None = None
    """Of the places only those that the name in ``survey`` has."""
    mask_file: str | None = None
    weight_file: str | None = None
    image_hdu: str | None = None
    mask_hdu: str | None = None
    weight_hdu: str | None = None
    zeropoint: float | None = None
    zeropoint_key: str | None = None
    zeropoint_kind: Literal["mag", "flux0", "unit"] | None = None
    mask_planes: tuple[str, ...] | None = None
    mask_bits: tuple[int, ...] | dict[str, tuple[int, ...]] | None = None
    weight_kind: Literal["weight", "variance"] | None = None

    def list_given(self) -> dict[str, Any]:
        """Return what is given of ``survey``, by its names there."""
        values = {name: getattr(self, name) for name in self.__struct_fields__ if name != "bands"}
        return {name: value for name, value in values.items() if value is not None}


class Survey(Settings, frozen=True):
    """What a survey is: its bands, file names, columns and pixel scale. The defaults are KiDS DR4."""

    name: str = "KiDS DR4.0"
    bands: tuple[str, ...] = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
    image_bands: tuple[str, ...] = ("u", "g", "r", "i")
    pixel_scale: float = 0.2
    """[arcsec / pixel]"""
    pixel_scales: dict[str, float] = msgspec.field(default_factory=dict)
    """[arcsec / pixel] of image bands whose pixels are others than the tile's, such as VIKING's, ``Z = 0.339``: ingest
    resamples them onto those of the other bands (docs/images.md), and where they do not reach they are NaN."""
    optional_bands: tuple[str, ...] = ()
    """Image bands of which a tile may have no file: it is stored with NaN there, and the network takes the band as
    missing. Of the other bands a missing file costs the tile its images."""
    band_tolerance: float = 0.1
    """[pixel] how far the pixels of a tile's bands may lie from each other, after a shift by whole pixels; a tile whose
    bands lie farther is set aside. At most 0.5."""
    tile: str = "KIDS_{ra}_{dec}"
    """Name of a tile; what stands in braces is what the file names have in that place. ``{ra}`` and ``{dec}`` are its
    centre in degrees, ``{tract}``, ``{patch}``, ``{brick}`` and ``{field}`` other surveys' ways to name one."""
    # Beside the places above: {band} as band_names spells it, {BAND} and {lower} in capital and in small letters. Any
    # other part may be a glob, in which * passes folders too. Each may end in .fits, .fits.fz or .fits.gz.
    image_file: str = "KiDS_DR4.0_{ra}_{dec}_{band}_sci.fits"
    weight_file: str = "KiDS_DR4.0_{ra}_{dec}_{band}_wei.fits"
    mask_file: str = "KiDS_DR4.0_{ra}_{dec}_{band}_msk.fits"
    """May be that of the images, whose files then hold both; "": there is none. Without a band it is one for all."""
    image_hdu: str = ""
    """Number or name (EXTNAME) of the image in its file, "1" or "IMAGE"; "": found by the names that surveys give. May
    hold the band, "SCI_{BAND}", where one file has the images of all bands."""
    weight_hdu: str = ""
    mask_hdu: str = ""
    band_names: dict[str, str] = msgspec.field(default_factory=dict)
    """Band -> how the file names spell it, ``g = "HSC-G"``; the others are spelt as in ``bands``."""
    folders: tuple[Location, ...] = ()
    """Further folders with files of the survey, beside ``locations.survey``."""
    archive_file: str = "ADP.*.fits*"
    """Names, by a glob, of files that an archive has renamed, as ESO's does; "": there are none."""
    archive_key: str = "ORIGFILE"
    """Key of their primary header that tells the name that they had, by which they are found. Unchecked in a file of
    KiDS from the archive: it is the keyword of ESO's standard for products."""
    other_images: tuple[OtherImages, ...] = ()
    """Bands whose images are another survey's, with names, units and masks of their own: ``[[survey.other_images]]`` in
    TOML, once for each."""
    catalogue_file: str = "KiDS_DR4.[01]_{ra}_{dec}_ugriZYJHKs_cat.fits"
    """May be a glob: DR4.1 re-released 196 of the 1006 catalogues. The highest match is read. With fewer places than
    ``image_file``, such as none, it is a catalogue of many tiles, which needs ``catalogue_survey``: a file, several or
    a folder, here or under a location of their own. Each source goes to the tile in which it lies farthest from the
    edge."""
    catalogue_survey: str = ""
    """What the catalogue's columns mean: a survey's file, by its name (``hsc_pdr3``) or its path. The catalogue may
    then be any table of docs/tables.md, and its magnitudes or fluxes are what that file says. "": FITS tables with
    ``columns``, and what follows them here."""
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
    zeropoint_key: str = ""
    """Key of an image's header, or of its file's primary one, that tells the zero point in place of ``zeropoint``."""
    zeropoint_kind: Literal["mag", "flux0", "unit"] = "mag"
    """What stands there: a magnitude (``MAGZERO``); the flux of magnitude 0 (HSC's ``FLUXMAG0``); or the unit of the
    pixels (``BUNIT``): nJy, nanomaggy and the like."""
    stored_unit: Literal["as is", "nJy"] = "as is"
    """Of the stored pixels. Where the zero point is not the same for all files, nJy gives all bands one unit."""
    mask_planes: tuple[str, ...] = ()
    """Planes of the masks that count against a galaxy, by the names of their keys ``MP_<name>``, as HSC's and Rubin's
    images have them: ("BAD", "SAT", "NO_DATA"). With ``mask_bits`` neither: any value but 0 counts."""
    mask_bits: tuple[int, ...] | dict[str, tuple[int, ...]] = ()
    """Numbers of the bits that count, from 0 on; for all bands, or by band."""
    weight_kind: Literal["weight", "variance"] = "weight"
    """What the weight files hold; variances are stored as weights, one over them."""
    zeropoint_offset: str = "DMAG_{BAND}"
    """Key of the catalogue's primary header with the band's homogenisation offset; ``{BAND}`` is upper case."""
    zeropoint_offset_sign: Literal[-1, 0, 1] = 0
    """Apply the offset to image fluxes as m + sign * offset; 0 records it without applying it."""

    def get_pixel_scale(self, band: str) -> float:
        """Return the pixel scale of a band's files [arcsec / pixel]."""
        return self.pixel_scales.get(band, self.pixel_scale)

    def of_band(self, band: str) -> "Survey":
        """Return the survey as its images of a band are: with what ``other_images`` says of them."""
        given = [other.list_given() for other in self.other_images if band in other.bands]
        return msgspec.structs.replace(self, **given[0]) if given else self

    @property
    def partial_bands(self) -> tuple[str, ...]:
        """Image bands that may not cover a tile: those on pixels of their own, and those without a file."""
        return tuple(each for each in self.image_bands if each in self.pixel_scales or each in self.optional_bands)

    def check(self) -> None:
        """Raise `ConfigError` where settings do not fit together."""
        unknown = [band for band in self.image_bands if band not in self.bands]
        if unknown:
            raise ConfigError(f"survey.image_bands has {unknown}, which survey.bands {list(self.bands)} lacks")
        self._check_bands()
        self._check_unit()
        if self.pixel_scale <= 0:
            raise ConfigError(f"survey.pixel_scale = {self.pixel_scale} arcsec must be positive")
        wrong = {band: scale for band, scale in self.pixel_scales.items() if not scale > 0}
        if wrong:
            raise ConfigError(f"survey.pixel_scales = {wrong} arcsec must be positive")
        if self.image_bands and set(self.image_bands) <= self.pixel_scales.keys():
            raise ConfigError(
                f"survey.pixel_scales names all image bands {list(self.image_bands)}: leave out those whose pixels the "
                "tile is to have, and give their scale in survey.pixel_scale"
            )

    def _check_bands(self) -> None:
        """Refuse bands that there are not: what is said of them would be said of none."""
        others = [band for other in self.other_images for band in other.bands]
        bits = [self.mask_bits, *(other.mask_bits for other in self.other_images)]
        named: dict[str, Iterable[str]] = {
            "pixel_scales": self.pixel_scales,
            "optional_bands": self.optional_bands,
            "band_names": self.band_names,
            "mask_bits": [band for each in bits if isinstance(each, dict) for band in each],
            "other_images": others,
        }
        for setting, bands in named.items():
            if unknown := sorted(set(bands) - set(self.bands)):
                raise ConfigError(f"survey.{setting} has {unknown}, which survey.bands {list(self.bands)} lacks")
        if twice := sorted(band for band in set(others) if others.count(band) > 1):
            raise ConfigError(f"survey.other_images has {twice} more than once: name each band in one of them")

    def _check_unit(self) -> None:
        """Refuse to store the pixels of files whose units differ as they are: no network could tell them apart."""
        given = {name for other in self.other_images for name in other.list_given() if name.startswith("zeropoint")}
        key = "survey.zeropoint_key" if self.zeropoint_key else "survey.other_images.zeropoint" if given else ""
        if key and self.stored_unit == "as is":
            raise ConfigError(
                f'{key} says that files may have zero points of their own, and survey.stored_unit = "as is" stores '
                'their pixels side by side: set survey.stored_unit = "nJy"'
            )


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
    bright_cuts: tuple[Cut, ...] = ()
    """Conditions on that file's own columns. Of the KiDS-Bright file ``masked`` equal to 0 are the sources outside its
    masks: --set 'selection.bright_cuts=[{column="masked",equals=0}]'."""
    bright_columns: tuple[str, ...] = ()
    """Columns of that file that go with the sources to the end, into the photo-z catalogue: ``masked``, say."""


class Download(Settings, frozen=True):
    """What jobs/download_dr4.py fetches. A whole DR4 tile of four bands has 7.5 GB of images and masks."""

    base_url: str = "http://ds.astro.rug.astro-wise.org:8000"
    """Folder of the files. The Astro-WISE server that KiDS's own lists name for DR1 and DR5; unchecked for DR4, whose
    lists are linked from https://kids.strw.leidenuniv.nl/DR4."""
    tiles: tuple[str, ...] = ()
    """Names of tiles, like ``KIDS_180.0_-0.5``."""
    tile_list: Location = ""
    """File with a tile a line, or a wget script of the release: the addresses in it are fetched as they stand, those of
    ``tiles`` alone where some are named there."""
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
