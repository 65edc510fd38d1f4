"""Test galaxies to look at one by one: the best, typical and worst estimates and flagged ones, with p(z) and image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from photoz.catalogue.hats import read_partition
from photoz.catalogue.quantiles import unpack_codes
from photoz.evaluate.evaluation import Accuracy, CatalogueAccuracy
from photoz.inputs import attach_cutouts, make_inputs
from photoz.metrics import FloatArray, compute_dz
from photoz.pdf import decode_quantiles
from photoz.schema import LEVELS, QUANTILES, find_algorithm
from photoz.tiles import list_tiles

EACH = 3
"""Galaxies of a kind."""


class Kind(StrEnum):
    """Why a galaxy is shown, by the first catalogue's redshift."""

    BEST = "best"
    """The least difference from the spectroscopic redshift."""
    TYPICAL = "typical"
    """A difference next to the median one."""
    WORST = "worst"
    """The greatest difference."""
    FLAGGED = "flagged"
    """Drawn at random of those with a flag, with a redshift or without."""


@dataclass(frozen=True, eq=False)
class ShownGalaxies:
    """K test galaxies to look at, each once, kind by kind.

    Parameters
    ----------
    kinds : sequence of Kind
    object_id : sequence of str
    ra_K, dec_K : ndarray of float64
        [deg]
    z_spec_K : ndarray of float64
    flags_K : ndarray of int64
        In the first catalogue.
    z_phot : mapping of str to ndarray of float64, shape (K,)
        By the catalogue's label; NaN where there is none.
    quantiles : mapping of str to ndarray of float64, shape (K, Q)
        At `photoz.schema.LEVELS`, by the label of each catalogue with p(z); NaN where a galaxy has none.
    bands : sequence of str
        Of the images, red to blue: three, or one; without images none.
    images_KBYX : ndarray of float32 or None
        [flux] NaN where there is no pixel; None without a tile store.
    """

    kinds: Sequence[Kind]
    object_id: Sequence[str]
    ra_K: FloatArray
    dec_K: FloatArray
    z_spec_K: FloatArray
    flags_K: npt.NDArray[np.int64]
    z_phot: Mapping[str, FloatArray]
    quantiles: Mapping[str, FloatArray]
    bands: Sequence[str] = ()
    images_KBYX: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.kinds)


def read_shown(accuracy: Accuracy, tiles: str, image_bands: Sequence[str], *, size: int, seed: int) -> ShownGalaxies:
    """Choose test galaxies by the first catalogue, and read what is shown of them.

    Parameters
    ----------
    accuracy : Accuracy
    tiles : str
        Tile store; "" or one without tiles gives no images.
    image_bands : sequence of str
        Of the tiles, from blue to red.
    size : int
        [pixel] side of an image.
    seed : int
        Of the draw among flagged galaxies.

    Returns
    -------
    ShownGalaxies
        Of a tile that cannot be read the images are NaN, and a warning says why.
    """
    first, galaxies = accuracy.results[0], accuracy.galaxies
    chosen = choose_shown(first.scan.z_phot, galaxies.z_spec, first.scan.flags_T, seed=seed)
    rows_K = np.array([row for _, row in chosen], dtype=np.int64)
    wanted = galaxies.object_id.take(pa.array(rows_K))
    places = _read_rows(first, rows_K, wanted, ["ra", "dec", "tile"])
    bands = choose_colours(image_bands) if tiles and list_tiles(tiles) else ()
    return ShownGalaxies(
        kinds=[kind for kind, _ in chosen],
        object_id=wanted.to_pylist(),
        ra_K=places["ra"].to_numpy(),
        dec_K=places["dec"].to_numpy(),
        z_spec_K=galaxies.z_spec[rows_K],
        flags_K=first.scan.flags_T[rows_K],
        z_phot={result.label: result.scan.z_phot[rows_K] for result in accuracy.results},
        quantiles=_read_quantiles(accuracy.results, rows_K, wanted),
        bands=bands,
        images_KBYX=_read_images(places, tiles, bands, size) if bands and len(places) else None,
    )


def choose_shown(
    z_phot_T: FloatArray, z_spec_T: FloatArray, flags_T: npt.NDArray[np.int64], *, seed: int
) -> list[tuple[Kind, int]]:
    """Choose up to three galaxies of each kind, none twice.

    Parameters
    ----------
    z_phot_T, z_spec_T : ndarray of float64, shape (T,)
        A galaxy without z_phot is chosen for its flags alone.
    flags_T : ndarray of int64, shape (T,)
    seed : int
        Of the draw among flagged galaxies.

    Returns
    -------
    list of (Kind, int)
        And the galaxy's index.

    Examples
    --------
    >>> z_phot, z_spec = np.array([0.1, 0.22, 0.5, np.nan]), np.array([0.1, 0.2, 0.3, 0.4])
    >>> [(str(kind), row) for kind, row in choose_shown(z_phot, z_spec, np.array([0, 0, 0, 1]), seed=1)]
    [('best', 0), ('typical', 1), ('worst', 2), ('flagged', 3)]
    """
    size_T = np.abs(compute_dz(z_phot_T, z_spec_T))
    known = np.flatnonzero(np.isfinite(size_T))
    ranked = known[np.argsort(size_T[known], kind="stable")]
    # By rank and not by size, where a third of few galaxies would be nearest to the median.
    middle = ranked[np.argsort(np.abs(np.arange(ranked.size) - (ranked.size - 1) / 2), kind="stable")]
    flagged = np.random.default_rng(seed).permutation(np.flatnonzero(flags_T))
    order = {Kind.BEST: ranked, Kind.WORST: ranked[::-1], Kind.TYPICAL: middle, Kind.FLAGGED: flagged}
    # Of few galaxies, so many of each kind that all kinds have some.
    each = min(EACH, max(1, ranked.size // 3))
    chosen: dict[int, Kind] = {}
    for kind, rows in order.items():
        free = [row for row in rows.tolist() if row not in chosen]
        chosen |= dict.fromkeys(free[:each], kind)
    return [(kind, row) for kind in Kind for row, own in chosen.items() if own is kind]


def choose_colours(image_bands: Sequence[str]) -> tuple[str, ...]:
    """Choose the bands of a colour image, red to blue: i, r, g where they are there.

    >>> choose_colours(("u", "g", "r", "i")), choose_colours(("g", "r", "z")), choose_colours(("r",))
    (('i', 'r', 'g'), ('z', 'r', 'g'), ('r',))
    """
    # What the eye knows of galaxies is made of these; u is too shallow beside them.
    if {"g", "r", "i"} <= set(image_bands):
        return ("i", "r", "g")
    if len(image_bands) < 3:
        return tuple(image_bands[:1])
    return image_bands[-1], image_bands[len(image_bands) // 2], image_bands[0]


def _read_rows(
    result: CatalogueAccuracy, rows_K: npt.NDArray[np.int64], wanted: pa.Array, columns: Sequence[str]
) -> pa.Table:
    """Read columns of the wanted galaxies, in their order; null for one that the catalogue does not hold."""
    places = np.unique(result.scan.place_T[rows_K])
    # One partition at least, for the types of a catalogue that holds none of them.
    found = [_read_some(result, place, wanted, columns) for place in places[places >= 0].tolist() or [0]]
    rows = pa.concat_tables(found)
    return rows.take(pc.index_in(wanted, value_set=rows["object_id"].combine_chunks()))


def _read_some(result: CatalogueAccuracy, place: int, wanted: pa.Array, columns: Sequence[str]) -> pa.Table:
    table = read_partition(result.location, result.scan.partitions[place], columns=["object_id", *columns])
    table = table.set_column(0, "object_id", table["object_id"].cast(pa.string()))
    return table.filter(pc.is_in(table["object_id"], value_set=wanted))


def _read_quantiles(
    results: Sequence[CatalogueAccuracy], rows_K: npt.NDArray[np.int64], wanted: pa.Array
) -> dict[str, FloatArray]:
    quantiles = {}
    for result in results:
        # The first partition stands for all, as everywhere; a catalogue of which test galaxies were found has one.
        algorithm = find_algorithm(read_partition(result.location, result.scan.partitions[0]).column_names)
        if algorithm:
            rows = _read_rows(result, rows_K, wanted, [f"{algorithm}_{QUANTILES}"])
            quantiles[result.label] = _decode(rows[f"{algorithm}_{QUANTILES}"])
    return quantiles


def _decode(column: pa.ChunkedArray) -> FloatArray:
    quantiles_KQ = np.full((len(column), len(LEVELS)), np.nan)
    # A galaxy that the other catalogue lacks is null, which has no codes.
    there = np.flatnonzero(pc.is_valid(column).to_numpy())
    if there.size:
        quantiles_KQ[there] = decode_quantiles(unpack_codes(column.drop_null()))
    return quantiles_KQ


def _read_images(places: pa.Table, tiles: str, bands: Sequence[str], size: int) -> npt.NDArray[np.float32] | None:
    rows = places.append_column("flags", pa.array(np.zeros(len(places), np.int32)))
    # A store that does not answer costs the images, not the report.
    images = attach_cutouts(rows, tiles, image_bands=bands, cutout_size=size, give_up=True)
    return make_inputs(images.table, ()).cutouts_NBYX
