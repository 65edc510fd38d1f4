"""The catalogue part of a tile: when rows are staged again, what its refusals leave, and the list of bright sources."""

import logging
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from ingested import find_survey
from tiny_survey import TinySurvey, write_catalogue, write_survey

from photoz.errors import ConfigError, SurveyFileError
from photoz.ingest.bright import read_bright_ids
from photoz.ingest.catalogue import _KEY_SETTINGS, ingest_catalogue, name_catalogue, require_catalogue
from photoz.ingest.staging import read_staged, staged_location
from photoz.survey.settings import Cut, Selection

TILE = "180.0_-0.5"


@pytest.fixture
def survey(tmp_path: Path) -> TinySurvey:
    return write_survey(tmp_path, (TILE,), shape=(30, 30), count=8)


def locate(survey: TinySurvey) -> str:
    return staged_location(survey.config.locations.sources, f"KIDS_{TILE}")


def run(survey: TinySurvey, *, selection: Selection | None = None, **changes: object):
    config, (tile,) = survey.config, find_survey(survey.config)
    described = msgspec.structs.replace(config.survey, **changes)
    chosen = selection or config.selection
    return ingest_catalogue(tile, described, chosen, folder=config.locations.survey, staged=locate(survey))


def test_rows_and_their_record_are_staged_together(survey: TinySurvey) -> None:
    outcome = run(survey)
    kept = int((survey.catalogues[TILE]["MAG_AUTO"] < 20).sum())
    assert (outcome.status, outcome.sources, outcome.rejected) == ("done", kept, 0)
    staged = read_staged(locate(survey))
    assert staged is not None
    assert (staged.num_rows, staged.record.rows) == (kept, 8)
    assert staged.record.offsets == dict.fromkeys("ugri", 0.03)
    assert staged.record.extinction == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"pixel_scale": 0.3}, "skipped"),
        ({"name": "another"}, "skipped"),
        ({"weight_file": "w_{band}.fits"}, "skipped"),
        ({"not_detected": 98.0}, "done"),
        ({"magnitudes_dereddened": False}, "done"),
        ({"mag_auto_offset_sign": 0}, "done"),
    ],
)
def test_rows_are_staged_again_for_settings_that_they_depend_on(
    survey: TinySurvey, changes: dict[str, object], status: str
) -> None:
    run(survey)
    assert run(survey, **changes).status == status
    assert (next(iter(changes)) in _KEY_SETTINGS) == (status == "done")


def test_a_file_that_was_written_again_is_read_again(survey: TinySurvey) -> None:
    run(survey)
    path = survey.path(TILE, "ugriZYJHKs_cat")
    path.unlink()
    write_catalogue(path, survey.catalogues[TILE][:3])
    assert run(survey).sources <= 3


@pytest.mark.parametrize("how", ["gone", "cut short", "without a column"])
def test_rows_of_a_catalogue_that_is_bad_by_now_do_not_stay_staged(survey: TinySurvey, how: str) -> None:
    run(survey)
    path, (tile,) = survey.path(TILE, "ugriZYJHKs_cat"), find_survey(survey.config)
    if how == "gone":
        tile = replace(tile, catalogue="")
    elif how == "cut short":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        table = survey.catalogues[TILE].copy()
        table.remove_column("MAG_AUTO")
        path.unlink()
        write_catalogue(path, table)
    config = survey.config
    with pytest.raises(SurveyFileError):
        ingest_catalogue(tile, config.survey, config.selection, folder=config.locations.survey, staged=locate(survey))
    assert not Path(locate(survey)).exists()


def test_a_missing_catalogue_is_named_by_the_settings_pattern(survey: TinySurvey) -> None:
    (tile,) = find_survey(survey.config)
    name = "KiDS_DR4.[01]_180.0_-0.5_ugriZYJHKs_cat.fits"
    assert name_catalogue(tile, survey.config.survey) == name
    require_catalogue(tile, survey.config.survey)
    with pytest.raises(SurveyFileError, match="is missing") as caught:
        require_catalogue(replace(tile, catalogue=""), survey.config.survey)
    assert name in str(caught.value)


def test_rows_without_a_position_are_warned_of_once_with_the_first(survey: TinySurvey, caplog) -> None:
    table = survey.catalogues[TILE].copy()
    table["RAJ2000"][[3, 4]] = np.nan
    path = survey.path(TILE, "ugriZYJHKs_cat")
    path.unlink()
    write_catalogue(path, table)
    with caplog.at_level(logging.WARNING):
        assert run(survey).rejected == 2
    (message,) = caplog.messages
    assert f"2 selected rows have no position and are left out, the first {table['ID'][3]} with nan deg" in message
    assert "correct survey.columns.ra = 'RAJ2000' and survey.columns.dec = 'DECJ2000'" in message


def write_bright(survey: TinySurvey, ids: list[str], column: str = "ID") -> Selection:
    path = survey.folder / "bright.fits"
    path.unlink(missing_ok=True)
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(Table({column: ids}))]).writeto(path)
    return Selection(bright_sample="bright.fits")


def test_no_list_asks_for_no_ids(survey: TinySurvey) -> None:
    assert read_bright_ids(survey.config.locations.survey, survey.config.survey, Selection()) is None


def test_a_list_that_is_replaced_is_read_anew_and_stages_other_rows(survey: TinySurvey) -> None:
    ids = [str(name) for name in survey.catalogues[TILE]["ID"]]
    selection = write_bright(survey, ids[:2])
    folder, described = survey.config.locations.survey, survey.config.survey
    assert read_bright_ids(folder, described, selection) == frozenset(ids[:2])
    assert read_bright_ids(folder, described, selection) is read_bright_ids(folder, described, selection)  # kept
    assert run(survey, selection=selection).sources == 2
    assert run(survey, selection=selection).status == "skipped"
    write_bright(survey, [*ids[:4], "of another tile"])
    assert run(survey, selection=selection).sources == 4
    assert sorted(pq.read_table(locate(survey))["object_id"].to_pylist()) == sorted(ids[:4])


def test_blanks_around_ids_do_not_count(survey: TinySurvey) -> None:
    ids = [f" {name}  " for name in survey.catalogues[TILE]["ID"][:3]]
    assert run(survey, selection=write_bright(survey, ids)).sources == 3


def test_a_list_that_is_missing_or_lacks_the_column_is_named(survey: TinySurvey) -> None:
    with pytest.raises(SurveyFileError, match=r"bright\.fits"):
        run(survey, selection=Selection(bright_sample="bright.fits"))
    with pytest.raises(SurveyFileError, match=r"survey\.columns\.object_id, in selection\.bright_sample"):
        run(survey, selection=write_bright(survey, ["a"], "NAME"))


def test_rows_without_an_identifier_are_warned_of_by_their_setting(survey: TinySurvey, caplog) -> None:
    table = survey.catalogues[TILE].copy()
    table["ID"][[3, 4]] = ""
    write_catalogue(survey.path(TILE, "ugriZYJHKs_cat"), table)
    with caplog.at_level(logging.WARNING):
        assert run(survey).rejected == 2
    (message,) = caplog.messages
    assert "2 selected rows have no identifier and are left out" in message
    assert "correct survey.columns.object_id = 'ID'" in message


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int32, np.int64])
def test_a_list_whose_identifiers_have_another_type_names_the_same_sources(survey: TinySurvey, kind: type) -> None:
    table = survey.catalogues[TILE].copy()
    table["ID"] = np.arange(8) + 1000
    write_catalogue(survey.path(TILE, "ugriZYJHKs_cat"), table)
    selection = write_bright(survey, np.array([1001, 1002, 5000], kind))  # type: ignore[arg-type]
    assert run(survey, selection=selection).sources == 2


def test_a_list_whose_identifiers_were_rounded_is_refused(survey: TinySurvey) -> None:
    selection = write_bright(survey, np.array([2.0**53 + 2, 1002.0]))  # type: ignore[arg-type]
    with pytest.raises(SurveyFileError, match=r"bright\.fits: column ID .*9007199254740994 among them.*write them as"):
        run(survey, selection=selection)


def test_the_lists_own_columns_may_be_cut_on(survey: TinySurvey) -> None:
    ids = [str(name) for name in survey.catalogues[TILE]["ID"][:6]]
    table = Table({"ID": ids, "masked": np.array([0, 1, 0, 2, 0, 1], np.int16)})
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table)]).writeto(survey.folder / "bright.fits")
    whole = Selection(bright_sample="bright.fits")
    unmasked = Selection(bright_sample="bright.fits", bright_cuts=(Cut(column="masked", equals=0),))
    assert run(survey, selection=whole).sources == 6
    # Another selection of the same file.
    assert run(survey, selection=unmasked).status == "done"
    assert sorted(pq.read_table(locate(survey))["object_id"].to_pylist()) == [ids[0], ids[2], ids[4]]
    absent = Selection(bright_sample="bright.fits", bright_cuts=(Cut(column="MASK", equals=0),))
    with pytest.raises(SurveyFileError, match=r"lacks the column MASK \(selection\.bright_cuts; nearest: masked\)"):
        run(survey, selection=absent)


def test_the_lists_own_columns_may_go_with_the_sources(survey: TinySurvey) -> None:
    ids = [str(name) for name in survey.catalogues[TILE]["ID"][:6]]
    # In another order than the catalogue's, and with one that it lacks.
    table = Table({"ID": [*ids[::-1], "elsewhere"], "masked": np.array([5, 4, 3, 2, 1, 0, 9], np.int16)})
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table)]).writeto(survey.folder / "bright.fits")
    run(survey, selection=Selection(bright_sample="bright.fits", bright_columns=("masked",)))
    rows = pq.read_table(locate(survey))
    assert rows.column_names[-1] == "masked"
    assert dict(zip(rows["object_id"].to_pylist(), rows["masked"].to_pylist(), strict=True)) == {
        name: number for number, name in enumerate(ids)
    }
    with pytest.raises(ConfigError, match=r"names \['ra'\], which the source catalogue has"):
        run(survey, selection=Selection(bright_sample="bright.fits", bright_columns=("ra",)))
