"""From survey files to the tile store and the source catalogue, a tile at a time."""
