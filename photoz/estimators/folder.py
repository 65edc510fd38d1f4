"""An estimator on disk: a folder of arrays, texts and, written last, a manifest. No pickle, no code."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from photoz.errors import EstimatorError
from photoz.pdf.recalibration import Recalibration
from photoz.storage import join, open_atomic, open_file, write_json

MANIFEST = "manifest.json"
WEIGHTS, ARRAYS = "weights.safetensors", "arrays.safetensors"  # of the networks, and of those fitted to magnitudes

Arrays = dict[str, npt.NDArray[Any]]


def write_folder(
    location: str,
    manifest: Mapping[str, Any],
    *,
    arrays: Mapping[str, Mapping[str, npt.NDArray[Any]]],
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write an estimator's folder; without its manifest, which comes last, a folder is no estimator.

    Parameters
    ----------
    location : str
        Folder, a path or any URL that fsspec opens.
    manifest : mapping
        Anything that JSON holds.
    arrays : mapping of str to mapping
        Named arrays by the name of their file.
    texts : mapping of str to str, optional
        By the name of their file.
    """
    for name, values in arrays.items():
        # safetensors asks for contiguous arrays, which a transposed view is not.
        content = save_arrays({key: np.ascontiguousarray(value) for key, value in values.items()})
        _write(join(location, name), content)
    for name, text in (texts or {}).items():
        _write(join(location, name), text.encode())
    # After a crash in between the folder has no manifest, and `read_manifest` says that there is no estimator.
    write_json(join(location, MANIFEST), manifest)


def read_manifest(location: str) -> dict[str, object]:
    """Read the manifest of an estimator folder.

    Raises
    ------
    EstimatorError
        There is none, or it is not JSON.
    """
    try:
        with open_file(f"{location}/{MANIFEST}") as file:
            manifest: dict[str, object] = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise EstimatorError(f"no trained estimator at {location!r}: run jobs/train_dr4.py first") from error
    # json's error, and that of bytes that are no UTF-8, are both of this class.
    except ValueError as error:
        raise EstimatorError(f"{location}/{MANIFEST} is not JSON: {error}; train the estimator again") from error
    return manifest


def read_arrays(location: str, name: str) -> Arrays:
    """Read the arrays that `write_folder` wrote into a file of a folder.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    EstimatorError
        It is damaged.
    """
    try:
        return load_arrays(read_bytes(join(location, name)))
    except SafetensorError as error:
        raise EstimatorError(f"{location}/{name} is damaged: {error}; train the estimator again") from error


def read_bytes(location: str) -> bytes:
    """Read a file, at a path or any URL that fsspec opens."""
    with open_file(location) as file:
        content: bytes = file.read()
    return content


def load_recalibration(location: str) -> Recalibration | None:
    """Load how the p(z) of the estimator in a folder is recalibrated, without the estimator.

    Parameters
    ----------
    location : str
        Folder, a path or any URL that fsspec opens.

    Returns
    -------
    Recalibration or None
        None for an estimator that has none.

    Raises
    ------
    EstimatorError
        There is no estimator, or its arrays are damaged.
    """
    # Only for its error: without a manifest the arrays may be those of a write that was cut off.
    read_manifest(location)
    for name in (WEIGHTS, ARRAYS):
        try:
            arrays = read_arrays(location, name)
        except FileNotFoundError:
            continue
        # By the arrays' names and not through the class, so that nobody imports torch to evaluate a catalogue.
        if any(key.startswith("recalibration_") for key in arrays):
            return Recalibration.from_arrays(arrays)
    return None


def _write(location: str, content: bytes) -> None:
    with open_atomic(location) as file:
        file.write(content)
