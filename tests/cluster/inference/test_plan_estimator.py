"""Which estimator inference is to run is found by name, and one that is not there is told with those that are."""

from pathlib import Path

import pytest

from cluster.inference.plan import locate_estimator
from photoz.errors import EstimatorError


def test_an_estimator_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    models = str(tmp_path)
    with pytest.raises(EstimatorError, match=r"no trained estimator at .*hybird': there are none: run jobs/train_dr4"):
        locate_estimator(models, "hybird")
    for name in ("hybrid", "mlp", "unfinished"):
        (tmp_path / name).mkdir()
    for name in ("hybrid", "mlp"):
        (tmp_path / name / "manifest.json").write_text("{}")
    assert locate_estimator(models, "mlp") == f"{models}/mlp"
    with pytest.raises(EstimatorError, match=r"did you mean 'hybrid'\?.*estimator may be hybrid, mlp, or run"):
        locate_estimator(models, "hybird")
