"""The combined estimator (images and magnitudes), and the same network without images: `HybridEstimator`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Self

import fsspec
import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from photoz.config import Config
from photoz.errors import EstimatorError
from photoz.estimators.base import MANIFEST, Estimates, Inputs, read_manifest
from photoz.estimators.network import HybridNetwork
from photoz.estimators.scaling import scale_cutouts
from photoz.photometry import MagnitudeScaling
from photoz.schema import NO_IMAGE, Flag
from photoz.storage import join, open_atomic
from photoz.telemetry import timed

FORMAT_VERSION = 1
WEIGHTS = "weights.safetensors"
_KEYS = ("bands", "image_bands", "cutout_size", "pixel_scale", "scaling")


def choose_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class InputLayout:
    """What a network reads: bands, image bands, size and scale of the cutouts.

    Parameters
    ----------
    bands, image_bands : tuple of str
        ``image_bands`` is empty for photometry alone.
    cutout_size : int
        [pixel] side of a cutout; 0 for photometry alone.
    pixel_scale : float
        [arcsec / pixel] of the images it was trained on.
    """

    bands: tuple[str, ...]
    image_bands: tuple[str, ...]
    cutout_size: int
    pixel_scale: float

    def make_network(self) -> HybridNetwork:
        """Build the network with fresh weights, channels last in memory."""
        network = HybridNetwork(len(self.bands), image_bands=len(self.image_bands), cutout_size=self.cutout_size)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def make_layout(config: Config, estimator: str) -> InputLayout:
    """Return what the estimator of that name ("hybrid" or "photometry") reads of the survey in the settings.

    Raises
    ------
    EstimatorError
        There is no estimator of that name.
    """
    survey = config.survey
    if estimator == "photometry":
        return InputLayout(survey.bands, (), 0, survey.pixel_scale)
    if estimator == "hybrid":
        return InputLayout(survey.bands, survey.image_bands, config.training.cutout_size, survey.pixel_scale)
    raise EstimatorError(f"no estimator is named {estimator!r}: training.estimator is 'hybrid' or 'photometry'")


@dataclass(frozen=True, eq=False)
class HybridEstimator:
    """Redshifts from cutouts and magnitudes by the combined network, or from magnitudes alone.

    Parameters
    ----------
    layout : InputLayout
        Bands and cutouts that the network reads.
    scaling : MagnitudeScaling
        Of the training galaxies.
    network : HybridNetwork
        Trained; it is put in evaluation mode.
    record : mapping
        Anything that ``json`` writes, kept in the manifest: seed, hash of the training set, history.
    device : torch.device
        Where to run; the GPU where there is one.
    """

    layout: InputLayout
    scaling: MagnitudeScaling
    network: HybridNetwork
    record: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device = field(default_factory=choose_device)

    def __post_init__(self) -> None:
        self.network.to(self.device).eval()

    @property
    def name(self) -> str:
        """ "hybrid" with image bands, "photometry" without."""
        return "hybrid" if self.layout.image_bands else "photometry"

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands whose magnitudes it reads."""
        return self.layout.bands

    @property
    def image_bands(self) -> tuple[str, ...]:
        """Bands whose images it reads."""
        return self.layout.image_bands

    @property
    def cutout_size(self) -> int:
        """[pixel] side of the cutouts; 0 for photometry alone."""
        return self.layout.cutout_size

    @property
    def gives_pdf(self) -> bool:
        """No: redshifts alone."""
        return False

    @property
    def pixel_scale(self) -> float:
        """[arcsec / pixel] of the images it was trained on."""
        return self.layout.pixel_scale

    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        """Estimate redshifts of N galaxies.

        Parameters
        ----------
        inputs : Inputs
            Missing magnitudes (NaN) are filled from the neighbouring bands; missing pixels count as the darkest.
        batch_size : int
            Galaxies a forward pass.

        Returns
        -------
        Estimates
            ``z_phot`` is NaN and ``ESTIMATE_FAILED`` set where no band has a magnitude, where the estimate is not
            finite and, with images, where the flags say that there is none or a band has no finite pixel.

        Raises
        ------
        EstimatorError
            The arrays have other shapes than the estimator's bands and cutout size ask for.

        Notes
        -----
        Rows that cannot be estimated stay in their batch, emptied, so that they change no other row's value.
        """
        self._check_shapes(inputs)
        usable_N = np.any(np.isfinite(inputs.magnitudes_NF), axis=1)
        if self.image_bands:
            usable_N &= (inputs.flags_N & int(NO_IMAGE)) == 0
        z_N = np.full(len(inputs), np.nan, dtype=np.float32)
        for rows in _split(len(inputs), batch_size):
            if usable_N[rows].any():
                z_N[rows] = self._estimate_batch(inputs, rows)
        failed_N = ~usable_N | ~np.isfinite(z_N)
        z_N[failed_N] = np.nan
        return Estimates(z_N, inputs.flags_N | np.where(failed_N, np.int32(Flag.ESTIMATE_FAILED), np.int32(0)))

    def _estimate_batch(self, inputs: Inputs, rows: slice) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            with timed("prepare"):
                features_NF = np.nan_to_num(self.scaling.apply(inputs.magnitudes_NF[rows]), nan=0.0)
                images_NBYX, seen_N = self._prepare_images(inputs, rows)
            with timed("forward"):
                y_N = self.network(torch.from_numpy(features_NF).to(self.device), images_NBYX)
                z_N = torch.expm1(y_N.float())
                if seen_N is not None:
                    z_N = torch.where(seen_N, z_N, torch.nan)
                return z_N.cpu().numpy()

    def _prepare_images(self, inputs: Inputs, rows: slice) -> tuple[Tensor | None, Tensor | None]:
        if inputs.cutouts_NBYX is None or not self.image_bands:
            return None, None
        cutouts_NBYX = _to_tensor(inputs.cutouts_NBYX[rows], self.device)
        seen_N = torch.isfinite(cutouts_NBYX).flatten(2).any(dim=2).all(dim=1)
        return scale_cutouts(cutouts_NBYX), seen_N

    def _check_shapes(self, inputs: Inputs) -> None:
        bands = inputs.magnitudes_NF.shape[1:]
        if bands != (len(self.bands),):
            raise EstimatorError(f"{bands} magnitudes a galaxy were given; this estimator reads {list(self.bands)}")
        if not self.image_bands:
            return
        due = (len(self.image_bands), self.cutout_size, self.cutout_size)
        given = None if inputs.cutouts_NBYX is None else inputs.cutouts_NBYX.shape[1:]
        if given != due:
            raise EstimatorError(
                f"cutouts of shape {given} were given; this estimator reads {due} pixels of {list(self.image_bands)}"
            )

    def save(self, location: str) -> None:
        """Write ``weights.safetensors`` and, last, ``manifest.json`` into a folder (a path or any fsspec URL)."""
        weights = {key: value.cpu().contiguous() for key, value in self.network.state_dict().items()}
        _write_bytes(join(location, WEIGHTS), save_tensors(weights))
        manifest = {
            "format_version": FORMAT_VERSION,
            "estimator": self.name,
            "bands": self.bands,
            "image_bands": self.image_bands,
            "cutout_size": self.cutout_size,
            "pixel_scale": self.layout.pixel_scale,
            "scaling": self.scaling.to_dict(),
            "target": "ln(1 + z)",
            "versions": {name: version(name) for name in ("photoz", "torch", "numpy")},
            "record": dict(self.record),
        }
        _write_bytes(join(location, MANIFEST), json.dumps(manifest, indent=2).encode())

    @classmethod
    def load(cls, location: str) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        EstimatorError
            There is no estimator, its format is another version's, or its weights do not fit its manifest.
        """
        manifest: Any = read_manifest(location)
        _check_manifest(manifest, location)
        layout = InputLayout(
            tuple(manifest["bands"]), tuple(manifest["image_bands"]), manifest["cutout_size"], manifest["pixel_scale"]
        )
        network = layout.make_network()
        try:
            with fsspec.open(join(location, WEIGHTS), "rb") as file:
                network.load_state_dict(load_tensors(file.read()))
        except (FileNotFoundError, SafetensorError, RuntimeError) as error:
            raise EstimatorError(f"{location}/{WEIGHTS} is missing or damaged: {error}; train it again") from error
        return cls(layout, MagnitudeScaling.from_dict(manifest["scaling"]), network, manifest.get("record", {}))


def _check_manifest(manifest: Mapping[str, object], location: str) -> None:
    found = manifest.get("format_version")
    if found != FORMAT_VERSION:
        raise EstimatorError(
            f"{location!r} is in format version {found!r}, this photoz reads {FORMAT_VERSION}: train the estimator "
            f"again, or use the photoz that wrote it ({manifest.get('versions')})"
        )
    missing = [key for key in _KEYS if key not in manifest]
    if missing:
        raise EstimatorError(f"{location}/{MANIFEST} lacks {missing}: train the estimator again")


def _split(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _to_tensor(values: npt.NDArray[np.float32], device: torch.device) -> Tensor:
    # Arrays that come from Arrow are read-only, which torch warns about: those are copied.
    return torch.from_numpy(np.require(values, requirements=["C", "W"])).to(device)


def _write_bytes(location: str, content: bytes) -> None:
    with open_atomic(location) as file:
        file.write(content)
