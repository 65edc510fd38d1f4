"""Rows in memory as the partitions of a catalogue, on the pixels that `hats-import` would choose for them.

That library counts the whole sky at the highest order in loops of Python, 3 s for however few rows.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from photoz.catalogue.hats import (
    PRIMARY,
    Partition,
    finish_catalogue,
    finish_collection,
    finish_margin,
    write_partition,
)
from photoz.catalogue.margins import plan_margins, write_margins
from photoz.errors import CatalogueError
from photoz.ingest.settings import Sources
from photoz.schema import HEALPIX_COLUMN, HEALPIX_ORDER

IntArray = npt.NDArray[np.int64]


def write_split(rows: pa.Table, location: str, settings: Sources) -> None:
    """Write a source catalogue with its margin, where there is none.

    Parameters
    ----------
    rows : pyarrow.Table
        Of `photoz.schema.make_source_schema`, at least one, in any order.
    location : str
        Of the catalogue (HATS collection).
    settings : Sources
        How large a partition may be, and how wide the margin.

    Raises
    ------
    CatalogueError
        A pixel of the highest order holds more rows than a partition may.
    """
    parts = []
    for partition, own in split_rows(rows, highest=settings.highest_order, most=settings.rows_per_partition):
        write_partition(f"{location}/{PRIMARY}", partition, own)
        parts.append((partition, len(own)))
    finish_catalogue(location, parts, info={})
    margin_arcsec = settings.margin_arcsec
    if margin_arcsec > 0:
        tasks = plan_margins(location, [partition for partition, _ in parts])
        margins = [margin for task in tasks for margin in write_margins(margin_arcsec, task)]
        finish_margin(location, margins, threshold=margin_arcsec, schema=rows.schema)
    finish_collection(location, name=location.rpartition("/")[2], margin=margin_arcsec > 0)


def split_rows(rows: pa.Table, *, highest: int, most: int) -> Iterator[tuple[Partition, pa.Table]]:
    """Split rows into partitions; each comes with its rows, in the order of their position on the sky."""
    rows = rows.sort_by(HEALPIX_COLUMN)
    healpix_N = rows[HEALPIX_COLUMN].to_numpy()
    order_N = choose_orders(healpix_N, highest=highest, most=most)
    pixel_N = healpix_N >> 2 * (HEALPIX_ORDER - order_N)
    # Partitions do not overlap: where one ends on the sky the next begins.
    first_N = (np.diff(pixel_N, prepend=-1) != 0) | (np.diff(order_N, prepend=-1) != 0)
    for start, stop in pairwise([*np.flatnonzero(first_N).tolist(), len(rows)]):
        yield Partition(int(order_N[start]), int(pixel_N[start])), rows.slice(start, stop - start)


def choose_orders(healpix_N: IntArray, *, highest: int, most: int) -> IntArray:
    """Choose the HEALPix order of the partition in which each row lies.

    Parameters
    ----------
    healpix_N : ndarray of int64, shape (N,)
        Pixels of order 29 (NESTED), at least one.
    highest : int
        Order of the smallest partitions.
    most : int
        Rows that a partition may have.

    Returns
    -------
    ndarray of int64, shape (N,)

    Raises
    ------
    CatalogueError
        A pixel of the highest order holds more.

    References
    ----------
    hats, ``generate_alignment`` with ``drop_empty_siblings``: from the smallest pixels up, the four pixels within
    another become that one where it holds no more rows than it may, and these lie in more than one of the four.
    """
    pixel_P, place_N, rows_P = np.unique(
        healpix_N >> 2 * (HEALPIX_ORDER - highest), return_inverse=True, return_counts=True
    )
    if rows_P.max() > most:
        raise CatalogueError(
            f"a HEALPix pixel of order sources.highest_order = {highest} holds {rows_P.max()} rows, more than "
            f"sources.rows_per_partition = {most}: raise one of them"
        )
    order_P = np.full(len(pixel_P), highest)
    for order in range(highest - 1, -1, -1):
        child_P = pixel_P >> 2 * (highest - 1 - order)
        _, own_P = np.unique(child_P >> 2, return_inverse=True)
        children_Q = np.bincount(own_P, weights=np.diff(child_P, prepend=-1) != 0)
        fits_Q = np.bincount(own_P, weights=rows_P) <= most
        order_P[(fits_Q & (children_Q > 1))[own_P]] = order
    return np.asarray(order_P[place_N])
