"""What a tile and its cutouts look like: an overlay of sources on an image, and a gallery of cutouts band by band."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from photoz.plots.style import COLOURS, WIDTH, styled


def stretch_image(image: npt.NDArray[np.float32], *, softening: float = 3.0) -> npt.NDArray[np.float64]:
    """Map an image to 0..1 by arcsinh: linear near the sky noise, logarithmic above; not finite pixels become 0.

    References
    ----------
    Lupton et al. 2004, PASP 116, 133.

    Examples
    --------
    >>> stretch_image(np.array([[0, 0, 0, 1, -1, 0, 100]], np.float32)).round(2).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    values = np.where(np.isfinite(image), image, np.nan).astype(np.float64)
    middle = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
    # By the median, which galaxies in the cutout hardly move; a standard deviation would be that of the galaxy.
    noise = 1.4826 * float(np.nanmedian(np.abs(values - middle))) if np.isfinite(values).any() else 0.0
    # More than half of the pixels are the same: an empty band, or one filled with a constant.
    if noise <= 0:
        return np.zeros(image.shape)
    bent = np.arcsinh((values - middle) / (softening * noise))
    # Two sigma below the sky is black; at least 1 above, or a cutout of pure noise would be stretched to look like a
    # source.
    low, high = np.arcsinh(-2 / softening), max(float(np.nanmax(bent)), 1.0)
    return np.asarray(np.nan_to_num(np.clip((bent - low) / (high - low), 0, 1)), np.float64)


def colour_image(image_BYX: npt.NDArray[np.float32], *, softening: float = 6.0) -> npt.NDArray[np.float64]:
    """Make a picture of one band or of three, all stretched alike, so that a galaxy's colour is that of its fluxes.

    Parameters
    ----------
    image_BYX : ndarray of float32, shape (B, Y, X)
        [flux] One band, or three from red to blue, in one unit; NaN where there is no pixel.
    softening : float
        Where the stretch turns from linear to logarithmic, in sigma of the sky.

    Returns
    -------
    ndarray of float64, shape (Y, X, 3)
        From 0 to 1; black where a band has no pixel.

    References
    ----------
    Lupton et al. 2004, PASP 116, 133.

    Examples
    --------
    >>> colour_image(np.full((3, 2, 2), np.nan, np.float32)).max()
    np.float64(0.0)
    """
    there_YX = np.isfinite(image_BYX).all(axis=0)
    if not there_YX.any():
        return np.zeros((*there_YX.shape, 3))
    sky = [float(np.median(band[there_YX])) for band in image_BYX]
    above_BYX = np.where(there_YX, image_BYX, 0.0) - np.reshape(sky, (-1, 1, 1)) * there_YX
    mean_YX = above_BYX.mean(axis=0)
    noise = 1.4826 * float(np.median(np.abs(mean_YX[there_YX]))) or 1.0
    # Two sigma below the sky is black. By the mean of the bands, whose ratio to it then stays as it is.
    bent_YX = np.arcsinh((mean_YX + 2 * noise) / (softening * noise))
    full = max(float(bent_YX[there_YX].max()), 1.0)
    ratio_BYX = (above_BYX + 2 * noise) / np.maximum(mean_YX + 2 * noise, 0.5 * noise)
    colours_BYX = np.clip(ratio_BYX * bent_YX / full, 0, 1) * there_YX
    return np.asarray(np.moveaxis(np.broadcast_to(colours_BYX, (3, *there_YX.shape)), 0, -1), np.float64)


@styled
def plot_detections(
    image: npt.NDArray[np.float32],
    x_N: npt.NDArray[np.float64],
    y_N: npt.NDArray[np.float64],
    *,
    groups_N: npt.NDArray[np.int64],
    labels: Sequence[str],
) -> Figure:
    """Draw an image with a circle around each source, a colour a group.

    Parameters
    ----------
    image : ndarray of float32, shape (Y, X)
        [flux]
    x_N, y_N : ndarray of float64, shape (N,)
        [pixel] 0-based.
    groups_N : ndarray of int64, shape (N,)
        Index into ``labels``.
    labels : sequence of str
        Names of the groups, for the legend.
    """
    figure = Figure(figsize=(WIDTH, WIDTH), layout="constrained")
    axes = figure.subplots()
    # FITS counts rows from below.
    axes.imshow(stretch_image(image), origin="lower", cmap="gray_r", vmax=0.7, interpolation="none")
    for group, label in enumerate(labels):
        chosen = groups_N == group
        axes.scatter(
            x_N[chosen], y_N[chosen], s=14, facecolor="none", edgecolor=COLOURS[group], linewidth=0.6, label=label
        )
    axes.set(xlabel="x [pixel]", ylabel="y [pixel]")
    axes.legend(frameon=True, loc="upper right")
    return figure


@styled
def plot_cutouts(
    cutouts_NBYX: npt.NDArray[np.float32], bands: Sequence[str], titles: Sequence[str], *, columns: int = 2
) -> Figure:
    """Draw cutouts, one a line, band by band and each on its own scale; a cross marks the central pixel.

    Parameters
    ----------
    cutouts_NBYX : ndarray of float32, shape (N, B, Y, X)
        [flux]
    bands : sequence of str
        Names of the B bands.
    titles : sequence of str
        One a cutout, drawn beside it.
    columns : int
        Cutouts beside each other.
    """
    lines, wide = -(-len(cutouts_NBYX) // columns), len(bands)
    # Panels are square, and each has a title of a sixth of its height above it.
    figure = Figure(figsize=(WIDTH, lines * WIDTH / (columns * wide) * 1.16 + 0.2), layout="constrained")
    grid = figure.subplots(lines, columns * wide, squeeze=False)
    # Of all panels, since the last line may have fewer cutouts than there are columns.
    for axes in grid.flat:
        axes.set_axis_off()
    for number, (cutout, title) in enumerate(zip(cutouts_NBYX, titles, strict=True)):
        line, column = divmod(number, columns)
        for index, band in enumerate(bands):
            axes = grid[line, column * wide + index]
            axes.imshow(stretch_image(cutout[index]), origin="lower", cmap="gray", interpolation="nearest")
            # For an even size, half a pixel right of and above the middle.
            middle = cutout.shape[-1] // 2
            axes.plot(middle, middle, "+", color=COLOURS[1], markersize=4, markeredgewidth=0.5)
            axes.set_title(band if index else f"{title}\n{band}", fontsize=6.5, pad=1.5, loc="left")
    return figure
