"""How the training set is matched and split, and how an estimator is trained on it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec

from photoz.errors import ConfigError
from photoz.settings.base import Count, Fraction, JobSettings, NotNegative, Positive, Settings, Whole
from photoz.settings.locations import Location
from photoz.tables.settings import TableInput


class Crossmatch(Settings, frozen=True):
    """Spectroscopic table and how it is matched. The defaults are GAMA DR4's gkvScienceCatv02."""

    file: str = "gkvScienceCatv02.fits"
    """Within ``locations.survey``."""
    ra: str = "RAcen"
    dec: str = "Deccen"
    redshift: str = "Z"
    quality: str = "NQ"
    duplicate: str = "duplicate"
    """Column that is 0 for rows that are no duplicate; "" when the table has none."""
    min_quality: int = 3
    radius_arcsec: Positive = 1.0
    """[arcsec]"""
    min_redshift: float = 0.001
    """Below this a "galaxy" is a star or a wrong redshift."""
    max_redshift: float | None = None
    """Sources whose spectrum lies beyond it are left out of the training set; by default none is."""
    fractions: tuple[float, float, float, float] = (0.70, 0.075, 0.075, 0.15)
    """Of train, valid (which ends a training), calib (which, with valid, p(z) is recalibrated on) and test; a galaxy's
    split depends on its object_id and ``run.seed`` alone. The paper's are 0.70, 0.15 and 0.15."""


class Network(Settings, frozen=True):
    """What hybrid and photometry give."""

    head: Literal["mixture", "binned", "point"] = "mixture"
    """p(z) as a mixture of Gaussians in ln(1 + z), p(z) in bins of it, or a point."""
    members: Count = 5
    """Small networks that share what is made of the image, each trained without a part of the galaxies: their spread is
    the model's own uncertainty."""
    components: Count = 5
    """Gaussians a member."""
    bins: Count = 180
    """Of a binned density: 0.004 in ln(1 + z) each on a bright sample, a quarter of its scatter."""


class Schedule(Settings, frozen=True):
    """In what steps a network is trained, and for how long; hybrid-paper has the paper's whatever is said."""

    batch_size: Count = 128
    """Galaxies a step, over all workers together."""
    learning_rate: Positive = 2e-3
    """The greatest."""
    shape: Literal["cosine", "exponential"] = "cosine"
    """Of the learning rate: it rises for a tenth of all steps and falls to 0 by a cosine, or it falls by ``decay`` each
    ``decay_steps`` steps, continuously."""
    decay: Positive = 0.9
    decay_steps: Count = 10_000
    weight_decay: NotNegative = 1e-2
    """Of AdamW."""
    average: Fraction = 0.998
    """Decay of the running average of the weights, which is validated and kept; 0: the weights themselves."""
    greatest_gradient: NotNegative = 5.0
    """A step's gradient is no longer than this; 0: whatever it is."""
    adam_epsilon: Positive = 1e-8
    """Added to Adam's denominator."""
    max_epochs: Count = 40
    patience: Whole = 40
    """Stop after this many epochs without a better validation loss."""
    shuffle_rows: Count = 4096
    """Galaxies in the buffer that each worker draws its batches from (21 kB each with images)."""
    precision: Literal["float32", "bfloat16"] = "float32"


class Loss(Settings, frozen=True):
    """What a network's training makes small."""

    huber_delta: Positive = 1e-4
    """In ln(1 + z)."""
    point_weight: NotNegative = 1.0
    """Of the point estimate's Huber loss, in units in which it is the absolute error over the targets' spread, beside
    the density's negative log likelihood."""
    smooth_nz_width: NotNegative = 0.0
    """In redshift: weigh the training galaxies so that their n(z) is smooth at this scale
    (`photoz.estimators.smoothing`), which keeps the training fields' clusters and voids out of p(z); 0 weighs all
    alike."""


class Dropped(Settings, frozen=True):
    """Inputs that are dropped at random, so that hybrid and photometry learn to do without: chances in 0..1."""

    weight: NotNegative = 0.5
    """In the loss, of the same galaxies with inputs dropped, beside those as they are: each step sees both."""
    band: Fraction = 0.1
    """Of each single band: six of ten galaxies lose one or more of nine."""
    unimaged: Fraction = 0.2
    """Of all bands without images (KiDS: those of VIKING, which end at its footprint)."""
    dark: Fraction = 0.2
    """Of each magnitude with a signal-to-noise ratio below 3: it then counts as not detected."""
    image: Fraction = 0.3
    """Of the image: whole tiles lack it."""
    photometry: Fraction = 0.1
    """Of all magnitudes, where the image is kept: rare in surveys."""
    image_band: Fraction = 0.1
    """Of one image band, here also from the galaxies as they are: small, for it costs them. Where inputs are dropped
    its magnitude goes with it, as if the band had not been observed."""


class Spreading(Settings, frozen=True):
    """How a training is spread over workers, which changes no more than rounding: so it makes no other estimator.

    What one task fits reads ``use_gpu``, ``cpus_per_worker``, ``threads_per_worker`` (0: one, so that a seed gives the
    same estimator on every machine) and ``max_failures``.
    """

    workers: Count = 2
    use_gpu: bool = False
    cpus_per_worker: NotNegative = 0.5
    """What Ray sets aside for a worker. Below 1, so that two workers on two CPUs leave room for the tasks that read the
    training set; without that room Ray waits for ever."""
    threads_per_worker: Whole = 0
    """CPU threads of a worker; 0: the machine's CPUs divided by ``workers``."""
    hold_gib: NotNegative = 1.0
    """[GiB] A split no larger than this is read once and held in Ray's object store, from which it streams to the
    workers each epoch; a larger one is read from its files each epoch. Saves some seconds an epoch."""
    max_failures: int = 3
    """Worker deaths to survive by resuming from the last checkpoint."""


class Training(Settings, frozen=True):
    """How an estimator is trained; hybrid-paper is as the paper (arXiv 2312.08043) has it, whatever is said."""

    # Names of files written before the sections were split off: an error then says where the setting went.
    MOVED: ClassVar[Mapping[str, str]] = {
        **{name: f"network.{name}" for name in ("head", "members", "components", "bins")},
        **{name: f"schedule.{name}" for name in Schedule.__struct_fields__},
        **{name: f"loss.{name}" for name in Loss.__struct_fields__},
        "dropped_weight": "dropped.weight",
        **{f"drop_{name}": f"dropped.{name}" for name in ("band", "unimaged", "image", "photometry", "image_band")},
        **{name: f"spreading.{name}" for name in Spreading.__struct_fields__},
    }

    estimator: str = "hybrid"
    """Which to train, and the name of its folder within ``locations.models``: hybrid or photometry (networks that Ray
    Train spreads), hybrid-paper (the paper's network, loss and settings, whatever is said below), or one that a single
    task fits to the magnitudes (annz, boosted, cnn1d, fcnn, gat, knn, mlp, template)."""
    fit: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    """Settings of the latter by name, e.g. ``[training.fit.mlp] members = 3``; each class's ``DEFAULTS`` lists its own.
    Of the sections below they read `Spreading`."""
    cutout_size: Count = 36
    """[pixel] side of the cutouts: 7.2 arcsec at 0.2 arcsec a pixel."""
    overwrite: bool = False
    """Replace a trained estimator that has other settings or another training set."""
    network: Network = Network()
    schedule: Schedule = Schedule()
    loss: Loss = Loss()
    dropped: Dropped = Dropped()
    spreading: Spreading = Spreading()


class Fit(JobSettings, frozen=True, kw_only=True):
    """What ``photoz fit`` fits to which table."""

    table: TableInput = TableInput()
    bands: tuple[str, ...] = ()
    """In order of wavelength; empty: all of the survey."""
    estimator: str = "mlp"
    """One that reads photometry alone."""
    model: Location = ""
    """Folder of the fitted estimator."""
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    """The estimator's own, e.g. ``[settings] members = 3``; each class's ``DEFAULTS`` lists them."""
    seed: Whole = 1
    valid_fraction: float = 0.1
    """Of the galaxies, chosen by their identifiers, that are not learnt from, and that accuracy is measured on."""
    z_max: float | None = None
    """Galaxies beyond it are left out; by default none is."""
    threads: Whole = 2
    """The last digits of a sum may depend on their number: as long as it stays, a seed gives the same model on every
    machine, whatever processors it has."""
    overwrite: bool = False
    """Replace another model in the folder."""

    def check(self) -> None:
        """Raise `ConfigError` where settings, each of them valid, do not fit together."""
        for name, value in (("table.location", self.table.location), ("model", self.model)):
            if not value:
                raise ConfigError(f"{name} is not set: give it with --set {name}=LOCATION")
        if not 0 < self.valid_fraction < 1:
            raise ConfigError(f"valid_fraction = {self.valid_fraction} must lie between 0 and 1")
