"""Where a tile's pixels lie on an image whose own pixels are others: another scale, rotation or projection."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area

from photoz.survey.fits import ImageInfo
from photoz.survey.wcs import Grid, parse_wcs, read_wcs

STEP = 64
"""[pixel] between the positions that are computed by both WCS; between them places are interpolated, to 0.0001 pixels
of tangential projections."""
_FAR = -1e6
"""[pixel] the place of what has no pixel: beyond any image."""

_SAMPLES = 200

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Warp:
    """Where a tile's pixels lie on an image of another grid.

    Parameters
    ----------
    y_JI, x_JI : ndarray of float64, shape (J, I)
        [pixel] row and column of the image, 0-based, for each `STEP`-th row and column of the tile and one beyond.
    shape : (int, int)
        Rows and columns of the image.
    area : float
        Of a pixel of the tile, in pixels of the image.
    """

    y_JI: FloatArray
    x_JI: FloatArray
    shape: tuple[int, int]
    area: float

    def find_places(self, y0: int, rows: int, columns: int) -> tuple[FloatArray, FloatArray]:
        """Return row and column of the image [pixel] for some rows of the tile, shape (rows, columns) each."""
        y_Y, x_X = np.arange(y0, y0 + rows), np.arange(columns)
        return _interpolate(self.y_JI, y_Y, x_X), _interpolate(self.x_JI, y_Y, x_X)

    def find_rows(self, y0: int, rows: int, margin: int) -> tuple[int, int]:
        """Find the rows of the image, half open, that some rows of the tile need, with a margin [pixel].

        The first is one that no later row of the tile needs any before: rows are read once, from first to last.
        """
        last = (y0 + rows - 1) // STEP + 1
        return (
            _clip(np.floor(self.y_JI[y0 // STEP :].min()) - margin, self.shape[0]),
            _clip(np.ceil(self.y_JI[y0 // STEP : last + 1].max()) + margin + 1, self.shape[0]),
        )

    def find_columns(self, margin: int) -> tuple[int, int]:
        """Find the columns of the image, half open, that the tile needs, with a margin [pixel]."""
        low, high = np.floor(self.x_JI.min()) - margin, np.ceil(self.x_JI.max()) + margin + 1
        return _clip(low, self.shape[1]), _clip(high, self.shape[1])

    def sample_cover(self, tile: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Tell of some places of a tile, spread over all of it, whether they lie on the image."""
        y_Y, x_X = (np.linspace(0, side - 1, _SAMPLES).astype(np.int64) for side in tile)
        return is_inside(_interpolate(self.y_JI, y_Y, x_X), _interpolate(self.x_JI, y_Y, x_X), self.shape)


def make_warp(info: ImageInfo, grid: Grid, *, pixel_scale: float, setting: str) -> Warp:
    """Find where the pixels of a tile lie on an image.

    Parameters
    ----------
    info : ImageInfo
        Inspected image.
    grid : Grid
        Of the tile.
    pixel_scale : float
        [arcsec / pixel] that the image must have.
    setting : str
        Where that is said, for the error message.

    Raises
    ------
    SurveyFileError
        As `photoz.survey.wcs.read_wcs`.
    """
    wcs = read_wcs(info, pixel_scale=pixel_scale, setting=setting)
    tile = parse_wcs(grid.wcs_header, name="the tile")
    # One beyond the last pixel, whatever the size is a multiple of.
    y_JI, x_JI = np.meshgrid(*(np.arange(0, side + STEP, STEP, dtype=float) for side in grid.shape), indexing="ij")
    x, y = _find_pixels(wcs, *tile.all_pix2world(x_JI.ravel(), y_JI.ravel(), 0))
    area = proj_plane_pixel_area(tile) / proj_plane_pixel_area(wcs)
    return Warp(y.reshape(y_JI.shape), x.reshape(x_JI.shape), info.shape, float(area))


def is_inside(y: FloatArray, x: FloatArray, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Tell which places [pixel] lie on the pixels of an image of a shape."""
    return (y >= -0.5) & (y <= shape[0] - 0.5) & (x >= -0.5) & (x <= shape[1] - 0.5)


def _find_pixels(wcs: WCS, ra: FloatArray, dec: FloatArray) -> tuple[FloatArray, FloatArray]:
    # quiet: one position that does not converge must not raise for all.
    x, y = wcs.all_world2pix(ra, dec, 0, quiet=True)
    lost = ~(np.isfinite(x) & np.isfinite(y))
    return np.where(lost, _FAR, x), np.where(lost, _FAR, y)


def _interpolate(nodes_JI: FloatArray, y_Y: npt.NDArray[np.int64], x_X: npt.NDArray[np.int64]) -> FloatArray:
    row_Y, down_Y1 = y_Y // STEP, (y_Y % STEP / STEP)[:, None]
    along_YI = nodes_JI[row_Y] * (1 - down_Y1) + nodes_JI[row_Y + 1] * down_Y1
    column_X, right_X = x_X // STEP, x_X % STEP / STEP
    return np.asarray(along_YI[:, column_X] * (1 - right_X) + along_YI[:, column_X + 1] * right_X)


def _clip(place: float, length: int) -> int:
    return int(min(max(place, 0), length))
