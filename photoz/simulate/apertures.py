"""Fluxes within Gaussian apertures, measured on the pixels as GAaP does (Kuijken 2008, A&A 482, 1053).

GAaP brings an image to a Gaussian point-spread function and takes the flux under a Gaussian aperture from which that
function's width is subtracted: the flux that the aperture would hold before seeing, the same in all bands. It is linear
in the pixels, so here it is one weight for each of them: the aperture, with the seeing divided out in Fourier space.
Neighbours' light lies in the pixels, and so in the flux.
"""

from dataclasses import dataclass

import galsim
import numpy as np
import numpy.typing as npt
from scipy import fft

from photoz.simulate.render import MOFFAT_BETA, BandImage, Psf, View
from photoz.simulate.seds import Floats
from photoz.simulate.sky import Sources

# Widest aperture [arcsec] and side [pixel] of the window it is measured in: 4.5 widths and more to either side at
# 0.2 arcsec a pixel. Few sizes, so that many sources are transformed together.
_WINDOWS = ((1.05, 48), (1.4, 64), (np.inf, 96))
_BATCH = 128
FAINTEST_WAVE = 1e-6  # of an aperture: what is finer is left out, where the division would raise noise alone


@dataclass(frozen=True, eq=False)
class PixelFluxes:
    """Fluxes of N sources in one band, measured on its image.

    Parameters
    ----------
    flux_N, sky_N, photons_N : ndarray of float64
        [maggies] under the aperture; 1-sigma errors that the sky makes, and the photons counted there.
    """

    flux_N: Floats
    sky_N: Floats
    photons_N: Floats


def measure_pixels(view: View, image: BandImage, sources: Sources, aperture_N: Floats) -> PixelFluxes:
    """Measure sources on an image.

    Parameters
    ----------
    view : View
        Of the image.
    image : BandImage
    sources : Sources
        N of them, wherever they are; of one at the image's edge the missing part counts as like the rest.
    aperture_N : ndarray of float64
        [arcsec] width (sigma) of each source's aperture, well above the seeing's.
    """
    x_N, y_N = view.wcs.all_world2pix(sources.ra, sources.dec, 0)
    found_3N = np.zeros((3, len(sources)))
    narrower = 0.0
    for widest, size in _WINDOWS:
        rows = np.flatnonzero((aperture_N > narrower) & (aperture_N <= widest))
        narrower = widest
        if not len(rows):
            continue
        window = _Window(size, view.pixel_scale, image)
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            found_3N[:, part] = window.measure(x_N[part], y_N[part], aperture_N[part])
    flux_N, sky_N, photons_N = found_3N
    return PixelFluxes(flux_N, np.sqrt(sky_N), np.sqrt(photons_N))


class _Window:
    """Square windows of one size on an image."""

    def __init__(self, size: int, scale: float, image: BandImage) -> None:
        self.size = size
        self.scale = scale
        self.image = image
        # Outside is nothing, and told by `_find_inside`.
        padded = np.pad(image.image, size)
        self.views = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
        self.seeing = _transform_psf(image.psf, size, scale)

    def measure(self, x_N: Floats, y_N: Floats, aperture_N: Floats) -> Floats:
        """Return flux, variance of the sky and of the photons, shape (3, N)."""
        corner_N2 = np.stack([np.rint(y_N), np.rint(x_N)], axis=1).astype(np.intp) - self.size // 2
        # Where the source lies in its window [pixel].
        place_N2 = np.stack([y_N, x_N], axis=1) - corner_N2
        weight_NYX = self._make_weights(place_N2, aperture_N)
        # A source far outside has its window at the edge of the padding, where nothing is.
        limit = np.array(self.image.image.shape) + self.size
        first_N2 = np.clip(corner_N2 + self.size, 0, limit)
        pixels_NYX = self.views[first_N2[:, 0], first_N2[:, 1]].astype(np.float64)
        square_NYX = weight_NYX**2
        flux_N = np.einsum("nyx,nyx->n", weight_NYX, pixels_NYX) / self._find_inside(corner_N2, weight_NYX)
        sky_N = self.image.sky_noise**2 * square_NYX.sum((1, 2))
        # Of the pixels as they are: a photon noise of the truth would tell it.
        photons_N = np.einsum("nyx,nyx->n", square_NYX, np.maximum(pixels_NYX, 0)) / self.image.gain
        return np.stack([flux_N, sky_N, photons_N])

    def _make_weights(self, place_N2: Floats, aperture_N: Floats) -> Floats:
        """Make the weights of the pixels: a Gaussian of height 1, with the seeing divided out."""
        size, scale = self.size, self.scale
        wave_Y, wave_X = 2 * np.pi * fft.fftfreq(size), 2 * np.pi * fft.rfftfreq(size)
        width_N = aperture_N[:, None] / scale
        fine_NY, fine_NX = (np.exp(-0.5 * (wave * width_N) ** 2) for wave in (wave_Y, wave_X))
        shift_NY = np.exp(-1j * wave_Y * place_N2[:, :1]) * fine_NY
        shift_NX = np.exp(-1j * wave_X * place_N2[:, 1:]) * fine_NX
        # Beyond the first wave of either direction that is too fine, all are.
        seeing_YX = np.where((fine_NY.max(0)[:, None] * fine_NX.max(0)) > FAINTEST_WAVE, self.seeing, np.inf)
        waves_NYX = shift_NY[:, :, None] * shift_NX[:, None, :] / seeing_YX
        weight_NYX = fft.irfft2(waves_NYX, s=(size, size), axes=(1, 2))
        return np.asarray(2 * np.pi * width_N[:, :, None] ** 2 * weight_NYX)

    def _find_inside(self, corner_N2: npt.NDArray[np.intp], weight_NYX: Floats) -> Floats:
        """Compute the share of the weights that lies on the image; at least a tenth."""
        inside = []
        for axis, pixels in enumerate(self.image.image.shape):
            place_NS = corner_N2[:, axis : axis + 1] + np.arange(self.size)
            inside.append((place_NS >= 0) & (place_NS < pixels))
        whole_N = inside[0].all(1) & inside[1].all(1)
        share_N = np.einsum("nyx,ny,nx->n", weight_NYX, *inside) / weight_NYX.sum((1, 2))
        return np.where(whole_N, 1.0, np.maximum(share_N, 0.1))


def _transform_psf(psf: Psf, size: int, scale: float) -> Floats:
    """Compute the Fourier transform of a point source at the waves of a window, shape (Y, X / 2 + 1)."""
    g1, g2 = psf.shear
    # GalSim's own accuracy and not the rendering's: what is divided by must be right where it is small.
    profile = galsim.Moffat(beta=MOFFAT_BETA, fwhm=psf.seeing).shear(g1=g1, g2=g2)
    waves = 2 * np.pi / scale
    return np.array(
        [[profile.kValue(waves * x, waves * y).real for x in fft.rfftfreq(size)] for y in fft.fftfreq(size)]
    )
