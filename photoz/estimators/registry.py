"""The list of estimators: a new one is a file of its own, and a line here."""

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from photoz.errors import ConfigError, EstimatorError, name_nearest

if TYPE_CHECKING:
    # For the type alone: whoever only asks for the names, as every job does first, need not wait for NumPy.
    from photoz.estimators.base import Estimator

# Name in a manifest and in the settings -> where the class lives. Modules are imported when asked for: some need torch.
CLASSES = {
    "hybrid": "photoz.estimators.networks.hybrid:HybridEstimator",
    "photometry": "photoz.estimators.networks.hybrid:PhotometryEstimator",
    "hybrid-paper": "photoz.estimators.networks.paper:PaperEstimator",
    "annz": "photoz.estimators.photometric.annz:AnnzEstimator",
    "boosted": "photoz.estimators.photometric.boosted:BoostedEstimator",
    "cnn1d": "photoz.estimators.photometric.cnn1d:Cnn1dEstimator",
    "fcnn": "photoz.estimators.photometric.fcnn:FcnnEstimator",
    "gat": "photoz.estimators.photometric.gat:GatEstimator",
    "knn": "photoz.estimators.photometric.knn:KnnEstimator",
    "mlp": "photoz.estimators.mlp.estimator:MlpEstimator",
    "template": "photoz.estimators.photometric.template:TemplateEstimator",
}


def check_estimators(names: Iterable[str], setting: str) -> None:
    """Refuse names of estimators that there are not, before any work.

    Parameters
    ----------
    names : iterable of str
    setting : str
        Where they stand, for the message.

    Raises
    ------
    ConfigError
        One is none of `CLASSES`.
    """
    for name in names:
        if name not in CLASSES:
            nearest, known = name_nearest(name, CLASSES), ", ".join(sorted(CLASSES))
            raise ConfigError(f"{setting} = {name!r} is no estimator{nearest}: choose of {known}")


def load_class(name: str) -> "type[Estimator]":
    """Import the class of the estimators of that name.

    Raises
    ------
    EstimatorError
        There is none of that name.
    """
    if name not in CLASSES:
        raise EstimatorError(f"no estimator is named {name!r}; known are {sorted(CLASSES)}")
    module, _, attribute = CLASSES[name].partition(":")
    kind: type[Estimator] = getattr(import_module(module), attribute)
    return kind


def load_estimator(location: str) -> "Estimator":
    """Load whichever estimator a folder holds.

    Parameters
    ----------
    location : str
        Folder, a path or any URL that fsspec opens.

    Raises
    ------
    EstimatorError
        There is no estimator, or its manifest names one that this version does not know.
    """
    from photoz.estimators.folder import read_manifest

    # Only names of the list are imported: a manifest must not be able to name any code.
    name = read_manifest(location).get("estimator")
    if name not in CLASSES:
        raise EstimatorError(f"{location!r} holds an estimator named {name!r}; known are {sorted(CLASSES)}")
    return load_class(str(name)).load(location)


def list_fitted() -> list[str]:
    """List the estimators that one task fits to arrays of magnitudes, by name; imports the modules of all."""
    return sorted(name for name in CLASSES if load_class(name).trained == "fitted")
