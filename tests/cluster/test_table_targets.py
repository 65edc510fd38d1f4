"""A table held against the model that is to estimate it, and its sources staged once."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_tables import Sky
from tiny_catalogues import make_config

import cluster.tables.staging
import photoz
from cluster.engines.choose import choose_engine
from cluster.tables.staging import stage_part, stage_parts
from cluster.tables.target import Target, choose_survey, drop_parts, open_target, settle_survey
from photoz.errors import ConfigError, TableError
from photoz.estimators import Estimator
from photoz.ingest.staging import read_staged, staged_location, staging_location
from photoz.settings.config import Config
from photoz.storage import list_folder
from photoz.tables.settings import TableInput

BANDS = "g,r,i"


def make_columns(count: int, seed: int = 2, **more: Any) -> dict[str, Any]:
    sky = Sky(BANDS, count, seed)
    columns: dict[str, Any] = {"object_id": [f"{seed}-{row}" for row in range(count)], "ra": sky.ra, "dec": sky.dec}
    for band in sky.bands:
        columns |= {f"flux_{band}": sky.flux[band], f"fluxerr_{band}": sky.error[band]}
    return columns | more


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    columns = make_columns(120, 1) | {"z_spec": Sky(BANDS, 120, 1).z}
    photoz.fit(columns, bands=BANDS.split(","), estimator="knn").save(str(folder / "knn"))
    return folder


@pytest.fixture
def estimator(models: Path) -> Estimator:
    return photoz.load(str(models / "knn")).estimator


@pytest.fixture
def config(tmp_path: Path, models: Path) -> Config:
    """Settings of a table of two files, of 40 and of 25 rows."""
    (tmp_path / "table").mkdir()
    for name, count in (("a", 40), ("b", 25)):
        pq.write_table(pa.table(make_columns(count, count)), tmp_path / "table" / f"{name}.parquet")
    sections = {"table": {"location": str(tmp_path / "table")}, "inference": {"estimator": "knn"}}
    made = make_config(tmp_path, engine={"name": "serial"}, **sections)
    return msgspec.structs.replace(made, locations=msgspec.structs.replace(made.locations, models=str(models)))


def stage(config: Config, target: Target | None = None) -> Counter[str]:
    return stage_parts(
        target or open_target(config), config.locations.sources, choose_engine(config.engine, config.storage_options)
    )


def change(config: Config, **values: Any) -> Config:
    return msgspec.structs.replace(config, table=msgspec.structs.replace(config.table, **values))


def read_stage(config: Config) -> pa.Table:
    return pa.concat_tables(
        pq.read_table(location) for location in sorted(list_folder(staging_location(config.locations.sources)))
    )


def test_a_model_says_whose_columns_its_tables_have(config: Config) -> None:
    target = open_target(config)
    assert (target.survey.name, target.bands, target.placed) == ("plain", ("g", "r", "i"), True)
    assert not target.partitioned
    assert len(drop_parts(target).table.parts) == 0
    settled = settle_survey(config.survey, target)
    assert (settled.name, settled.bands, settled.image_bands) == ("plain", ("g", "r", "i"), ())


def test_a_table_without_positions_is_one(config: Config, tmp_path: Path) -> None:
    for file in (tmp_path / "table").iterdir():
        pq.write_table(pq.read_table(file).drop_columns(["ra", "dec"]), file)
    assert not open_target(config).placed


def test_half_a_position_is_a_mistake(config: Config, tmp_path: Path) -> None:
    for file in (tmp_path / "table").iterdir():
        pq.write_table(pq.read_table(file).drop_columns(["dec"]), file)
    with pytest.raises(ConfigError, match=r"lacks 1 of the columns .*: dec \(dec"):
        open_target(config)


def test_another_survey_is_taken_only_where_that_is_accepted(estimator: Estimator) -> None:
    assert choose_survey(TableInput(), estimator).name == "plain"
    sdss = TableInput(survey="sdss")
    with pytest.raises(ConfigError, match=r"fitted to tables of 'plain', this is one of 'SDSS.*other_survey=accept"):
        choose_survey(sdss, estimator)
    assert choose_survey(msgspec.structs.replace(sdss, other_survey="accept"), estimator).name.startswith("SDSS")


def test_a_model_that_names_no_survey_asks_for_one() -> None:
    class Trained:
        """A network, which was trained on a survey of files and records no table."""

    with pytest.raises(ConfigError, match="names no survey of its own: say whose columns the table has with --survey"):
        choose_survey(TableInput(), Trained())  # type: ignore[arg-type]
    assert choose_survey(TableInput(survey="plain"), Trained()).name == "plain"  # type: ignore[arg-type]


def test_bands_that_the_survey_lacks_are_accepted_or_refused(config: Config, tmp_path: Path) -> None:
    (tmp_path / "gr.toml").write_text(
        'name = "plain"\nidentifier = "object_id"\nbands = ["g", "r"]\n[photometry]\nkind = "flux"\nunit = "nJy"\n'
        'column = "flux_{band}"\nerror = "fluxerr_{band}"\ndereddened = true\n'
    )
    few = change(config, survey=str(tmp_path / "gr.toml"))
    with pytest.raises(ConfigError, match=r"reads the bands \['i'\].*--set table\.absent_bands=accept"):
        open_target(few)
    assert open_target(change(few, absent_bands="accept")).bands == ("g", "r", "i")


def test_a_table_within_its_own_output_is_refused(config: Config, tmp_path: Path) -> None:
    within = str(tmp_path / "catalogue" / "t.parquet")
    with pytest.raises(ConfigError, match=r"lies within the output .*: give another output"):
        open_target(change(config, location=within))
    with pytest.raises(ConfigError, match="lies within the output"):
        open_target(change(config, location=config.locations.catalogue))
    # A name that begins alike is another place.
    with pytest.raises(TableError, match="there is no table at"):
        open_target(change(config, location=f"{config.locations.catalogue}_of_another"))


def test_every_row_is_staged_once_in_the_schema_of_sources(config: Config) -> None:
    counts = stage(config)
    assert (counts["rows"], counts["rows_out"]) == (65, 65)
    rows = read_stage(config)
    assert sorted(rows["object_id"].to_pylist()) == sorted(
        [f"{count}-{row}" for count in (40, 25) for row in range(count)]
    )
    assert {"_healpix_29", "tile", "mag_auto", "flux_i", "flags"} <= set(rows.column_names)


def test_staged_parts_stay_and_a_changed_file_is_staged_again(config: Config, tmp_path: Path) -> None:
    sources = config.locations.sources
    first = stage(config)
    stamps = {location: Path(location).stat().st_mtime_ns for location in list_folder(staging_location(sources))}
    assert stage(config) == first
    assert {location: Path(location).stat().st_mtime_ns for location in stamps} == stamps
    pq.write_table(pa.table(make_columns(30, 9)), tmp_path / "table" / "b.parquet")
    assert stage(config)["rows"] == 70
    assert sum(Path(location).stat().st_mtime_ns != stamp for location, stamp in stamps.items()) == 1
    assert not any(name.startswith("25-") for name in read_stage(config)["object_id"].to_pylist())


def test_staged_parts_of_a_longer_table_do_not_stay(config: Config, tmp_path: Path) -> None:
    sources = config.locations.sources
    stage(config)
    (tmp_path / "table" / "b.parquet").unlink()
    assert stage(config)["rows"] == 40
    assert Path(staged_location(sources, "part-000000")).exists()
    assert not Path(staged_location(sources, "part-000001")).exists()


def test_another_meaning_of_the_columns_is_staged_anew(config: Config) -> None:
    """A cut that is added, or other bands: the file is the same, and the rows are not."""
    target = open_target(config)
    part = target.table.parts[0]
    stage_part(target, config.locations.sources, (0, part))
    cut = replace(target, survey=msgspec.structs.replace(target.survey, cuts=("flux_r > 1e30",)))
    staged = stage_part(cut, config.locations.sources, (0, part))
    assert (staged.rows, staged.counts["cut"]) == (0, 40)
    found = read_staged(staged_location(config.locations.sources, "part-000000"))
    assert found is not None
    assert (found.num_rows, found.record.rows, found.record.rejected) == (0, 40, 40)


def test_rows_without_a_position_are_set_aside_and_counted(config: Config, tmp_path: Path) -> None:
    columns = make_columns(10, 10)
    columns["ra"][:3] = [np.nan, np.inf, 1e4]
    columns["dec"][3] = -91.0
    pq.write_table(pa.table(columns), tmp_path / "table" / "a.parquet")
    counts = stage(config)
    assert (counts["rows"], counts["no_position"], counts["rows_out"]) == (35, 4, 31)


def test_a_target_of_no_parts_is_not_partitioned(config: Config) -> None:
    target = open_target(config)
    assert not replace(target, table=replace(target.table, parts=())).partitioned
    assert isinstance(target, Target)
    assert stage(config, drop_parts(target)) == Counter()


def test_a_part_of_many_rows_is_staged_in_pieces_that_are_found_again(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part may be a file of any size: what is held of it must not be."""
    monkeypatch.setattr(cluster.tables.staging, "_PIECE_ROWS", 60_000)
    # Two batches and a bit.
    columns = make_columns(140_000, 7)
    pq.write_table(pa.table(columns), tmp_path / "table" / "a.parquet")
    first = stage(config)
    folder = Path(staging_location(config.locations.sources))
    names = ["part-000000-0001.parquet", "part-000000-0002.parquet", "part-000000.parquet", "part-000001.parquet"]
    assert sorted(file.name for file in folder.iterdir()) == names
    assert (first["rows"], len(read_stage(config))) == (140_025, 140_025)
    assert len(set(read_stage(config)["object_id"].to_pylist())) == 140_025
    stamps = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert stage(config) == first
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps
    # One of them is lost: the part is staged anew.
    (folder / names[1]).unlink()
    stage(config)
    assert sum(file.stat().st_mtime_ns != stamp for file, stamp in stamps.items()) == 3
    # Fewer rows by now, and so fewer pieces.
    pq.write_table(pa.table(make_columns(10, 7)), tmp_path / "table" / "a.parquet")
    assert stage(config)["rows"] == len(read_stage(config)) == 35
    assert sorted(file.name for file in folder.iterdir()) == names[2:]


def test_a_table_to_be_estimated_needs_no_redshifts(config: Config, tmp_path: Path) -> None:
    """Whatever the survey's file says of them: they are what is wanted."""
    (tmp_path / "own.toml").write_text(
        'name = "plain"\nidentifier = "object_id"\nbands = ["g", "r", "i"]\nz_spec = "z_spec"\nz_quality = "NQ"\n'
        '[photometry]\nkind = "flux"\nunit = "nJy"\ncolumn = "flux_{band}"\nerror = "fluxerr_{band}"\n'
        "dereddened = true\n"
    )
    assert open_target(change(config, survey=str(tmp_path / "own.toml"))).survey.z_spec == ""
