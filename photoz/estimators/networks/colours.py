"""How far a galaxy's colours and magnitude lie from the training galaxies': `ColourDistance`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from photoz.estimators.distance import TrainingDistance
from photoz.photometry import MagnitudeScaling

_KEY = "colour_scale"


@dataclass(frozen=True, eq=False)
class ColourDistance:
    """Distance from the training galaxies in the space of the mean magnitude and the colours of neighbouring bands.

    Missing magnitudes are filled from neighbouring bands, so that a missing band alone takes no galaxy away.

    Parameters
    ----------
    scaling : MagnitudeScaling
        Of the training galaxies: fills what is missing.
    scale_2F : ndarray of float64, shape (2, F)
        [mag] mean and spread of these features.
    distance : TrainingDistance
        In the features so scaled.
    """

    scaling: MagnitudeScaling
    scale_2F: npt.NDArray[np.float64]
    distance: TrainingDistance

    @classmethod
    def fit(cls, magnitudes_NF: npt.NDArray[np.floating], scaling: MagnitudeScaling, *, seed: int) -> Self:
        """Fit to training galaxies.

        Parameters
        ----------
        magnitudes_NF : ndarray of float, shape (N, F)
            [mag(AB)] NaN where there is none; galaxies without any are left out.
        scaling : MagnitudeScaling
            Of these galaxies.
        seed : int
            Of the choice of reference galaxies.
        """
        # The distance takes no NaN, which a galaxy without any magnitude would give.
        colours_NF = compute_colours(magnitudes_NF[np.isfinite(magnitudes_NF).any(axis=1)], scaling)
        # Scaled, so that a colour with little spread counts as much as the magnitude.
        scale_2F = np.stack([colours_NF.mean(axis=0), np.maximum(colours_NF.std(axis=0), 1e-6)])
        return cls(scaling, scale_2F, TrainingDistance.fit((colours_NF - scale_2F[0]) / scale_2F[1], seed=seed))

    def measure(self, magnitudes_NF: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Measure the distance, 1 where ``OUTSIDE_TRAINING`` is set; NaN without any magnitude."""
        return self.distance.measure(
            (compute_colours(magnitudes_NF, self.scaling) - self.scale_2F[0]) / self.scale_2F[1]
        )

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all but the scaling of magnitudes as arrays, by name."""
        return {_KEY: self.scale_2F, **self.distance.to_arrays()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], scaling: MagnitudeScaling) -> Self | None:
        """Make it again from the arrays of `to_arrays`; None where they are not there."""
        # A network with a point head has neither p(z) nor a distance.
        return cls(scaling, arrays[_KEY], TrainingDistance.from_arrays(arrays)) if _KEY in arrays else None


def compute_colours(magnitudes_NF: npt.NDArray[np.floating], scaling: MagnitudeScaling) -> npt.NDArray[np.float64]:
    """Compute mean magnitude and differences of neighbouring bands, shape (N, F) [mag]; NaN without any magnitude."""
    filled_NF = scaling.fill(magnitudes_NF)
    return np.column_stack([filled_NF.mean(axis=1), np.diff(filled_NF, axis=1)])
