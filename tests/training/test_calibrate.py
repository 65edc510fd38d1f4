"""What is read of the training set once a network is trained: the right split, by row groups, only when asked."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from tiny_catalogues import BANDS, make_sky, write_training_set

from photoz.errors import TrainingError
from photoz.photometry import derive_magnitudes
from photoz.training.recalibrate import calibrate_estimator, read_galaxies
from photoz.training.set import read_photometry

SPLITS = np.array(["train", "valid", "calib", "test"])


@dataclass
class Reader:
    """As much of a network estimator as the reading asks for; notes what it was given."""

    bands: tuple[str, ...] = ("r", "g")
    image_bands: tuple[str, ...] = ()
    asks: bool = True
    given: list = field(default_factory=list)

    def calibrate(self, galaxies, fluxes, *, seed: int) -> "Reader":
        """Read both, or neither."""
        if self.asks:
            self.given = [list(galaxies), list(fluxes), seed]
        return self


@pytest.fixture(scope="module")
def sky():
    return make_sky(80)


@pytest.fixture(scope="module")
def training(sky, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("training"))
    write_training_set(folder, sky, SPLITS[np.arange(80) // 20], parts=2)  # "calib" and "test" in the second part alone
    return folder


@pytest.mark.parametrize(("split", "first"), [("train", 0), ("valid", 20), ("calib", 40), ("test", 60)])
def test_galaxies_are_those_of_the_split_in_its_order(training: str, sky, split: str, first: int) -> None:
    parts = list(read_galaxies(Reader(), training, split))
    rows = slice(first, first + 20)
    np.testing.assert_allclose(np.concatenate([z for _, z in parts]), sky.z_spec[rows], rtol=1e-6)
    magnitudes_NF = np.concatenate([inputs.magnitudes.magnitudes_NF for inputs, _ in parts])
    # In the order of the estimator's bands, r before g.
    np.testing.assert_allclose(magnitudes_NF[:, 0], sky.mag[rows], rtol=1e-6)
    np.testing.assert_allclose(magnitudes_NF[:, 1], (sky.mag + sky.colour)[rows], rtol=1e-6)


def test_row_groups_without_a_galaxy_of_the_split_give_nothing(training: str) -> None:
    assert [len(z) for _, z in read_galaxies(Reader(), training, "calib")] == [20]  # one part of two


def test_an_estimator_without_images_reads_no_cutout(training: str) -> None:
    # The set has no such column, so that reading it would raise.
    assert all(inputs.cutouts_NBYX is None for inputs, _ in read_galaxies(Reader(), training, "train"))
    with pytest.raises(TrainingError, match="cutout"):
        list(read_galaxies(Reader(image_bands=("r",)), training, "train"))


def test_fluxes_are_of_the_training_split_alone(training: str, sky) -> None:
    found = [derive_magnitudes(*pair) for pair in read_photometry(training, "train", BANDS)]
    magnitudes_NF = np.concatenate([each.magnitudes_NF for each in found])
    assert magnitudes_NF.shape == (20, len(BANDS))
    np.testing.assert_allclose(magnitudes_NF[:, BANDS.index("r")], sky.mag[:20], rtol=1e-6)
    assert np.isnan(magnitudes_NF[:, BANDS.index("u")]).all()


def test_recalibration_is_of_calib_and_valid_and_distance_of_train(training: str, sky) -> None:
    reader = calibrate_estimator(Reader(), training, seed=7)
    galaxies, fluxes, seed = reader.given
    unseen_N = [*range(40, 60), *range(20, 40)]
    np.testing.assert_allclose(np.concatenate([z for _, z in galaxies]), sky.z_spec[unseen_N], rtol=1e-6)
    assert sum(len(fluxes_NF) for fluxes_NF, _ in fluxes) == 20
    assert seed == 7


def test_what_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    reader = Reader(asks=False)
    assert calibrate_estimator(reader, nowhere, seed=1) is reader
    with pytest.raises(TrainingError, match=r"no training set at .*: run jobs/train_dr4\.py"):
        calibrate_estimator(Reader(), nowhere, seed=1)
