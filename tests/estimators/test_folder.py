"""An estimator's folder: what is written comes back, the manifest comes last, and damage is told."""

from pathlib import Path

import numpy as np
import pytest

from photoz.errors import EstimatorError
from photoz.estimators.folder import (
    ARRAYS,
    MANIFEST,
    WEIGHTS,
    load_recalibration,
    read_arrays,
    read_bytes,
    read_manifest,
    write_folder,
)
from photoz.pdf.recalibration import Recalibration


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    turned = np.arange(6.0).reshape(2, 3).T  # not contiguous
    write_folder(str(tmp_path), {"estimator": "x"}, arrays={ARRAYS: {"a": turned}}, texts={"model.txt": "größer"})
    assert read_manifest(str(tmp_path)) == {"estimator": "x"}
    np.testing.assert_array_equal(read_arrays(str(tmp_path), ARRAYS)["a"], turned)
    assert read_bytes(f"{tmp_path}/model.txt").decode() == "größer"


def test_without_its_manifest_a_folder_is_no_estimator(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_folder(str(tmp_path), {"estimator": object()}, arrays={ARRAYS: {"a": np.zeros(1)}})
    assert (tmp_path / ARRAYS).exists()
    with pytest.raises(EstimatorError, match=r"no trained estimator.*train_dr4"):
        read_manifest(str(tmp_path))


def test_damage_is_told_with_the_file_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / ARRAYS).write_bytes(b"nothing")
    with pytest.raises(EstimatorError, match=rf"{ARRAYS} is damaged.*train the estimator again"):
        read_arrays(str(tmp_path), ARRAYS)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(EstimatorError, match="is not JSON"):
        read_manifest(str(tmp_path))


@pytest.mark.parametrize("name", [WEIGHTS, ARRAYS])
def test_the_recalibration_is_found_in_either_kind_of_folder(tmp_path: Path, name: str) -> None:
    arrays = Recalibration.identity().to_arrays()
    write_folder(str(tmp_path), {"estimator": "x"}, arrays={name: arrays})
    found = load_recalibration(str(tmp_path))
    assert found is not None
    np.testing.assert_array_equal(found.patterns_P, arrays["recalibration_patterns_P"])
    write_folder(str(tmp_path), {"estimator": "x"}, arrays={name: {"a": np.zeros(1)}})
    assert load_recalibration(str(tmp_path)) is None
