"""Another's HATS table as a source catalogue: its rows, its partitions, and what is said where it has changed."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_tables import BIG, Sky, make_rubin, write_hats

from photoz.catalogue.hats import VIEW, Partition
from photoz.errors import CatalogueError, TableError
from photoz.schema import HEALPIX_COLUMN, Flag, make_source_schema
from photoz.sources import (
    check_source_columns,
    compute_sources_checksum,
    count_sources,
    is_view,
    list_source_partitions,
    read_source_schema,
    read_sources,
)
from photoz.tables import TableSurvey, load_survey, open_survey_table
from photoz.telemetry import gather
from photoz.views import complete_sources, gather_sources, list_read_bands, read_view_file, write_view

BANDS = ("u", "g", "r", "i", "z", "y")
SKY = Sky(",".join(BANDS), 300, seed=5)


def write(folder: Path, table: pa.Table) -> str:
    write_hats(folder / "table", table, ra="coord_ra", dec="coord_dec", order=6)
    return str(folder / "table")


def view(folder: Path, survey: TableSurvey, bands: tuple[str, ...] = BANDS, name: str = "sources") -> str:
    sources = str(folder / name)
    write_view(sources, open_survey_table(str(folder / "table"), survey), survey, bands)
    return sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 300 rows in some pixels of order 6, of which nothing is changed."""
    found = tmp_path_factory.mktemp("viewed")
    write(found, make_rubin(SKY, redshifts=False))
    return found


@pytest.fixture(scope="module")
def survey() -> TableSurvey:
    return load_survey("rubin_dp1")


@pytest.fixture(scope="module")
def sources(folder: Path, survey: TableSurvey) -> str:
    return view(folder, survey)


def read_all(sources: str) -> pa.Table:
    return pa.concat_tables([read_sources(sources, part) for part in list_source_partitions(sources)])


def test_every_row_comes_once_with_its_own_fluxes(sources: str) -> None:
    rows = read_all(sources)
    numbers = np.array([int(name) for name in rows["object_id"].to_pylist()]) - BIG
    assert sorted(numbers.tolist()) == list(range(300))
    np.testing.assert_allclose(rows["ra"].to_numpy(), SKY.ra[numbers])
    for band in BANDS:
        # The table's are dimmed by the Galaxy; what is read is corrected for it.
        np.testing.assert_allclose(rows[f"flux_{band}"].to_numpy(), SKY.flux[band][numbers], rtol=1e-5)
        np.testing.assert_allclose(rows[f"fluxerr_{band}"].to_numpy(), SKY.error[band][numbers], rtol=1e-5)
    np.testing.assert_allclose(rows["mag_auto"].to_numpy(), 31.4 - 2.5 * np.log10(SKY.flux["r"][numbers]), atol=2e-3)
    assert set(rows["tile"].to_pylist()) == {""}


def test_rows_are_sorted_along_the_sky_and_of_the_partition_they_are_read_from(sources: str) -> None:
    partitions = list_source_partitions(sources)
    assert len(partitions) > 1
    assert partitions == sorted(partitions, key=lambda part: part.pixel)
    for part in partitions:
        index = read_sources(sources, part)[HEALPIX_COLUMN].to_numpy()
        assert (np.diff(index) >= 0).all()
        assert set((index >> 2 * (29 - part.order)).tolist()) == {part.pixel}


def test_the_columns_are_those_of_any_source_catalogue(sources: str) -> None:
    assert is_view(sources)
    assert read_source_schema(sources).names == make_source_schema(BANDS).names
    check_source_columns(sources, BANDS)
    check_source_columns(sources, ("r",))
    part = list_source_partitions(sources)[0]
    assert read_sources(sources, part, columns=["flags", "ra"]).column_names == ["flags", "ra"]
    # It has no hats.properties of its own, and the table's rows may be more than its sources.
    assert count_sources(sources) is None


def test_a_band_that_the_table_lacks_is_not_observed(folder: Path, survey: TableSurvey) -> None:
    rows = read_all(view(folder, survey, ("g", "r", "K"), "with-k"))
    assert np.isnan(rows["flux_K"].to_numpy()).all()
    assert np.isnan(rows["fluxerr_K"].to_numpy()).all()
    assert (rows["flags"].to_numpy() & Flag.BAND_NOT_OBSERVED != 0).all()
    assert not (rows["flags"].to_numpy() & Flag.NO_PHOTOMETRY).any()
    assert list_read_bands(survey, ("g", "K", "r")) == ("g", "r")


def test_a_source_catalogue_of_other_bands_is_refused_by_its_columns(sources: str) -> None:
    with pytest.raises(CatalogueError, match=r"lacks the columns \['flux_K', 'fluxerr_K'\].*correct survey\.bands"):
        check_source_columns(sources, ("r", "K"))


def test_a_pixel_that_the_table_has_not_is_refused(sources: str) -> None:
    with pytest.raises(CatalogueError, match="has no partition Norder=0_Npix=3: has it been made anew"):
        read_sources(sources, Partition(0, 3))


def test_rows_that_are_no_sources_are_set_aside_and_counted(tmp_path: Path, survey: TableSurvey) -> None:
    table = make_rubin(Sky(",".join(BANDS), 60, seed=6), redshifts=False)
    ids = table["objectId"].to_pylist()
    ids[0] = None
    location = Path(write(tmp_path, table.set_column(0, "objectId", pa.array(ids, pa.int64()))))
    # After it was partitioned, since a row without a position has no pixel.
    file = next(location.rglob("Npix=*.parquet"))
    rows = pq.read_table(file, partitioning=None)
    there = rows["objectId"].is_valid()
    place = int(np.flatnonzero(np.asarray(there))[0])
    ra = rows["coord_ra"].to_numpy().copy()
    ra[place] = np.nan
    pq.write_table(rows.set_column(rows.schema.get_field_index("coord_ra"), "coord_ra", pa.array(ra)), file)
    with gather() as sums:
        found = read_all(view(tmp_path, survey))
    assert (sums["set_aside_no_identifier"], sums["set_aside_no_position"]) == (1, 1)
    assert "set_aside_cut" not in sums
    assert len(found) == 58


def test_a_changed_file_or_survey_is_another_content(tmp_path: Path, survey: TableSurvey) -> None:
    """By these digests a run tells what it has to do again."""
    location = Path(write(tmp_path, make_rubin(Sky(",".join(BANDS), 60, seed=6), redshifts=False)))
    first = view(tmp_path, survey)
    part, other = list_source_partitions(first)[:2]
    before = {each: compute_sources_checksum(first, each) for each in (part, other)}
    assert before[part] != before[other]
    assert compute_sources_checksum(view(tmp_path, survey, ("g", "r"), "fewer"), part) != before[part]
    assert compute_sources_checksum(view(tmp_path, survey, BANDS, "same"), part) == before[part]
    file = next(location.rglob(f"Npix={part.pixel}.parquet"))
    rows = pq.read_table(file, partitioning=None)
    pq.write_table(rows.slice(0, len(rows) - 1), file)
    assert compute_sources_checksum(first, part) != before[part]
    assert compute_sources_checksum(first, other) == before[other]


def test_a_view_is_written_over_itself_and_over_nothing_else(folder: Path, survey: TableSurvey, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "table").symlink_to(folder / "table")
    first = view(tmp_path, survey)
    assert view(tmp_path, survey, ("r",)) == first
    assert read_view_file(first).bands == ("r",)
    (tmp_path / "sources" / "notes.txt").write_text("mine")
    with pytest.raises(CatalogueError, match=r"notes\.txt first: remove the folder, or set locations\.sources"):
        view(tmp_path, survey)
    assert (tmp_path / "sources" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"table": "t", "bands": ["r"]}', '{"table": "t", "survey": {}, "bands": ["r"]}']
)
def test_a_damaged_file_of_a_view_is_refused_with_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / VIEW).write_text(content)
    with pytest.raises(CatalogueError, match=r"view\.json is damaged .*: remove it, and estimate the table again"):
        list_source_partitions(str(tmp_path))


def test_a_view_of_a_table_that_is_gone_says_so(folder: Path, survey: TableSurvey, tmp_path: Path) -> None:
    sources = view(folder, survey, name="moved")
    content = json.loads((Path(sources) / VIEW).read_text())
    (tmp_path / VIEW).write_text(json.dumps(content | {"table": str(tmp_path / "gone"), "partitions": "other"}))
    with pytest.raises(TableError, match=r"there is no table at .*gone.*: correct the location"):
        list_source_partitions(str(tmp_path))


def test_no_rows_and_rows_without_positions() -> None:
    schema = make_source_schema(("g", "r"), [pa.field("note", pa.string()), pa.field("weight", pa.float64())])
    assert gather_sources([], schema).schema == schema
    assert len(gather_sources([], schema)) == 0
    rows = pa.table(
        {
            "object_id": ["a", "b"],
            "flux_g": pa.array([1.0, 2.0], pa.float32()),
            "fluxerr_g": pa.array([0.1, 0.1], pa.float32()),
            "flags": pa.array([0, int(Flag.BAND_NOT_DETECTED)], pa.int32()),
            "note": ["ü", None],
            "weight": [1.5, None],
        }
    )
    found = complete_sources(rows, schema)
    assert found.schema == schema
    assert found[HEALPIX_COLUMN].to_pylist() == [-1, -1]
    assert np.isnan(found["ra"].to_numpy()).all()
    assert found["tile"].to_pylist() == ["", ""]
    assert (found["note"].to_pylist(), found["weight"].to_pylist()) == (["ü", None], [1.5, None])
    assert found["flags"].to_pylist() == [
        Flag.BAND_NOT_OBSERVED,
        Flag.BAND_NOT_OBSERVED | Flag.BAND_NOT_DETECTED,
    ]


def test_rows_of_one_pixel_are_in_the_order_of_their_identifiers() -> None:
    """However a table's batches come: equal rows give equal files."""
    rows = pa.table({"object_id": ["b", "c", "a"], "ra": [10.0] * 3, "dec": [-5.0] * 3, "flags": pa.array([0] * 3)})
    schema = make_source_schema(())
    halves = [rows.slice(2), rows.slice(0, 2)]
    for batches in (halves, halves[::-1]):
        assert gather_sources(batches, schema)["object_id"].to_pylist() == ["a", "b", "c"]
