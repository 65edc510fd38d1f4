"""The sky that the tiles look at: where everything is, the same from whichever tile it is seen.

Each tile centre owns the sky that is nearer to it than to any other centre, and its sources are drawn from the run's
seed and the centre alone. A tile's image shows its own sources and its neighbours', its catalogue lists its own: so
catalogues are excised where images overlap, as in KiDS.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from photoz.simulate.morphology import draw_shapes
from photoz.simulate.population import draw_galaxies
from photoz.simulate.seds import Floats, compute_fluxes, load_library
from photoz.simulate.settings import Simulation
from photoz.simulate.stars import draw_stars
from photoz.simulate.variety import deviate_magnitudes, draw_deviations, load_variety
from photoz.survey.settings import Survey

Centre = tuple[float, float]

# A new one takes the next number: another number for an old one would make another sky of every seed.
STREAMS = {
    "bright": 0,
    "faint": 1,
    "stars": 2,
    "photometry": 3,
    "psf": 4,
    "noise": 5,
    "spectra": 6,
    "calibration": 7,
    "zero points": 8,
    "sizes": 9,
    "offsets": 10,
}
"""Numbers of the independent random streams of a tile."""

ZERO_POINT_ERRORS = {"u": 0.033} | dict.fromkeys(("g", "r", "i", "Z", "Y", "J", "H", "Ks"), 0.01)
"""[mag] scatter of tiles' zero points. u: of KiDS DR4 against SDSS, as Liang & von der Linden find (2022,
arXiv:2212.05135). Of the other bands about what is aimed at: unchecked, as no published figure was at hand."""

OFFSET_SCATTER = 0.03
"""[mag] of the homogenisation offsets (DMAG) from tile to tile: about as KiDS's, unchecked."""

NEAR_INFRARED = ("Z", "Y", "J", "H", "Ks")
"""VISTA's bands, whose footprint ends elsewhere than that of the others."""

BRIGHT_LIMIT, FAINT_LIMIT = 20.0, 23.0
"""[mag(AB)] total, dereddened r."""
BRIGHT_DENSITY = 1230.0
"""[1 / deg^2] galaxies of r < 20 in KiDS-Bright (Bilicki et al. 2021: 1.24 million on 1,006 deg^2)."""
_PAIR, _PARTINGS = 8.0, 40  # arcsec, nearer galaxies shed light into each other's apertures; times that they are parted
_BRIGHTEST_GALAXY = 15.5  # the 1 % that are brighter would lie over a good part of such a dense sky
# As far as the library's grid reaches (`photoz.simulate.seds.HIGHEST_REDSHIFT`).
_FAINT_REDSHIFT = 1.2

# A_b / E(B-V) for R_V = 3.1: Schlafly & Finkbeiner 2011, ApJ 737, 103, table 6 (SDSS u g r i z, LSST y, 2MASS J H Ks).
EXTINCTION = {
    "u": 4.239,
    "g": 3.303,
    "r": 2.285,
    "i": 1.698,
    "Z": 1.263,
    "Y": 1.088,
    "J": 0.723,
    "H": 0.460,
    "Ks": 0.310,
}


@dataclass(frozen=True)
class Recipe:
    """All that a simulated survey is made from: what depends on nothing else is the same in every run.

    Parameters
    ----------
    simulation : Simulation
    survey : Survey
        Whose bands, pixel scale, file names and sentinels are imitated.
    seed : int
    """

    simulation: Simulation
    survey: Survey
    seed: int


@dataclass(frozen=True, eq=False)
class Sources:
    """N sources of the sky, galaxies and stars; profile columns are 0 for stars.

    Parameters
    ----------
    ra, dec : ndarray of float64
        [deg]
    star : ndarray of bool
    redshift : ndarray of float64
        0 for stars.
    magnitude : ndarray of float64, shape (N, B)
        [mag(AB)] total, without Galactic extinction.
    calibration : ndarray of float64, shape (N, B)
        Measured over true flux: what flat fields and the like leave, of one source in one band. Images and magnitudes
        have it alike, so that neither takes it off the other.
    early, radius, bulge_index, bulge_radius, disc_radius, bulge_ratio, disc_ratio, angle, bulge_fraction
        As in `photoz.simulate.morphology.Shapes`.
    """

    ra: Floats
    dec: Floats
    star: npt.NDArray[np.bool_]
    redshift: Floats
    magnitude: Floats
    calibration: Floats
    early: npt.NDArray[np.bool_]
    radius: Floats
    bulge_index: Floats
    bulge_radius: Floats
    disc_radius: Floats
    bulge_ratio: Floats
    disc_ratio: Floats
    angle: Floats
    bulge_fraction: Floats

    def __len__(self) -> int:
        return len(self.ra)

    def select(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Self:
        """Return the sources for which a mask is set, or those of the given rows."""
        return replace(self, **{field.name: getattr(self, field.name)[which] for field in fields(self)})


def join_sources(parts: Sequence[Sources]) -> Sources:
    """Concatenate sources."""
    return Sources(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Sources)})


def make_rng(seed: int, centre: Centre, stream: str, band: int = 0) -> np.random.Generator:
    """Make the random generator of one stream of a tile: it depends on nothing but these arguments.

    Parameters
    ----------
    seed : int
        Of the run.
    centre : (float, float)
        [deg] of the tile; one decimal counts, as in the names of its files.
    stream : str
        One of `STREAMS`.
    band : int
        Number of the band, for streams that have one each.
    """
    # SeedSequence takes no negative numbers, hence dec + 90. Keys and not an offset to the seed: streams of
    # neighbouring seeds stay independent.
    key = (round(centre[0] * 10), round((centre[1] + 90) * 10), STREAMS[stream], band)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def make_wcs(centre: Centre, pixels: int, pixel_scale: float) -> WCS:
    """Make the tangential projection of a tile, north up and east left.

    Parameters
    ----------
    centre : (float, float)
        [deg] of the tile, which falls on the middle of the image.
    pixels : int
        [pixel] side of the image.
    pixel_scale : float
        [arcsec / pixel]

    Examples
    --------
    >>> x, y = make_wcs((180.0, -0.5), 100, 0.2).all_world2pix(180.0, -0.5, 1)
    >>> round(float(x), 6), round(float(y), 6)
    (50.5, 50.5)
    """
    wcs = WCS(naxis=2)
    # Set one by one: a header's cards would round the scale to 14 digits.
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = centre
    # FITS counts pixels from 1 at their centres: the middle of n pixels is (n + 1) / 2.
    wcs.wcs.crpix = [(pixels + 1) / 2] * 2
    wcs.wcs.cd = np.diag([-pixel_scale / 3600, pixel_scale / 3600])
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


# Room for a tile and its eight neighbours, some of which are the next tile's, too.
@lru_cache(maxsize=16)
def _make_sources(recipe_key: bytes, centre: Centre) -> Sources:
    recipe = msgspec.json.decode(recipe_key, type=Recipe)
    simulation = recipe.simulation
    wcs = make_wcs(centre, simulation.pixels, recipe.survey.pixel_scale)
    kinds = {
        "bright": simulation.galaxies_per_tile,
        "faint": simulation.faint_per_tile,
        "stars": simulation.stars_per_tile,
    }
    parts = []
    for kind, number in kinds.items():
        rng = make_rng(recipe.seed, centre, kind)
        x, y = _place(rng, number, simulation.pixels)
        if kind == "bright":
            x, y = _part_pairs(recipe, rng, (x, y))
        ra, dec = wcs.all_pix2world(x, y, 1)
        draw = _draw_stars if kind == "stars" else _draw_galaxies
        parts.append(draw(recipe, rng, kind, (ra, dec)))
    sources = join_sources(parts)
    sources = replace(sources, calibration=_draw_calibration(recipe, centre, sources.magnitude.shape))
    # Drawn over the whole image and then cut to what the tile owns, so that the density does not depend on the
    # overlaps.
    owned = np.flatnonzero(find_owner(sources.ra, sources.dec, simulation.centres) == simulation.centres.index(centre))
    # From south to north, as a detection runs through the pixels: the order of the draws would tell bright galaxies,
    # faint ones and stars by their row.
    return sources.select(owned[np.argsort(sources.dec[owned], kind="stable")])


def _place(rng: np.random.Generator, number: int, pixels: int) -> Floats:
    # From edge to edge: the first pixel begins at 0.5 where FITS counts it as 1.
    return np.asarray(rng.uniform(0.5, pixels + 0.5, (2, number)))


def _part_pairs(recipe: Recipe, rng: np.random.Generator, place: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Move bright galaxies away from each other until close pairs are about as rare as at nature's density.

    Packed more densely than nature's, they would else blend that much more often. Where there is no room they stay.
    """
    place_N2, pixels, scale = np.stack(place, axis=1), recipe.simulation.pixels, recipe.survey.pixel_scale
    natural = BRIGHT_DENSITY * (pixels * scale / 3600) ** 2
    may_N = rng.random(len(place_N2)) < natural / max(len(place_N2), 1)
    for _ in range(_PARTINGS):
        pairs_P2 = cKDTree(place_N2).query_pairs(_PAIR / scale, output_type="ndarray")
        moved = np.unique(pairs_P2[~may_N[pairs_P2].any(axis=1), 1])
        if not len(moved):
            break
        place_N2[moved] = _place(rng, len(moved), pixels).T
    return place_N2[:, 0], place_N2[:, 1]


def _draw_calibration(recipe: Recipe, centre: Centre, shape: tuple[int, ...]) -> Floats:
    rng = make_rng(recipe.seed, centre, "calibration")
    # 1.0857 = 2.5 / ln 10: [mag] per relative change of a flux.
    return np.asarray(1 + recipe.simulation.photometry_floor / 1.0857 * rng.standard_normal(shape))


def draw_zero_points(recipe: Recipe, centre: Centre) -> Floats:
    """Draw the errors of a tile's zero points, which images and magnitudes share.

    Parameters
    ----------
    recipe : Recipe
    centre : (float, float)
        [deg] of the tile.

    Returns
    -------
    ndarray of float64, shape (B,)
        [mag] by which all that is measured in a band of the tile is too faint.
    """
    scatter_B = np.array([ZERO_POINT_ERRORS[band] for band in recipe.survey.bands])
    rng = make_rng(recipe.seed, centre, "zero points")
    return np.asarray(recipe.simulation.zero_points * scatter_B * rng.standard_normal(len(scatter_B)))


def draw_offsets(recipe: Recipe, centre: Centre) -> dict[str, float]:
    """Draw the homogenisation offsets of a tile's images.

    Parameters
    ----------
    recipe : Recipe
    centre : (float, float)
        [deg] of the tile.

    Returns
    -------
    dict of str to float
        [mag] image band -> what magnitudes measured on its image lack: m + offset is calibrated. The catalogue's GAaP
        magnitudes have it, its MAG_AUTO and the images have not, as in KiDS.
    """
    offsets = {}
    for band in recipe.survey.image_bands:
        rng = make_rng(recipe.seed, centre, "offsets", recipe.survey.bands.index(band))
        # As the header's card has it, so that it can be taken off to the last digit.
        offsets[band] = round(OFFSET_SCATTER * float(rng.standard_normal()), 4)
    return offsets


def compute_received_fluxes(recipe: Recipe, centre: Centre, sources: Sources) -> Floats:
    """Compute the total fluxes that a tile would measure without noise.

    Parameters
    ----------
    recipe : Recipe
    centre : (float, float)
        [deg] of the tile whose zero points they have.
    sources : Sources

    Returns
    -------
    ndarray of float64, shape (N, B)
        [maggies] dimmed by the Galaxy, with the errors of calibration.
    """
    dimmed_NB = sources.magnitude + compute_extinction(sources.ra, sources.dec, recipe.survey.bands)
    return np.asarray(10.0 ** (-0.4 * (dimmed_NB + draw_zero_points(recipe, centre))) * sources.calibration)


def make_sources(recipe: Recipe, centre: Centre) -> Sources:
    """Draw the sources that a tile centre owns: bright galaxies, faint galaxies, stars.

    Parameters
    ----------
    recipe : Recipe
    centre : (float, float)
        [deg] one of the simulation's centres.
    """
    # Each tile is seen by its neighbours too, so they are kept; settings hold tables, which cannot be a cache's key.
    return _make_sources(msgspec.json.encode(recipe), centre)


def find_owner(ra_N: Floats, dec_N: Floats, centres: Sequence[Centre]) -> npt.NDArray[np.intp]:
    """Find the nearest tile centre of positions.

    Parameters
    ----------
    ra_N, dec_N : ndarray of float64
        [deg]
    centres : sequence of (float, float)
        [deg]

    Returns
    -------
    ndarray of int, shape (N,)
        Index into the centres.
    """
    ra_C, dec_C = np.array(centres).T
    # The short way round, or a tile at right ascension 0 would lose half of its sources to the wrong one.
    offset_NC = (np.asarray(ra_N)[:, None] - ra_C + 180) % 360 - 180
    distance_NC = (offset_NC * np.cos(np.radians(dec_C))) ** 2 + (np.asarray(dec_N)[:, None] - dec_C) ** 2
    return np.asarray(distance_NC.argmin(1), dtype=np.intp)


def compute_reddening(ra_N: Floats, dec_N: Floats) -> Floats:
    """Compute a smooth, modest E(B-V) [mag] of 0.02 to 0.04, continuous over tile borders."""
    # Waves of 0.7 and 0.4 deg, longer than a tile: positions alone decide, so overlapping tiles agree.
    return np.asarray(0.03 + 0.006 * np.sin(ra_N / 0.11) + 0.004 * np.cos(dec_N / 0.07))


def compute_extinction(ra_N: Floats, dec_N: Floats, bands: Sequence[str]) -> Floats:
    """Compute the Galactic extinction.

    Parameters
    ----------
    ra_N, dec_N : ndarray of float64
        [deg]
    bands : sequence of str
        Of u g r i Z Y J H Ks.

    Returns
    -------
    ndarray of float64, shape (N, B)
        [mag]
    """
    factor_B = np.array([EXTINCTION[band] for band in bands])
    return np.asarray(compute_reddening(ra_N, dec_N)[:, None] * factor_B, dtype=np.float64)


def _draw_galaxies(recipe: Recipe, rng: np.random.Generator, kind: str, position: tuple[Floats, Floats]) -> Sources:
    simulation, bands = recipe.simulation, recipe.survey.bands
    library = load_library(bands, tuple(simulation.responses[band] for band in bands))
    bright = kind == "bright"
    index_N, redshift_N = draw_galaxies(
        library,
        rng,
        len(position[0]),
        # Two draws, since the mean redshift is known of the bright ones, and their number is raised above nature's.
        magnitudes=(_BRIGHTEST_GALAXY, BRIGHT_LIMIT) if bright else (BRIGHT_LIMIT, FAINT_LIMIT),
        highest_redshift=simulation.highest_redshift if bright else _FAINT_REDSHIFT,
        mean_redshift=simulation.mean_redshift if bright else None,
    )
    shapes = draw_shapes(library, rng, index_N, redshift_N)
    magnitude_NB = -2.5 * np.log10(compute_fluxes(library, index_N, redshift_N))
    if simulation.spectral_variety:
        variety = load_variety()
        deviation_NK = simulation.spectral_variety * draw_deviations(variety, rng, library, index_N)
        magnitude_NB += deviate_magnitudes(variety, deviation_NK, library, redshift_N)
    return Sources(
        ra=position[0],
        dec=position[1],
        star=np.zeros(len(index_N), dtype=bool),
        redshift=redshift_N,
        magnitude=magnitude_NB,
        calibration=np.ones_like(magnitude_NB),
        **{field.name.removesuffix("_NB").removesuffix("_N"): getattr(shapes, field.name) for field in fields(shapes)},
    )


def _draw_stars(recipe: Recipe, rng: np.random.Generator, kind: str, position: tuple[Floats, Floats]) -> Sources:
    number, bands = len(position[0]), recipe.survey.bands
    blank = np.zeros(number)
    return Sources(
        ra=position[0],
        dec=position[1],
        star=np.ones(number, dtype=bool),
        redshift=blank,
        magnitude=draw_stars(rng, number, bands),
        calibration=np.ones((number, len(bands))),
        early=np.zeros(number, dtype=bool),
        radius=blank,
        bulge_index=blank,
        bulge_radius=blank,
        disc_radius=blank,
        bulge_ratio=blank,
        disc_ratio=blank,
        angle=blank,
        bulge_fraction=np.zeros((number, len(bands))),
    )
