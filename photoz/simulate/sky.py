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

from photoz.simulate.morphology import draw_shapes
from photoz.simulate.population import draw_galaxies
from photoz.simulate.seds import Floats, compute_fluxes, load_library
from photoz.simulate.settings import Simulation
from photoz.simulate.stars import draw_stars
from photoz.survey.settings import Survey

Centre = tuple[float, float]

# A new one takes the next number: another number for an old one would make another sky of every seed.
STREAMS = {"bright": 0, "faint": 1, "stars": 2, "photometry": 3, "psf": 4, "noise": 5, "spectra": 6}
"""Numbers of the independent random streams of a tile."""

BRIGHT_LIMIT, FAINT_LIMIT = 20.0, 23.0
"""[mag(AB)] total, dereddened r."""
_BRIGHTEST_GALAXY = 15.5  # the 1 % that are brighter would lie over a good part of such a dense sky
# As far as the library's grid reaches (`photoz.simulate.seds.HIGHEST_REDSHIFT`).
_FAINT_REDSHIFT = 1.2

# A_b / E(B-V) for R_V = 3.1: Schlafly & Finkbeiner 2011, ApJ 737, 103, table 6 (SDSS u g r i z, LSST y, 2MASS J H Ks).
_EXTINCTION = {
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
    early, radius, bulge_index, bulge_radius, disc_radius, bulge_ratio, disc_ratio, angle, bulge_fraction
        As in `photoz.simulate.morphology.Shapes`.
    """

    ra: Floats
    dec: Floats
    star: npt.NDArray[np.bool_]
    redshift: Floats
    magnitude: Floats
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
        # From edge to edge: the first pixel begins at 0.5 where FITS counts it as 1.
        x, y = rng.uniform(0.5, simulation.pixels + 0.5, (2, number))
        ra, dec = wcs.all_pix2world(x, y, 1)
        draw = _draw_stars if kind == "stars" else _draw_galaxies
        parts.append(draw(recipe, rng, kind, (ra, dec)))
    sources = join_sources(parts)
    # Drawn over the whole image and then cut to what the tile owns, so that the density does not depend on the
    # overlaps.
    owned = np.flatnonzero(find_owner(sources.ra, sources.dec, simulation.centres) == simulation.centres.index(centre))
    # From south to north, as a detection runs through the pixels: the order of the draws would tell bright galaxies,
    # faint ones and stars by their row.
    return sources.select(owned[np.argsort(sources.dec[owned], kind="stable")])


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
    factor_B = np.array([_EXTINCTION[band] for band in bands])
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
    return Sources(
        ra=position[0],
        dec=position[1],
        star=np.zeros(len(index_N), dtype=bool),
        redshift=redshift_N,
        magnitude=-2.5 * np.log10(compute_fluxes(library, index_N, redshift_N)),
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
