"""The layout of the tile store."""

from typing import Literal

from photoz.settings.base import Settings


class Tiles(Settings, frozen=True):
    """Layout of the tile store. Figures behind the defaults: docs/benchmarks."""

    chunk: int = 64
    """[pixel] side of an inner chunk; all bands lie in one chunk."""
    shard: int = 1024
    """[pixel] side of a shard (one stored object); a multiple of ``chunk``."""
    codec: Literal["zstd", "none"] = "none"
    """Of the images. The noise of the sky does not compress: zstd saves 8 % of the store and takes half as much
    processor time again to read. Masks are always compressed."""
    quantize: float = 0.0
    """Round pixels to a step, a power of two, of at most this fraction of the noise of the sky, which zstd then
    compresses; 0 keeps them as they are. What it does to redshifts has not been measured: lossless is the default."""
    checksum: bool = True
    """Append a CRC32C to every inner chunk, so that a flipped byte is an error and not a wrong redshift."""
    store_weights: bool = False
    """Store the weight images too (as much again as the images), inverse variances of the stored pixels; no estimator
    reads them yet."""
