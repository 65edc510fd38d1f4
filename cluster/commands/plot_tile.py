"""Draw a tile with its sources, and cutouts of some of them.

tile store + source catalogue -> detections.png, cutouts.png in the report's folder

photoz plot-tile --config frame9.toml
"""

from photoz.errors import TileError
from photoz.settings.config import Config

# As many as docs/real-pixels.md tells of.
SHOWN = 16


def main(config: Config) -> None:
    """Draw both figures of the first tile of the store, and print where they lie."""
    import numpy as np

    from photoz.catalogue.hats import list_partitions, read_partition
    from photoz.cutouts import extract_cutouts
    from photoz.plots import render_png
    from photoz.plots.cutouts import plot_cutouts, plot_detections
    from photoz.storage import join, open_atomic
    from photoz.tiles import list_tiles, open_tile

    # One tile and one partition are enough for a frame; in a survey the first of each need not meet.
    tiles, partitions = list_tiles(config.locations.tiles), list_partitions(config.locations.sources)
    if not tiles or not partitions:
        raise TileError(
            f"there is nothing to draw in {config.locations.tiles!r} and {config.locations.sources!r}: run "
            "jobs/ingest_frame.py, or set locations.tiles and locations.sources"
        )
    tile = open_tile(config.locations.tiles, tiles[0])
    sources = read_partition(config.locations.sources, partitions[0]).to_pandas()
    sources = sources[sources["tile"] == tile.name].sort_values("mag_auto")
    if not len(sources):
        raise TileError(
            f"the first partition of {config.locations.sources!r} has no source of {tile.name}, the first tile: this "
            "job draws a frame, which has one of each"
        )
    # Origin 0: pixels as NumPy counts them, not from 1 as FITS does.
    x, y = tile.wcs.all_world2pix(sources["ra"], sources["dec"], 0)
    image = tile.read_window(0, tile.shape[0], 0, tile.shape[1])[tile.bands.index(config.survey.mag_auto_band)]
    # 20 is where the bright sample ends.
    groups = np.digitize(sources["mag_auto"], (18.0, 20.0))
    band = config.survey.mag_auto_band
    labels = (f"{band} < 18", f"18 < {band} < 20", f"{band} > 20")
    overlay = plot_detections(image, x, y, groups_N=groups, labels=labels)
    # From the brightest to the faintest, as they are sorted.
    some = sources.iloc[np.linspace(0, len(sources) - 1, SHOWN).astype(int)]
    cutouts, _ = extract_cutouts(
        tile, some["ra"], some["dec"], config.training.cutout_size, bands=config.survey.image_bands
    )
    titles = [f"{band} = {mag:.1f}" for mag in some["mag_auto"]]
    gallery = plot_cutouts(cutouts, config.survey.image_bands, titles)
    for name, figure in (("detections", overlay), ("cutouts", gallery)):
        with open_atomic(join(config.locations.report, f"{name}.png")) as file:
            file.write(render_png(figure, dpi=130))
        print(join(config.locations.report, f"{name}.png"))
