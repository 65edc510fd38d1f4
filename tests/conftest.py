"""Fixtures shared by the tests: a local Ray cluster, and a tiny survey ready for inference."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from from_magnitudes import make_preparation
from hypothesis import settings
from ingested import ingest_every, partition
from object_store import CREDENTIALS
from tiny_survey import make_config, write_survey

from photoz.estimators.networks.network import HybridNetwork
from photoz.estimators.registry import load_class
from photoz.settings.config import Config

# No test depends on how quick its machine is; hypothesis would fail an example that takes 200 ms.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

pytest_plugins = ("bench_table", "fault_places", "fault_table", "small_disk")


@contextmanager
def run_ray() -> Iterator[None]:
    """Run Ray in this process with ports and a folder of its own, unless it runs; stop it at the end."""
    import ray

    from cluster.engines.ray import use_own_token

    if ray.is_initialized():
        yield
        return

    # Ray keeps sockets in its folder, and a socket's path may have no more than 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        use_own_token()
        ray.init(
            address="local",
            num_cpus=4,  # so many tasks at one time, however many processors the machine has
            include_dashboard=False,
            _temp_dir=folder,
            log_to_driver=False,
            # Workers live through the whole session: functions of the tests' own modules, and the test store's keys.
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path), **CREDENTIALS}},
        )
        yield
        ray.shutdown()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Run Ray once for all tests that need no more than workers; those that harm it run one of their own."""
    with run_ray():
        yield


@dataclass(frozen=True)
class ReadySurvey:
    """A tiny survey that has been ingested, with an untrained estimator of each kind."""

    folder: Path
    config: Config
    object_ids: frozenset[str]


@pytest.fixture(scope="session")
def ready_survey(tmp_path_factory: pytest.TempPathFactory) -> ReadySurvey:
    """As of `make_ready_survey`; tests must not change it."""
    return make_ready_survey(tmp_path_factory.mktemp("ready"))


def make_ready_survey(folder: Path) -> ReadySurvey:
    """Ingest three tiles of 40 sources (30 of them bright), a partition each, in a folder."""
    survey = write_survey(folder, ("180.0_-0.5", "180.5_-0.5", "181.0_-0.5"))
    settings = {"rows_per_partition": 40, "highest_order": 8}
    config = make_config(folder, sources=settings, engine={"name": "serial"}, inference={"batch_size": 16})
    assert [outcome.problem for outcome in ingest_every(config)] == ["", "", ""]
    partition(config)
    for name in ("hybrid", "photometry"):
        save_untrained(config, name)
    ids = {
        str(row["ID"]) for table in survey.catalogues.values() for row in table if row["MAG_AUTO"] < np.float32(20.0)
    }
    return ReadySurvey(folder, config, frozenset(ids))


def save_untrained(config: Config, name: str, *, seed: int = 0) -> None:
    """Save an estimator with fresh weights where the settings look for a trained one; its estimates lie above 0."""
    torch.manual_seed(seed)
    kind: Any = load_class(name)
    layout = kind.make_layout(config.survey, config.training)
    preparation = make_preparation(kind, layout.bands)
    # Fresh weights give numbers about 0, and estimates are held to 0 from below: all would be the same.
    network = kind.make_network(layout, (0.5, 0.1))
    if isinstance(network, HybridNetwork):
        torch.nn.init.constant_(network.join[-1].bias, 2.0)
    kind(layout, preparation, network).save(f"{config.locations.models}/{name}")
