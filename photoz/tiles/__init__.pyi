from .reader import Tile, list_tiles, open_tile, read_attributes
from .writer import TileTemplate, TileWriter, invalidate_tile

__all__ = ["Tile", "TileTemplate", "TileWriter", "invalidate_tile", "list_tiles", "open_tile", "read_attributes"]
