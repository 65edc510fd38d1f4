"""The capacity model: its sums, and that docs/scaling.md holds what it prints."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))

from capacity import Fleet, Rates, Survey, count_read, estimate_stages, find_bottleneck, make_lines  # noqa: E402

SURVEY = Survey("one", tiles=10, galaxies=3.6e6, rows_per_partition=1000, images=False)


def test_photometry_takes_galaxies_over_rate_and_cores() -> None:
    rates = replace(Rates(), photometry=1000.0, margin_s=0.0, audit_s=0.0, driver_s=0.0)
    stages = estimate_stages(SURVEY, rates, Fleet(nodes=2, cores=5))
    assert stages["cores: photometry"] == pytest.approx(0.1)  # 3.6 million at 10,000 a second: 6 minutes
    assert find_bottleneck(stages) == (pytest.approx(0.1), "cores: photometry")


def test_a_slow_driver_is_the_bottleneck_that_more_nodes_do_not_move() -> None:
    rates = replace(Rates(), driver_s=1.0)
    for nodes in (1, 100):
        hours, name = find_bottleneck(estimate_stages(SURVEY, rates, Fleet(nodes)))
        assert (hours, name) == (pytest.approx(1.0), "driver: partitions")


def test_cutouts_never_read_more_than_the_whole_store() -> None:
    dense = replace(SURVEY, images=True, galaxies=1e9)
    assert count_read(dense, Rates()) == pytest.approx(10 * Rates().tile_stored)
    assert count_read(replace(dense, galaxies=10), Rates()) == pytest.approx(10 * Rates().read_sparse)


def test_the_table_of_the_documentation_is_what_the_model_gives() -> None:
    text = (ROOT / "docs" / "scaling.md").read_text()
    for row in make_lines():
        assert f"| {' | '.join(row)} |" in text, "run tests/benchmarks/capacity.py and put its table there"
