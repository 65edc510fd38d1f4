"""Make a training set from sources, spectra and tiles, and train an estimator on it.

    photoz train [--config FILE] [--set section.key=value ...] [--dry-run]

--set training.estimator=photometry trains the network without images; annz, boosted, cnn1d, fcnn, gat, knn, mlp and
template are fitted to the magnitudes by one task.
"""

from cluster.job import check_locations
from photoz.settings.config import Config


def main(config: Config) -> None:
    """Bring the training set up to date, then train the estimator that the settings name."""
    from cluster.training.networks import train_estimator
    from cluster.training.set import build_training_set

    check_locations(config.locations, retries=config.engine.retries)
    # Each time: parts that are up to date stay, and the training's key is that of the set as it is.
    build_training_set(config)
    train_estimator(config)
