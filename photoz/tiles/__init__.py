"""[io] The tile store: one sharded Zarr v3 group a survey tile, all bands of a sky position in one chunk."""

from photoz.tiles.reader import Tile, list_tiles, open_tile, read_attributes
from photoz.tiles.writer import TileTemplate, TileWriter, invalidate_tile

__all__ = ["Tile", "TileTemplate", "TileWriter", "invalidate_tile", "list_tiles", "open_tile", "read_attributes"]
