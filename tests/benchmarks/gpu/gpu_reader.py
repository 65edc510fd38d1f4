"""A reader process of the kit: cuts galaxies out of a tile in its memory, into a file that the kit maps too.

    python gpu_reader.py FILE SLOT,SLOT COUNT BANDS SIZE

Says a slot's number when it is filled, and fills it again when told that number. Like all readers it imports no torch.
"""

import itertools
import sys

import numpy as np

SIDE = 2048
"""[pixel] of the tile: 64 MiB in four bands."""


def main() -> None:
    """Fill slots until standard input ends."""
    file, slots, *sizes = sys.argv[1:]
    count, bands, size = map(int, sizes)
    own = [int(slot) for slot in slots.split(",")]
    rng = np.random.default_rng(own[0])
    tile_BYX = rng.standard_normal((bands, SIDE, SIDE), dtype=np.float32)
    # Mapped once: each mapping anew has its pages brought in one by one.
    cutouts = {slot: open_slot(file, slot, (count, bands, size, size)) for slot in own}
    for slot in itertools.chain(own, map(int, sys.stdin)):
        fill(cutouts[slot], tile_BYX, rng)
        print(slot, flush=True)


def open_slot(file: str, slot: int, shape: tuple[int, ...]) -> np.ndarray:
    """Map the cutouts of a slot, float32."""
    return np.asarray(np.memmap(file, np.float32, "r+", offset=4 * slot * int(np.prod(shape)), shape=shape))


def fill(cutouts_NBYX: np.ndarray, tile_BYX: np.ndarray, rng: np.random.Generator) -> None:
    """Cut as many galaxies as there is room for."""
    size = cutouts_NBYX.shape[-1]
    places = rng.integers(0, SIDE - size, (len(cutouts_NBYX), 2))
    for cutout_BYX, (y, x) in zip(cutouts_NBYX, places, strict=True):
        cutout_BYX[:] = tile_BYX[:, y : y + size, x : x + size]


if __name__ == "__main__":
    main()
