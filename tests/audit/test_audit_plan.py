"""What an audit plans: a task for each pixel of either catalogue, and for the margin's."""

from pathlib import Path

import numpy as np
import pytest
from audited import ALGORITHM, make_sample
from tiny_catalogues import make_sky, write_photoz

from photoz.audit.plan import choose_margin_order, plan_audit, read_partition_list, read_properties
from photoz.catalogue.hats import MARGIN, PRIMARY, finish_margin
from photoz.catalogue.margins import plan_margins, write_margins
from photoz.errors import CatalogueError
from photoz.schema import make_catalogue_schema


def test_partitions_of_either_catalogue_are_planned_once(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    sky = make_sky(50, box=(200.0, 201.0, -1.0, 1.0))
    write_photoz(str(tmp_path / "elsewhere"), sky, np.full(50, 0.1))
    tasks = plan_audit(sample.catalogue, str(tmp_path / "elsewhere"))
    assert len({task.partition for task in tasks}) == len(tasks)
    assert {task.partition for task in tasks if task.in_catalogue} == set(sample.partitions)
    assert not any(task.in_sources and task.in_catalogue for task in tasks)
    assert {(task.margin_order, task.neighbours, task.algorithm) for task in tasks} == {(-1, (), ALGORITHM)}


def test_a_margin_brings_neighbours_and_the_pixels_beside_the_edge(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    counts = [
        count for task in plan_margins(sample.catalogue, sample.partitions) for count in write_margins(60.0, task)
    ]
    finish_margin(sample.catalogue, counts, threshold=60.0, schema=make_catalogue_schema(ALGORITHM))
    tasks = sample.plan()
    assert {task.margin_order for task in tasks} == {choose_margin_order(sample.catalogue)}
    beside = [task for task in tasks if not task.in_catalogue]
    assert beside
    assert all(task.neighbours for task in beside)
    assert set(read_partition_list(f"{sample.catalogue}/{MARGIN}")) <= {task.partition for task in tasks}


def test_lists_that_cannot_be_read_are_empty(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 50)
    table = Path(sample.catalogue, PRIMARY)
    assert read_properties(str(table)) is not None
    (table / "partition_info.csv").write_text("nonsense")
    (table / "hats.properties").unlink()
    assert read_partition_list(str(table)) == []
    assert read_partition_list(str(tmp_path)) == []
    assert read_properties(str(tmp_path)) is None


def test_without_a_catalogue_there_is_nothing_to_audit(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 50)
    with pytest.raises(CatalogueError, match=r"no photo-z catalogue.*infer_dr4"):
        plan_audit(str(tmp_path / "nowhere"), sample.sources)
    with pytest.raises(CatalogueError, match="nowhere"):
        plan_audit(sample.catalogue, str(tmp_path / "nowhere"))
