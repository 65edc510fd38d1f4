"""What makes a catalogue complete: metadata and margin, made again when they are no longer what they were."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from bright_sample import make_sources, write_sources
from conftest import save_untrained
from ingested import choose
from runs import change, read_all
from tiny_survey import BANDS, make_config

from cluster.audit import audit_catalogue
from cluster.engines.tasks import run_tasks
from cluster.inference.run import infer_catalogue
from photoz.catalogue.hats import PRIMARY, finish_catalogue, list_partitions, locate_partition, read_partition
from photoz.settings.config import Config
from photoz.storage import read_json

ARCSEC = 900.0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """1,000 galaxies over 1,500 square degrees, in pixels of order 3, with a margin a quarter of a degree wide."""
    settings = {"estimator": "photometry", "pdf": False}
    folder = tmp_path_factory.mktemp("publish")
    config = make_config(folder, engine={"name": "serial"}, inference=settings, sources={"margin_arcsec": ARCSEC})
    write_sources(config, make_sources(BANDS, 1000), order=np.full(1000, 3))
    save_untrained(config, "photometry")
    infer_catalogue(config)
    return config


@pytest.fixture
def config(finished: Config, tmp_path: Path) -> Config:
    """A finished run of its own, and its source catalogue, to change."""
    places = {name: str(tmp_path / name) for name in ("sources", "catalogue")}
    for name, place in places.items():
        shutil.copytree(getattr(finished.locations, name), place)
    return change(finished, **{f"locations__{name}": place for name, place in places.items()})


def count_done(config: Config) -> int:
    return infer_catalogue(config).this_run.partitions


def find_margin(config: Config) -> list[Path]:
    return sorted(Path(config.locations.catalogue, "margin").rglob("Npix=*.parquet"))


def assert_sound(config: Config) -> None:
    assert audit_catalogue(config).clean


@pytest.mark.slow
@pytest.mark.parametrize("name", ["catalogue/dataset/_metadata", "catalogue/partition_info.csv", "margin"])
@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_damaged_metadata_and_margins_are_made_again(config: Config, name: str, damage: str) -> None:
    file = find_margin(config)[0] if name == "margin" else Path(config.locations.catalogue, name)
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    assert count_done(config) == 0
    assert file.read_bytes() == content
    assert_sound(config)


def test_what_is_complete_and_sound_is_left_alone(config: Config) -> None:
    before = {file: file.stat().st_mtime_ns for file in find_margin(config)}
    assert count_done(config) == 0
    assert {file: file.stat().st_mtime_ns for file in find_margin(config)} == before


def test_another_width_of_the_margin_is_published(config: Config) -> None:
    many = sum(pq.read_metadata(file).num_rows for file in find_margin(config))
    narrow = change(config, sources__margin_arcsec=ARCSEC / 3)
    assert count_done(narrow) == 0
    assert 0 < sum(pq.read_metadata(file).num_rows for file in find_margin(config)) < many
    assert_sound(narrow)
    without = change(config, sources__margin_arcsec=0.0)
    assert count_done(without) == 0
    assert not Path(config.locations.catalogue, "margin").exists()
    assert_sound(without)
    assert count_done(config) == 0
    assert find_margin(config)
    assert_sound(config)


@pytest.mark.slow
def test_work_that_fails_after_inference_on_ray_is_not_lost(config: Config, ray_cluster: None) -> None:
    """Ray Data may lose what raises in inference, where a further pass does it; a margin must not go missing so."""
    config = change(config, engine__name="ray", engine__retries=0, sources__margin_arcsec=ARCSEC / 3)
    for record in Path(config.locations.catalogue, "run/records").iterdir():
        record.unlink()
    assert count_done(config) > 0
    with pytest.raises(Exception, match="no such square"):
        list(run_tasks(refuse, [1, 2, 3], choose(config), label="squares"))


def refuse(task: int) -> dict[str, int]:
    if task == 2:
        raise ValueError("no such square")
    return {"rows": task}


def test_rows_of_a_partition_that_the_sources_lost_go_too(config: Config) -> None:
    location, (gone, *left) = config.locations.sources, list_partitions(config.locations.sources)
    Path(locate_partition(f"{location}/{PRIMARY}", gone)).unlink()
    rows = {part: len(read_partition(location, part)) for part in left}
    finish_catalogue(location, rows.items(), info={})
    assert count_done(config) == 0
    assert len(read_all(config.locations.catalogue)) == sum(rows.values())
    assert read_json(f"{config.locations.catalogue}/run/run.json")["rows"] == sum(rows.values())
    assert_sound(config)
