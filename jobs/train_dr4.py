#!/usr/bin/env python
"""Make the training set from sources, spectra and tiles, and train an estimator on it.

`python jobs/train_dr4.py [--config FILE] [--set section.key=value ...] [--dry-run]`
`--set training.estimator=photometry` trains the network without images; annz, boosted, cnn1d, fcnn, gat, knn, mlp and
template are fitted to the magnitudes by one task.
"""

from cluster.command import run_script

if __name__ == "__main__":
    raise SystemExit(run_script("train", __file__, __doc__))
