"""What the networks' estimators share: their folder on disk, shapes, runs of rows."""

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from torch import Tensor

from photoz.errors import EstimatorError
from photoz.estimators.base import MANIFEST, Inputs, read_manifest
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.network import HybridNetwork, MaskedNetwork
from photoz.photometry import MagnitudeScaling
from photoz.storage import join, open_atomic

FORMAT_VERSION = 2
WEIGHTS = "weights.safetensors"
_NETWORK = "network."
_KEYS = ("bands", "image_bands", "cutout_size", "pixel_scale", "head", "unimaged", "scaling")

Arrays = dict[str, npt.NDArray[Any]]


def choose_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def split_rows(count: int, size: int) -> Iterator[slice]:
    """Yield runs of at most ``size`` of ``count`` rows."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def to_tensor(values: npt.NDArray[np.float32], device: torch.device) -> Tensor:
    """Put an array on a device; one that comes from Arrow is read-only, which torch warns about, and is copied."""
    return torch.from_numpy(np.require(values, requirements=["C", "W"])).to(device)


def check_shapes(inputs: Inputs, layout: InputLayout) -> None:
    """Refuse arrays of other shapes than a layout asks for; raises `EstimatorError`."""
    bands = inputs.magnitudes_NF.shape[1:]
    if bands != (len(layout.bands),):
        raise EstimatorError(f"{bands} magnitudes a galaxy were given; this estimator reads {list(layout.bands)}")
    if not layout.image_bands:
        return
    due = (len(layout.image_bands), layout.cutout_size, layout.cutout_size)
    given = None if inputs.cutouts_NBYX is None else inputs.cutouts_NBYX.shape[1:]
    if given != due:
        raise EstimatorError(
            f"cutouts of shape {given} were given; this estimator reads {due} pixels of {list(layout.image_bands)}"
        )


def write_network(
    location: str,
    name: str,
    layout: InputLayout,
    scaling: MagnitudeScaling,
    *,
    network: HybridNetwork | MaskedNetwork,
    record: Mapping[str, Any],
    arrays: Arrays | None = None,
) -> None:
    """Write ``weights.safetensors`` (weights and other arrays) and, last, ``manifest.json`` into a folder."""
    content = {_NETWORK + key: value.cpu().numpy() for key, value in network.state_dict().items()} | (arrays or {})
    _write_bytes(join(location, WEIGHTS), save_arrays({key: np.ascontiguousarray(v) for key, v in content.items()}))
    manifest = {
        "format_version": FORMAT_VERSION,
        "estimator": name,
        **layout.to_dict(),
        "scaling": scaling.to_dict(),
        "target": "ln(1 + z)",
        "versions": {package: version(package) for package in ("photoz", "torch", "numpy")},
        "record": dict(record),
    }
    _write_bytes(join(location, MANIFEST), json.dumps(manifest, indent=2).encode())


def read_network(
    location: str,
) -> tuple[InputLayout, MagnitudeScaling, HybridNetwork | MaskedNetwork, dict[str, Any], Arrays]:
    """Read what `write_network` wrote: layout, scaling, network, record and the other arrays.

    Raises
    ------
    EstimatorError
        There is no estimator, its format is another version's, or its weights do not fit its manifest.
    """
    manifest: Any = read_manifest(location)
    _check_manifest(manifest, location)
    layout = InputLayout.from_dict(manifest)
    network = layout.make_network()
    try:
        with fsspec.open(join(location, WEIGHTS), "rb") as file:
            arrays = load_arrays(file.read())
        weights = {key.removeprefix(_NETWORK): arrays.pop(key) for key in list(arrays) if key.startswith(_NETWORK)}
        network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in weights.items()})
    except (FileNotFoundError, SafetensorError, RuntimeError) as error:
        raise EstimatorError(f"{location}/{WEIGHTS} is missing or damaged: {error}; train it again") from error
    scaling = MagnitudeScaling.from_dict(manifest["scaling"])
    return layout, scaling, network, manifest.get("record", {}), arrays


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


def _write_bytes(location: str, content: bytes) -> None:
    with open_atomic(location) as file:
        file.write(content)
