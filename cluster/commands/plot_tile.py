"""Draw a tile with its sources, and cutouts of some of them.

tile store + source catalogue -> detections.png, cutouts.png in the report's folder

photoz plot-tile --config frame9.toml
"""

from typing import TYPE_CHECKING

from photoz.errors import TileError
from photoz.settings.config import Config

if TYPE_CHECKING:
    # For the types alone: help and dry runs wait for none of them.
    import pandas as pd
    from matplotlib.figure import Figure

    from photoz.settings.run import Locations
    from photoz.tiles import Tile

# As many as docs/real-pixels.md tells of.
SHOWN = 16


def main(config: Config) -> None:
    """Draw both figures of the first tile of the store, and print where they lie."""
    from photoz.plots import render_png
    from photoz.storage import join, open_atomic

    tile, sources = _read_first(config.locations)
    band, bands = config.survey.mag_auto_band, config.survey.image_bands
    figures = {
        "detections": _draw_detections(tile, sources, band),
        "cutouts": _draw_cutouts(tile, sources, bands, band, size=config.training.cutout_size),
    }
    for name, figure in figures.items():
        location = join(config.locations.report, f"{name}.png")
        with open_atomic(location) as file:
            file.write(render_png(figure, dpi=130))
        print(location)


def _read_first(locations: "Locations") -> "tuple[Tile, pd.DataFrame]":
    """Open the first tile and read its sources, the brightest first."""
    from photoz.catalogue.hats import list_partitions, read_partition
    from photoz.tiles import list_tiles, open_tile

    # One tile and one partition are enough for a frame; in a survey the first of each need not meet.
    tiles, partitions = list_tiles(locations.tiles), list_partitions(locations.sources)
    if not tiles or not partitions:
        raise TileError(
            f"there is nothing to draw in {locations.tiles!r} and {locations.sources!r}: run "
            "jobs/ingest_frame.py, or set locations.tiles and locations.sources"
        )
    tile = open_tile(locations.tiles, tiles[0])
    sources = read_partition(locations.sources, partitions[0]).to_pandas()
    sources = sources[sources["tile"] == tile.name].sort_values("mag_auto")
    if not len(sources):
        raise TileError(
            f"the first partition of {locations.sources!r} has no source of {tile.name}, the first tile: this "
            "job draws a frame, which has one of each"
        )
    return tile, sources


def _draw_detections(tile: "Tile", sources: "pd.DataFrame", band: str) -> "Figure":
    import numpy as np

    from photoz.plots.cutouts import plot_detections

    # Origin 0: pixels as NumPy counts them, not from 1 as FITS does.
    x, y = tile.wcs.all_world2pix(sources["ra"], sources["dec"], 0)
    image = tile.read_window(0, tile.shape[0], 0, tile.shape[1])[tile.bands.index(band)]
    # 20 is where the bright sample ends.
    groups = np.digitize(sources["mag_auto"], (18.0, 20.0))
    return plot_detections(image, x, y, groups_N=groups, labels=(f"{band} < 18", f"18 < {band} < 20", f"{band} > 20"))


def _draw_cutouts(tile: "Tile", sources: "pd.DataFrame", bands: tuple[str, ...], band: str, *, size: int) -> "Figure":
    import numpy as np

    from photoz.cutouts import extract_cutouts
    from photoz.plots.cutouts import plot_cutouts

    # From the brightest to the faintest, as they are sorted.
    some = sources.iloc[np.linspace(0, len(sources) - 1, SHOWN).astype(int)]
    cutouts, _ = extract_cutouts(tile, some["ra"], some["dec"], size, bands=bands)
    # Two beside each other, unless their bands fill a line.
    columns = 2 if len(bands) <= 6 else 1
    return plot_cutouts(cutouts, bands, [f"{band} = {mag:.1f}" for mag in some["mag_auto"]], columns=columns)
