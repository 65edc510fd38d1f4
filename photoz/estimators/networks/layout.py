"""What a network reads and gives, apart from its weights: `InputLayout`."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from photoz.estimators.networks.network import Head


@dataclass(frozen=True)
class InputLayout:
    """What a network reads: bands, image bands, size and scale of the cutouts; and what it gives.

    Parameters
    ----------
    bands, image_bands : tuple of str
        ``image_bands`` is empty for photometry alone.
    cutout_size : int
        [pixel] side of a cutout; 0 for photometry alone.
    pixel_scale : float
        [arcsec / pixel] of the images it was trained on.
    head : Head or None
        None: the paper's network, which gives a point and takes no masks.
    unimaged : tuple of str
        Bands of which the survey has no images, or whose images may not cover a tile, whether or not the network reads
        images: what is likely to be missing together.
    """

    bands: tuple[str, ...]
    image_bands: tuple[str, ...]
    cutout_size: int
    pixel_scale: float
    head: Head | None = field(default_factory=Head)
    unimaged: tuple[str, ...] = ()

    @property
    def members(self) -> int:
        """Networks that are trained side by side, each on galaxies weighed for itself."""
        # One member is trained on all galaxies: `photoz.training.weights.leave_out_parts` gives each the weight 1.
        return 1 if self.head is None else self.head.members

    def find_unimaged(self) -> list[bool]:
        """Tell for each band whether it is one of ``unimaged``."""
        return [band in self.unimaged for band in self.bands]

    def find_partial(self) -> list[bool]:
        """Tell for each image band whether it may be missing together with others."""
        return [band in self.unimaged for band in self.image_bands]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild what `to_dict` returned; other keys are passed over."""
        head = None if values["head"] is None else Head(**values["head"])
        # JSON gives lists; tuples compare equal to the survey's.
        bands, image_bands = tuple(values["bands"]), tuple(values["image_bands"])
        unimaged = tuple(values["unimaged"])
        return cls(bands, image_bands, values["cutout_size"], values["pixel_scale"], head, unimaged)
