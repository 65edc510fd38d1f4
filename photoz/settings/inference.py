"""How the catalogue is estimated."""

from typing import Literal

from photoz.settings.base import Count, Fraction, Settings


class Inference(Settings, frozen=True):
    """How the catalogue is estimated."""

    estimator: str = "hybrid"
    """Name of a folder within ``locations.models``."""
    batch_size: int = 256
    """Galaxies a forward pass."""
    pdf: bool = True
    """Write p(z) where the estimator gives it; false: z_phot and flags alone, which for ``mlp`` takes a third of the
    time."""
    threads: Count = 1
    """Of the network in each estimator. The same on every engine, since the last digits of a float32 sum depend on it
    and catalogues made by different engines must be identical."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products of the combined network; their sums are float32. bfloat16 is about twice as fast on processors
    that have it (AVX512-BF16, AMX; GPUs) and changes z_phot by some 1e-4 (docs/benchmarks/forward.md)."""
    join: bool = False
    """Work beside another run that is writing the same output, instead of refusing."""
    min_completeness: Fraction = 0.0
    """Exit with an error when a smaller fraction of the rows has a finite z_phot."""
