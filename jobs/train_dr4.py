#!/usr/bin/env python
"""Make the training set from sources, spectra and tiles, and train an estimator on it.

`python jobs/train_dr4.py [--config FILE] [--set section.key=value ...] [--dry-run]`
`--set training.estimator=photometry` trains the network without images; annz, boosted, cnn1d, fcnn, gat, knn, mlp and
template are fitted to the magnitudes by one task.
"""

from cluster.job import run_job
from cluster.training.networks import train_estimator
from cluster.training.set import build_training_set
from photoz.settings.config import Config


def main(config: Config) -> None:
    # Each time: parts that are up to date stay, and the training's key is that of the set as it is.
    build_training_set(config)
    train_estimator(config)


if __name__ == "__main__":
    raise SystemExit(run_job(main, __file__, __doc__))
