"""Catalogues in any table: of each tile, and of many, whose sources go to the tiles that hold them."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table, vstack
from ingested import check, ingest_every, read_report
from runs import read_all
from tiny_survey import BANDS, TinySurvey, make_config, make_wcs, write_survey

import photoz
from cluster.ingest import ingest_survey
from photoz.errors import ConfigError, TableError
from photoz.ingest.staging import staged_location
from photoz.ingest.tables import write_cut
from photoz.settings.config import Config
from photoz.survey.settings import Cut

# Side by side along declination, 0.002 deg apart: of 60 rows 24 are in common.
TILES = ("180.0_0.000", "180.0_0.002")
SHAPE = (60, 70)
CUTS = [{"column": "SG_FLAG", "equals": 1}, {"column": "MASK", "bits_clear": 28668}]


@pytest.fixture
def survey(tmp_path: Path) -> TinySurvey:
    return write_survey(tmp_path, TILES, shape=SHAPE, count=30)


def configure(folder: Path, *, selection: dict[str, Any] | None = None, **changes: Any) -> Config:
    described = {"catalogue_survey": "kids_dr4", **changes}
    chosen = {"cuts": CUTS, **(selection or {})}
    engine = {"name": "serial", "workers": 1}
    return make_config(folder, survey=described, selection=chosen, engine=engine)


def read_rows(config: Config, name: str) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(staged_location(config.locations.sources, name)).to_pylist()
    return {row["object_id"]: row for row in rows}


def share_catalogue(survey: TinySurvey, ending: str = ".parquet") -> Table:
    """Put the sources of both tiles into one table, without the tiles' own ones, and two that lie on no tile."""
    for path in survey.folder.glob("*_cat.fits"):
        path.unlink()
    table = vstack(list(survey.catalogues.values()), metadata_conflicts="silent")
    table["DECJ2000"][5], table["RAJ2000"][6] = 5.0, 0.0
    columns = {name: np.array(table[name]).tolist() for name in table.colnames if name != "KIDS_TILE"}
    (survey.folder / "objects").mkdir()
    if ending == ".parquet":
        half = {name: values[: len(table) // 2] for name, values in columns.items()}
        pq.write_table(pa.table(half), survey.folder / "objects" / "a.parquet")
        columns = {name: values[len(table) // 2 :] for name, values in columns.items()}
        pq.write_table(pa.table(columns), survey.folder / "objects" / "b.parquet")
    else:
        table.write(survey.folder / "objects" / f"all{ending}")
    return table


def test_a_tiles_own_table_gives_what_its_columns_give(survey: TinySurvey, tmp_path: Path) -> None:
    limit = {"mag_auto_below": 19.5}
    # KiDS' total magnitude without the zero point of the header, which the ingest of columns adds to it.
    plain = {"mag_auto_offset_sign": 0, "catalogue_survey": ""}
    assert [each.problem for each in ingest_every(configure(tmp_path, selection=limit, **plain))] == ["", ""]
    expected = {tile: read_rows(survey.config, f"KIDS_{tile}") for tile in TILES}
    config = configure(tmp_path, selection=limit)
    again = ingest_every(config)
    assert [each.parts["catalogue"].status for each in again] == ["done", "done"]
    for tile in TILES:
        found = read_rows(config, f"KIDS_{tile}")
        assert list(found) == list(expected[tile])
        for name, row in found.items():
            assert row.keys() == expected[tile][name].keys()
            for column, value in row.items():
                wanted = expected[tile][name][column]
                same = wanted if isinstance(wanted, str) else pytest.approx(wanted, rel=1e-6, nan_ok=True)
                assert value == same, column
    assert [each.parts["catalogue"].status for each in ingest_every(config)] == ["skipped", "skipped"]


def test_a_limit_without_a_total_magnitude_is_refused_and_infinity_takes_all(
    survey: TinySurvey, tmp_path: Path
) -> None:
    meaning = tmp_path / "mine.toml"
    meaning.write_text(
        'name = "mine"\nbands = ["r"]\nidentifier = "ID"\nra = "RAJ2000"\ndec = "DECJ2000"\n'
        '[photometry]\nkind = "mag"\ncolumn = "MAG_GAAP_{band}"\nerror = "MAGERR_GAAP_{band}"\n'
    )
    config = configure(tmp_path, catalogue_survey=str(meaning), selection={"cuts": []})
    assert "no total magnitude: name it in [total]" in ingest_every(config)[0].problem
    config = configure(tmp_path, catalogue_survey=str(meaning), selection={"cuts": [], "mag_auto_below": float("inf")})
    first, _ = ingest_every(config)
    assert first.sum_counts("sources") == 30
    row = next(iter(read_rows(config, f"KIDS_{TILES[0]}").values()))
    assert np.isnan(row["flux_g"])
    assert np.isfinite(row["flux_r"])


def test_columns_that_a_surveys_file_carries_along_are_in_the_source_catalogue(
    survey: TinySurvey, tmp_path: Path
) -> None:
    meaning = tmp_path / "mine.toml"
    known = Path(photoz.__file__).with_name("surveys") / "kids_dr4.toml"
    meaning.write_text(f'carry = ["CLASS_STAR"]\n{known.read_text()}')
    config = configure(tmp_path, catalogue_survey=str(meaning))
    assert ingest_survey(config) == 0
    rows = read_all(config.locations.sources)
    assert rows["CLASS_STAR"].to_numpy() == pytest.approx(0.02)
    assert set(rows["tile"].to_pylist()) == {f"KIDS_{tile}" for tile in TILES}


def test_a_table_that_is_not_what_its_survey_says_costs_the_catalogue_alone(survey: TinySurvey, tmp_path: Path) -> None:
    survey.path(TILES[0], "ugriZYJHKs_cat").write_bytes(b"nothing of the kind")
    first, second = ingest_every(configure(tmp_path))
    assert first.parts["catalogue"].status == "failed"
    assert first.parts["images"].status == "done"
    assert "ugriZYJHKs_cat.fits" in first.problem
    assert second.problem == ""
    assert not Path(staged_location(survey.config.locations.sources, f"KIDS_{TILES[0]}")).exists()


@pytest.mark.parametrize(
    ("ending", "pattern"), [(".parquet", "objects"), (".parquet", "objects/*.parquet"), (".fits", "objects/all.fits")]
)
def test_sources_of_one_table_go_to_the_tiles_that_hold_them_best(
    survey: TinySurvey, tmp_path: Path, ending: str, pattern: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = share_catalogue(survey, ending)
    config = configure(tmp_path, catalogue_file=pattern)
    with caplog.at_level(logging.WARNING):
        assert ingest_survey(config) == 0
    rows = {row["object_id"]: row for row in read_all(config.locations.sources).to_pylist()}
    wanted = table[np.array(table["MAG_AUTO"] - table["EXTINCTION_r"]) < 20]
    assert set(rows) == set(wanted["ID"])
    for source in wanted:
        assert rows[source["ID"]]["tile"] == find_best(source["RAJ2000"], source["DECJ2000"])
    off = sum(row["tile"] == "" for row in rows.values())
    assert f"{off} of {len(rows)} sources lie on none of the tiles" in caplog.text
    told = read_report(config)
    assert (told["sources"], told["completeness"], len(told["tiles"])) == (len(rows), 1.0, 2)
    assert told["catalogue"]["off_tiles"] == off
    assert told["catalogue"]["rows"] == len(table)
    assert all("catalogue" not in tile for tile in told["tiles"])


def find_best(ra: float, dec: float) -> str:
    """Find the tile whose edge is farthest, by the WCS that its images were written with."""
    best, name = 0.0, ""
    for tile in TILES:
        x, y = make_wcs(*(float(part) for part in tile.split("_")), SHAPE).all_world2pix(ra, dec, 0)
        depth = min(x + 0.5, SHAPE[1] - 0.5 - x, y + 0.5, SHAPE[0] - 0.5 - y)
        if depth > best:
            best, name = float(depth), f"KIDS_{tile}"
    return name


def test_parts_are_staged_again_only_for_what_they_depend_on(survey: TinySurvey, tmp_path: Path) -> None:
    share_catalogue(survey)
    config = configure(tmp_path, catalogue_file="objects")
    ingest_survey(config)
    parts = sorted(Path(f"{config.locations.sources}_staging").glob("catalogue-*.parquet"))
    assert [part.name for part in parts] == ["catalogue-000000.parquet", "catalogue-000001.parquet"]
    before = [part.stat().st_mtime_ns for part in parts]
    ingest_survey(config)
    assert [part.stat().st_mtime_ns for part in parts] == before
    # Another limit.
    ingest_survey(configure(tmp_path, catalogue_file="objects", selection={"mag_auto_below": 19.0}))
    assert all(now.stat().st_mtime_ns > then for now, then in zip(parts, before, strict=True))
    # A part that is there no more.
    (survey.folder / "objects" / "b.parquet").unlink()
    ingest_survey(config)
    assert [part.exists() for part in parts] == [True, False]


def test_a_tile_whose_images_are_bad_gets_no_source_that_its_neighbour_has(survey: TinySurvey, tmp_path: Path) -> None:
    share_catalogue(survey)
    path = survey.path(TILES[0], "r_sci")
    path.write_bytes(path.read_bytes()[:-5000])
    config = configure(tmp_path, catalogue_file="objects")
    assert ingest_survey(config) == 0
    rows = read_all(config.locations.sources).to_pylist()
    assert {row["tile"] for row in rows} == {f"KIDS_{TILES[1]}", ""}
    assert read_report(config)["completeness"] == 0.5


def test_a_shared_table_that_does_not_fit_is_told_before_any_work(survey: TinySurvey, tmp_path: Path) -> None:
    share_catalogue(survey)
    config = configure(tmp_path, catalogue_file="objects", bands=[*BANDS], catalogue_survey="sdss")
    with pytest.raises(ConfigError, match="lacks"):
        check(config)
    missing = configure(tmp_path, catalogue_file="none.parquet")
    with pytest.raises(TableError, match=r"none\.parquet"):
        check(missing)
    assert not (tmp_path / "tiles").exists()


def test_the_bright_sample_selects_from_any_table(survey: TinySurvey, tmp_path: Path) -> None:
    table = share_catalogue(survey)
    Table({"ID": table["ID"][:5]}).write(survey.folder / "bright.fits")
    config = configure(tmp_path, catalogue_file="objects", selection={"bright_sample": "bright.fits"})
    ingest_survey(config)
    rows = read_all(config.locations.sources).to_pylist()
    assert {row["object_id"] for row in rows} == set(table["ID"][:5])
    assert read_report(config)["catalogue"]["not_listed"] > 0


def test_cuts_are_written_as_a_surveys_file_has_them() -> None:
    assert write_cut(Cut(column="a b", at_least=1, below=2.5)) == ["`a b` < 2.5", "`a b` >= 1"]
    assert write_cut(Cut(column="x")) == []
