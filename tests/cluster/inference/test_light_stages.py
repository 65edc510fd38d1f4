"""A worker imports what its stage of inference needs, for it holds that as long as it lives."""

from pathlib import Path

import pytest
from conftest import ReadySurvey
from runs import change
from worker_roles import ENGINES, run_roles

from cluster.inference.plan import plan_run
from photoz.sources import list_source_partitions

TILES = {"astropy", "zarr", "hats", "matplotlib"}
"""What opens tiles or lists catalogues, and what that brings."""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_who_reads_has_no_torch_and_who_estimates_no_astropy(
    ready_survey: ReadySurvey, tmp_path: Path, engine: str
) -> None:
    config = change(ready_survey.config, locations__catalogue=str(tmp_path / "catalogue"))
    partition = list_source_partitions(config.locations.sources)[0]
    found = run_roles(plan_run(config), partition, engine, tmp_path)
    assert "torch" not in found["read"].modules
    assert "zarr" in found["read"].modules  # it did read a tile
    assert not found["estimate"].modules & TILES
    assert "torch" in found["estimate"].modules
    assert not found["write"].modules & {"torch", *TILES}
    own = {"serial": set(), "dask": {"distributed"}, "ray": {"ray"}}[engine]
    for worker in found.values():
        assert worker.modules & {"distributed", "ray"} == own
