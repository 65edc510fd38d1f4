"""How the training set is matched and split, and how an estimator is trained on it."""

from typing import Any, Literal

import msgspec

from photoz.settings.base import Settings


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
    radius_arcsec: float = 1.0
    """[arcsec]"""
    min_redshift: float = 0.001
    """Below this a "galaxy" is a star or a wrong redshift."""
    fractions: tuple[float, float, float, float] = (0.70, 0.075, 0.075, 0.15)
    """Of train, valid (which ends a training), calib (which p(z) is recalibrated on, and nothing else is) and test; a
    galaxy's split depends on its object_id and ``run.seed`` alone. The paper's are 0.70, 0.15 and 0.15."""


class Training(Settings, frozen=True):
    """How an estimator is trained. Where the paper (arXiv 2312.08043) says something, the defaults are its."""

    estimator: str = "hybrid"
    """Which to train, and the name of its folder within ``locations.models``: hybrid or photometry (networks that Ray
    Train spreads), hybrid-paper (the paper's network, loss and settings, whatever is said below), or one that a single
    task fits to the magnitudes (annz, boosted, cnn1d, fcnn, gat, knn, mlp, template)."""
    fit: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    """Settings of the latter by name, e.g. ``[training.fit.mlp] members = 3``; each class's ``DEFAULTS`` lists its own.
    Of the settings below these fits read ``use_gpu``, ``cpus_per_worker``, ``threads_per_worker`` (0: one, so that a
    seed gives the same estimator on every machine), ``overwrite`` and ``max_failures``."""
    cutout_size: int = 36
    """[pixel] side of the cutouts: 7.2 arcsec at 0.2 arcsec a pixel."""
    batch_size: int = 32
    """Galaxies a step, over all workers together."""
    learning_rate: float = 1e-3
    decay: float = 0.9
    decay_steps: int = 10_000
    """The learning rate falls by ``decay`` each this many steps, continuously."""
    adam_epsilon: float = 1e-7
    """Added to Adam's denominator. Keras' default, which the paper used; torch's is 1e-8. With ``huber_delta`` 1e-4
    gradients are so small that it matters."""
    huber_delta: float = 1e-4
    """In ln(1 + z)."""
    head: Literal["mixture", "binned", "point"] = "mixture"
    """What hybrid and photometry give: p(z) as a mixture of Gaussians in ln(1 + z), p(z) in bins of it, or a point."""
    members: int = 4
    """Small networks that share all but the last two layers, each trained on galaxies drawn with replacement: their
    spread is the model's own uncertainty."""
    components: int = 5
    """Gaussians a member."""
    bins: int = 180
    """Of a binned density: 0.004 in ln(1 + z) each on a bright sample, a quarter of its scatter."""
    point_weight: float = 1.0
    """Of the point estimate's Huber loss, in units in which it is the absolute error over the targets' spread, beside
    the density's negative log likelihood."""
    dropped_weight: float = 0.5
    """Of the same galaxies with inputs dropped at random, beside those as they are: each step sees both."""
    drop_band: float = 0.1
    """Chance of each single band to be dropped: six of ten galaxies lose one or more of nine."""
    drop_unimaged: float = 0.2
    """Chance of all bands without images (KiDS: those of VIKING, which end at its footprint) to be dropped."""
    drop_image: float = 0.3
    """Chance of the image to be dropped: whole tiles lack it."""
    drop_photometry: float = 0.1
    """Chance of all magnitudes to be dropped, where the image is kept: rare in surveys."""
    drop_image_band: float = 0.1
    """Chance of one image band to be dropped, here also from the galaxies as they are: small, for it costs them. Where
    inputs are dropped its magnitude goes with it, as if the band had not been observed."""
    smooth_nz_width: float = 0.0
    """In redshift: weigh the training galaxies so that their n(z) is smooth at this scale (`photoz.deimprint`), which
    keeps the training fields' clusters and voids out of p(z); 0 weighs all alike."""
    max_epochs: int = 100
    patience: int = 10
    """Stop after this many epochs without a better validation loss."""
    shuffle_rows: int = 4096
    """Galaxies in the buffer that each worker draws its batches from (21 kB each with images)."""
    hold_gib: float = 1.0
    """[GiB] A split no larger than this is read once and held in Ray's object store, from which it streams to the
    workers each epoch; a larger one is read from its files each epoch. Saves some seconds an epoch."""
    workers: int = 2
    use_gpu: bool = False
    cpus_per_worker: float = 0.5
    """What Ray sets aside for a worker. Below 1, so that two workers on two CPUs leave room for the tasks that read the
    training set; without that room Ray waits for ever."""
    threads_per_worker: int = 0
    """CPU threads of a worker; 0: the machine's CPUs divided by ``workers``."""
    precision: Literal["float32", "bfloat16"] = "float32"
    overwrite: bool = False
    """Replace a trained estimator that has other settings or another training set."""
    max_failures: int = 3
    """Worker deaths to survive by resuming from the last checkpoint."""
