"""Partitioning of the source catalogue: the same sources give the same files."""

import hashlib
import os
import re
from pathlib import Path

import dask
import pytest
from astropy.table import Table
from hats.io.validation import is_valid_catalog
from ingested import ingest_every, partition
from runs import assert_same_rows, read_all

from cluster.ingest import ingest_alone
from photoz.catalogue.hats import list_partitions
from photoz.errors import CatalogueError
from photoz.settings.config import Config
from photoz.storage import remove
from photoz.tiles import list_tiles
from tests.tiny_survey import make_config, write_catalogue, write_survey


def test_files_that_were_only_touched_give_the_same_catalogue(tmp_path: Path) -> None:
    write_survey(tmp_path, ("180.0_-0.5",))
    config = make_config(tmp_path, engine={"name": "serial"})
    first = ingest_and_partition(config)
    for file in (tmp_path / "survey").iterdir():
        os.utime(file, (1, 1))
    assert ingest_and_partition(config) == first


@pytest.mark.parametrize("margin_arcsec", [0.0, 10.0])
def test_few_rows_and_many_make_one_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, margin_arcsec: float
) -> None:
    """Few are partitioned in memory, many by hats-import."""
    write_survey(tmp_path, ("180.0_-0.5", "180.1_-0.5"))
    settings = {"rows_per_partition": 40, "highest_order": 9, "margin_arcsec": margin_arcsec}
    config = make_config(tmp_path, engine={"name": "serial"}, sources=settings)
    ingest_every(config)
    found = []
    for most in (500_000, 0):
        monkeypatch.setattr("cluster.partitioning.sources._FEW_ROWS", most)
        remove(config.locations.sources)
        partition(config)
        tables = [f"{config.locations.sources}/{name}" for name in ("catalogue", "margin")[: 1 + (margin_arcsec > 0)]]
        found.append([(list_partitions(table), read_all(table).sort_by("object_id")) for table in tables])
        assert is_valid_catalog(config.locations.sources, strict=True)
    assert len(found[0][0][0]) > 1
    for (parts, rows), (expected_parts, expected_rows) in zip(*found, strict=True):
        assert parts == expected_parts
        assert_same_rows(rows, expected_rows)


def test_a_dask_scheduler_of_the_environment_is_not_joined_for_local_work(tmp_path: Path) -> None:
    """The operator of dask-kubernetes names one to every pod, by DASK_SCHEDULER_ADDRESS."""
    write_survey(tmp_path, ("180.0_-0.5",))
    config = make_config(tmp_path, engine={"name": "serial"})
    with dask.config.set({"scheduler-address": "tcp://127.0.0.1:9"}):
        assert ingest_and_partition(config)


def test_a_folder_of_another_beside_the_sources_stays(tmp_path: Path) -> None:
    """Of the name that intermediate files had: they were removed at the end, with whatever lay there."""
    write_survey(tmp_path, ("180.0_-0.5",))
    config = make_config(tmp_path, engine={"name": "serial"})
    other = Path(f"{config.locations.sources}_import") / "raw.csv"
    other.parent.mkdir(parents=True)
    other.write_text("precious")
    assert ingest_and_partition(config)
    assert other.read_text() == "precious"
    assert not (Path(f"{config.locations.sources}_staging") / "import").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a b ", "c:d", "a%2Fb", "a'b\"", "x+y&z=1", "new\nline", "ü,{}*?[1]", "-x", "v..1"])
def test_the_catalogue_may_have_any_name(tmp_path: Path, name: str) -> None:
    """`hats-import` knows letters, digits and few signs; what it is told matters to its properties alone."""
    write_survey(tmp_path, ("180.0_-0.5",))
    plain, odd = (
        make_config(tmp_path, engine={"name": "serial"}, locations={"sources": str(tmp_path / each)})
        for each in ("plain", name)
    )
    expected, found = (
        {file.removeprefix(config.locations.sources): digest for file, digest in ingest_and_partition(config).items()}
        for config in (plain, odd)
    )
    assert found == expected


@pytest.mark.parametrize("damage", ["cut", "removed", "flipped"])
def test_a_damaged_file_has_the_catalogue_made_again(tmp_path: Path, damage: str) -> None:
    write_survey(tmp_path, ("180.0_-0.5",))
    config = make_config(tmp_path, engine={"name": "serial"})
    made = ingest_and_partition(config)
    file = Path(next(iter(made)))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()
    if damage != "removed":
        file.write_bytes(content if damage == "flipped" else content[:100])
    assert ingest_and_partition(config) == made


def test_one_ingest_at_a_time(tmp_path: Path) -> None:
    write_survey(tmp_path, ("180.0_-0.5",))
    config = make_config(tmp_path, engine={"name": "serial"})
    refused = pytest.raises(CatalogueError, match=r"is writing this output .*: wait for it$")
    with ingest_alone(config.locations), refused, ingest_alone(config.locations):
        pytest.fail("two at once")
    with ingest_alone(config.locations):
        assert ingest_and_partition(config)
    assert list_tiles(config.locations.tiles) == ["KIDS_180.0_-0.5"]


def ingest_and_partition(config: Config) -> dict[str, str]:
    assert [outcome.problem for outcome in ingest_every(config)] == [""]
    partition(config)
    dataset = Path(config.locations.sources, "catalogue", "dataset")
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in dataset.rglob("Npix=*.parquet")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"selection": {"mag_auto_below": 10.0}},
            r"selection\.cuts, selection\.mag_auto_below = 10\.0 mag",
        ),
        ({"selection": {"bright_sample": "bright.fits"}}, r"look at selection\.bright_sample = 'bright\.fits'"),
        ({"survey": {"columns": {"dec": "FAR"}}}, r"\(\d+ of those selected have no position or no identifier\)"),
    ],
)
def test_nothing_selected_is_told_with_the_settings_that_select(
    tmp_path: Path, changes: dict[str, dict[str, object]], message: str
) -> None:
    survey = write_survey(tmp_path, ("180.0_-0.5", "181.0_-0.5"), shape=(30, 30), count=8)
    for tile, table in survey.catalogues.items():
        table["FAR"] = -999.0
        write_catalogue(survey.path(tile, "ugriZYJHKs_cat"), table)
    Table({"ID": ["of another survey"]}).write(tmp_path / "survey" / "bright.fits")
    config = make_config(tmp_path, engine={"name": "serial"}, **changes)
    ingest_every(config)
    with pytest.raises(CatalogueError, match="no source is selected of 16 rows in the catalogues of 2") as caught:
        partition(config)
    assert re.search(message, str(caught.value))


def test_one_tile_without_a_source_costs_the_others_nothing(tmp_path: Path) -> None:
    survey = write_survey(tmp_path, ("180.0_-0.5", "181.0_-0.5"), shape=(30, 30), count=8)
    write_catalogue(survey.path("180.0_-0.5", "ugriZYJHKs_cat"), survey.catalogues["180.0_-0.5"][:0])
    config = make_config(tmp_path, engine={"name": "serial"})
    assert [outcome.problem for outcome in ingest_every(config)] == ["", ""]
    partition(config)
    names = read_all(config.locations.sources)["object_id"].to_pylist()
    assert sorted(names) == sorted(map(str, survey.catalogues["181.0_-0.5"]["ID"][:6]))
