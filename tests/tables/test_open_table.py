"""Any table in: what each format gives, by schema, parts and batches, and what is refused before any work."""

import gzip
import lzma
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn
from astropy.table import Table as AstropyTable
from made_tables import write_votable

from photoz.errors import TableError
from photoz.tables.base import Table
from photoz.tables.open import open_table

BIG = 2**62 + 1  # no double holds it


def read_all(table: Table, columns: Sequence[str] | None = None, rows: int = 65_536) -> pa.Table:
    columns = table.schema.names if columns is None else columns
    batches = [batch for part in table.parts for batch in table.read(part, columns, rows)]
    assert all(0 < len(batch) <= rows for batch in batches)
    return pa.Table.from_batches(batches, table.select(columns))


def write_parquet(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


# Parquet


def test_a_web_page_is_told_as_one(tmp_path: Path) -> None:
    """What a server sends in place of a table, under the table's name."""
    for name in ("t.csv", "t.fits", "t.parquet"):
        (tmp_path / name).write_text("\n<!DOCTYPE html><html><body>404, a,b</body></html>\n")
        with pytest.raises(TableError, match=r"is a web page \(fetch it again\)"):
            open_table(str(tmp_path / name))


def test_a_parquet_file_gives_the_named_columns_in_their_order(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", id=[BIG, 2], x=[1.5, None], y=["a", "b"])
    table = open_table(str(tmp_path / "a.parquet"))
    assert (table.num_rows, len(table.parts), table.schema.names) == (2, 1, ["id", "x", "y"])
    assert read_all(table, ["y", "id"]).to_pydict() == {"y": ["a", "b"], "id": [BIG, 2]}


def test_the_name_may_be_any_where_the_content_is_parquet(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.fits", x=[1])
    assert read_all(open_table(str(tmp_path / "a.fits"))).to_pydict() == {"x": [1]}


@pytest.mark.parametrize(
    ("array", "plain", "values"),
    [
        (pa.array(["a", None]).dictionary_encode(), "string", ["a", None]),
        (pa.array(["a", None], pa.large_string()), "string", ["a", None]),
        (pa.array(["a", None], pa.string_view()), "string", ["a", None]),
        (pa.array([np.float16(1.5), None], pa.float16()), "float", [1.5, None]),
        (pa.array([1, None], pa.decimal128(9, 0)), "decimal128(9, 0)", [1, None]),
        (pa.array([2**64 - 1, None], pa.uint64()), "uint64", [2**64 - 1, None]),
        (pa.array([b"a", None], pa.large_binary()), "binary", [b"a", None]),
        (
            pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(["{}", None], pa.string())),
            "string",
            ["{}", None],
        ),
    ],
)
def test_any_arrow_type_comes_as_a_plain_one(tmp_path: Path, array: pa.Array, plain: str, values: list[Any]) -> None:
    try:
        pq.write_table(pa.table({"x": array}), tmp_path / "a.parquet")
    except pa.ArrowNotImplementedError:
        pytest.skip(f"this pyarrow writes no {array.type}")
    table = open_table(str(tmp_path / "a.parquet"))
    assert str(table.schema.field("x").type) == plain
    assert read_all(table).column("x").to_pylist() == values


def test_parts_of_a_large_file_are_ranges_of_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("photoz.tables.parquet._PART_ROWS", 10)
    pq.write_table(pa.table({"x": range(37)}), tmp_path / "a.parquet", row_group_size=4)
    table = open_table(str(tmp_path / "a.parquet"))
    assert [part.num_rows for part in table.parts] == [12, 12, 12, 1]
    assert read_all(table).column("x").to_pylist() == list(range(37))
    # Small row groups are read together, and batches never grow beyond what was asked for.
    assert [len(batch) for batch in table.read(table.parts[0], ["x"], 8)] == [8, 4]


def test_a_table_and_its_parts_go_to_workers(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", x=[1, 2])
    table = pickle.loads(pickle.dumps(open_table(str(tmp_path / "a.parquet"))))
    assert read_all(table).column("x").to_pylist() == [1, 2]


def test_files_of_a_folder_at_any_depth_and_of_differing_types_are_one_table(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t" / "a.parquet", id=pa.array([1], pa.int32()), x=pa.array([1.5], pa.float32()))
    write_parquet(tmp_path / "t" / "deep" / "er" / "b.pq", id=[BIG], x=[2], extra=["new"])
    write_parquet(tmp_path / "t" / "_temporary" / "c.parquet", id=[3], x=[3.0])
    (tmp_path / "t" / "_SUCCESS").touch()
    table = open_table(f"{tmp_path}/t/")
    assert read_all(table).to_pydict() == {"id": [1, BIG], "x": [1.5, 2.0], "extra": [None, "new"]}


def test_identifiers_that_are_digits_in_one_file_and_text_in_another_are_text(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", id=[BIG])
    write_parquet(tmp_path / "b.parquet", id=["J12"])
    assert read_all(open_table(str(tmp_path))).column("id").to_pylist() == [str(BIG), "J12"]


def test_identifiers_with_and_without_a_sign_stay_exact_in_any_number_of_files(tmp_path: Path) -> None:
    kinds = {"a": pa.int64(), "b": pa.uint64(), "c": pa.int64(), "d": pa.int8()}
    for name, kind in kinds.items():
        write_parquet(tmp_path / f"{name}.parquet", id=pa.array([BIG if kind.bit_width == 64 else 7], kind))
    assert [int(value) for value in read_all(open_table(str(tmp_path)))["id"].to_pylist()] == [BIG, BIG, BIG, 7]


def test_types_that_have_nothing_in_common_are_refused_with_both_files(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", x=[1.5])
    write_parquet(tmp_path / "b.parquet", x=["text"])
    with pytest.raises(TableError, match=r"column x is double in .*a\.parquet and string in .*b\.parquet"):
        open_table(str(tmp_path))


def test_a_number_that_the_type_of_all_files_cannot_hold_is_refused_not_rounded(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", id=[1.0])
    write_parquet(tmp_path / "b.parquet", id=[2**53 + 1])
    with pytest.raises(TableError, match="column id holds int64"):
        read_all(open_table(str(tmp_path)))


def test_units_that_differ_between_files_are_refused(tmp_path: Path) -> None:
    for name, unit in (("a", "nJy"), ("b", "uJy")):
        schema = pa.schema([pa.field("f", pa.float32(), metadata={"unit": unit})])
        pq.write_table(pa.table({"f": [1.0]}, schema), tmp_path / f"{name}.parquet")
    with pytest.raises(TableError, match=r"'nJy' in .* and in 'uJy'"):
        open_table(str(tmp_path))


def test_hive_partitions_are_columns(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t" / "year=2021" / "field=north%2Fa" / "a.parquet", x=[1])
    write_parquet(tmp_path / "t" / "year=2022" / "field=0012" / "b.parquet", x=[2])
    write_parquet(tmp_path / "t" / "year=2022" / "field=__HIVE_DEFAULT_PARTITION__" / "c.parquet", x=[3])
    table = open_table(str(tmp_path / "t"))
    assert read_all(table, ["field", "x", "year"]).to_pydict() == {
        "field": ["north/a", "0012", None],
        "x": [1, 2, 3],
        "year": [2021, 2022, 2022],
    }
    assert read_all(table, ["year"]).column("year").to_pylist() == [2021, 2022, 2022]


def test_a_star_stands_for_any_name_and_a_name_with_a_star_is_a_name(tmp_path: Path) -> None:
    for i, name in enumerate(("a1.parquet", "a2.parquet", "b1.parquet", "a*.parquet", "deep/a3.parquet")):
        write_parquet(tmp_path / name, x=[i])
    assert read_all(open_table(f"{tmp_path}/a*.parquet")).column("x").to_pylist() == [3]
    (tmp_path / "a*.parquet").unlink()
    assert read_all(open_table(f"{tmp_path}/a*.parquet")).column("x").to_pylist() == [0, 1]
    assert read_all(open_table(f"{tmp_path}/*/a*.parquet")).column("x").to_pylist() == [4]
    with pytest.raises(TableError, match="there is no table"):
        open_table(f"{tmp_path}/c*.parquet")


def test_a_folder_whose_name_looks_like_a_pattern_is_that_folder(tmp_path: Path) -> None:
    write_parquet(tmp_path / "run[1]" / "a.parquet", x=[1])
    write_parquet(tmp_path / "run1" / "a.parquet", x=[2])
    assert read_all(open_table(str(tmp_path / "run[1]"))).column("x").to_pylist() == [1]


def test_units_that_astropy_wrote_are_read(tmp_path: Path) -> None:
    made = AstropyTable({"f": [1.0], "id": [BIG]}, units={"f": "nJy"})
    made.write(tmp_path / "a.parquet")
    table = open_table(str(tmp_path / "a.parquet"))
    assert table.schema.field("f").metadata == {b"unit": b"nJy"}


def test_nested_columns_are_listed_and_refused_by_name(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", x=[1], curve=[[1.0, 2.0]])
    table = open_table(str(tmp_path / "a.parquet"))
    assert table.schema.names == ["x", "curve"]
    assert read_all(table, ["x"]).column("x").to_pylist() == [1]
    with pytest.raises(TableError, match="column curve is nested"):
        read_all(table)


def test_a_column_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", MAG_AUTO_G=[1.0])
    with pytest.raises(TableError, match="no column 'MAG_AUT_G'; nearest: MAG_AUTO_G"):
        read_all(open_table(str(tmp_path / "a.parquet")), ["MAG_AUT_G"])


def test_an_empty_parquet_file_has_a_schema_and_no_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    table = open_table(str(tmp_path / "a.parquet"))
    assert (table.num_rows, read_all(table).num_rows) == (0, 0)


# HATS


def write_hats(folder: Path, npix_suffix: str = ".parquet", rows: int = 3) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hats.properties").write_text(
        f"# made\nhats_nrows={rows}\nhats_col_ra=ra\nhats_col_dec=dec\nhats_npix_suffix={npix_suffix}\n"
    )
    (folder / "partition_info.csv").write_text("Norder,Npix\n1,47\n0,4\n")
    for order, pixel, ids in ((1, 47, [3]), (0, 4, [1, 2])):
        name = f"Npix={pixel}.parquet" if npix_suffix != "/" else f"Npix={pixel}/part0.parquet"
        lists = pa.array([[{"t": 1.0}]] * len(ids))
        ra = pa.array([float(i) for i in ids])
        write_parquet(folder / "dataset" / f"Norder={order}" / "Dir=0" / name, id=ids, ra=ra, dec=ra, sources=lists)


@pytest.mark.parametrize("suffix", [".parquet", "/"])
def test_a_hats_catalogue_is_read_partition_by_partition(tmp_path: Path, suffix: str) -> None:
    write_hats(tmp_path / "cat", suffix)
    table = open_table(str(tmp_path / "cat"))
    assert (table.num_rows, table.properties["hats_col_ra"]) == (3, "ra")
    # By their place on the sky: pixel 4 of order 0 before pixel 47 of order 1, which is in pixel 11.
    assert [part.pixel for part in table.parts] == [(0, 4), (1, 47)]
    assert read_all(table, ["id", "ra"]).to_pydict() == {"id": [1, 2, 3], "ra": [1.0, 2.0, 3.0]}
    assert "sources" in table.schema.names
    assert "Norder" not in table.schema.names


def test_the_primary_table_of_a_collection_may_have_any_name(tmp_path: Path) -> None:
    write_hats(tmp_path / "c" / "object_lc")
    (tmp_path / "c" / "collection.properties").write_text("obs_collection=c\nhats_primary_table_url=object_lc\n")
    assert open_table(str(tmp_path / "c")).num_rows == 3
    (tmp_path / "c" / "collection.properties").write_text("hats_primary_table_url=objects\n")
    with pytest.raises(TableError, match="names the primary table 'objects'"):
        open_table(str(tmp_path / "c"))


def test_an_unfinished_hats_catalogue_is_refused(tmp_path: Path) -> None:
    write_hats(tmp_path / "cat")
    (tmp_path / "cat" / "hats.properties").unlink()
    with pytest.raises(TableError, match=r"no hats\.properties"):
        open_table(str(tmp_path / "cat"))


def test_a_partition_that_is_listed_and_has_no_file_is_refused(tmp_path: Path) -> None:
    write_hats(tmp_path / "cat")
    (tmp_path / "cat" / "dataset" / "Norder=0" / "Dir=0" / "Npix=4.parquet").unlink()
    with pytest.raises(TableError, match=r"lacks 1 partitions .* Norder=0, Npix=4"):
        open_table(str(tmp_path / "cat"))


# Text


def open_csv(path: Path, content: str | bytes, **options: Any) -> Table:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_table(str(path), **options)


def test_csv_gets_its_types_from_its_rows(tmp_path: Path) -> None:
    table = open_csv(tmp_path / "a.csv", "id,x,name,n,ok\n1,1.5,b,,true\n2,NaN,,3,false\n")
    assert [str(kind) for kind in table.schema.types] == ["int64", "double", "string", "int64", "bool"]
    assert table.num_rows is None
    assert read_all(table).to_pydict() == {
        "id": [1, 2],
        "x": [1.5, None],
        "name": ["b", None],
        "n": [None, 3],
        "ok": [True, False],
    }


@pytest.mark.parametrize(
    "head",
    [
        "# object_id,x\n",  # HSC's database
        "# made today\n# object_id,x\n",
        "#Table1\nobject_id,x\n",  # SDSS's CasJobs
        "\ufeffobject_id,x\n",
        '"object_id","x"\r\n',
    ],
)
def test_names_of_csv_columns_are_found(tmp_path: Path, head: str) -> None:
    table = open_csv(tmp_path / "a.csv", f"{head}{BIG},1.5\n7,2.5\n")
    assert read_all(table).to_pydict() == {"object_id": [BIG, 7], "x": [1.5, 2.5]}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
def test_delimiters_are_found(tmp_path: Path, delimiter: str) -> None:
    content = "\n".join(delimiter.join(row) for row in (["a", "b"], ["1", "x"], ["2", "y"]))
    assert read_all(open_csv(tmp_path / "a.txt", content)).to_pydict() == {"a": [1, 2], "b": ["x", "y"]}


def test_whole_numbers_of_any_size_and_leading_zeros_stay_exact(tmp_path: Path) -> None:
    table = open_csv(tmp_path / "a.csv", f"a,b,c\n{BIG},{10**30},0012\n-5,7,12\n")
    assert read_all(table).to_pydict() == {"a": [BIG, -5], "b": [str(10**30), "7"], "c": ["0012", "12"]}


def test_a_number_that_would_lose_its_zeros_later_in_the_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photoz.tables.text._HEAD_BYTES", 64)
    content = "id\n" + "\n".join(["12"] * 60 + ["0012"]) + "\n"
    with pytest.raises(TableError, match="column id holds whole numbers in the first rows and '0012' later"):
        read_all(open_csv(tmp_path / "a.csv", content))
    table = open_csv(tmp_path / "a.csv", content, text=["id"])
    assert read_all(table).column("id").to_pylist()[-1] == "0012"


def test_csv_is_streamed_in_batches(tmp_path: Path) -> None:
    table = open_csv(tmp_path / "a.csv", "x\n" + "\n".join(map(str, range(1000))) + "\n")
    assert read_all(table, rows=64).column("x").to_pylist() == list(range(1000))


def test_csv_packed_by_gzip_and_of_quoted_lines(tmp_path: Path) -> None:
    content = gzip.compress(b'id,note\n1,"two\nlines, and a comma"\n2,\n')
    table = open_csv(tmp_path / "a.csv.gz", content)
    assert read_all(table).to_pydict() == {"id": [1, 2], "note": ["two\nlines, and a comma", None]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"1,2\n3,4\n", "no line with the names"),
        (b"a,b\n1\n", "cannot be read"),
        (b"a,b\n\xff\xfe\xfd,1\n", "no text in UTF-8"),
    ],
)
def test_what_is_no_csv_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(TableError, match=problem):
        read_all(open_csv(tmp_path / "a.csv", content))


def test_a_csv_file_of_names_alone_has_no_rows(tmp_path: Path) -> None:
    assert read_all(open_csv(tmp_path / "a.csv", "a,b\n")).num_rows == 0


def make_astropy_table() -> AstropyTable:
    made = AstropyTable()
    made["id"] = np.array([BIG, -1, 3])
    made["name"] = ["a b", 'say "x"', "ü"]
    made["flux"] = MaskedColumn(np.array([1.5, 2.5, 3.5], np.float32), mask=[False, True, False], unit="nJy")
    made["n"] = MaskedColumn(np.array([1, 2, 3], np.int16), mask=[True, False, False])
    made["ok"] = [True, False, True]
    return made


EXPECTED = {
    "id": [BIG, -1, 3],
    "name": ["a b", 'say "x"', "ü"],
    "flux": [1.5, None, 3.5],
    "n": [None, 2, 3],
    "ok": [True, False, True],
}


@pytest.mark.parametrize("delimiter", [" ", ","])
def test_ecsv_as_astropy_writes_it(tmp_path: Path, delimiter: str) -> None:
    made = make_astropy_table()
    made["curve"] = [[1.0, 2.0]] * 3
    made.meta["note"] = "of a test"
    made.write(tmp_path / "a.ecsv", format="ascii.ecsv", delimiter=delimiter)
    table = open_table(str(tmp_path / "a.ecsv"))
    assert str(table.schema.field("n").type) == "int16"
    assert table.schema.field("flux").metadata == {b"unit": b"nJy"}
    assert read_all(table, list(EXPECTED)).to_pydict() == EXPECTED
    with pytest.raises(TableError, match="nested"):
        read_all(table)


@pytest.mark.parametrize("form", ["tabledata", "binary2"])
def test_votable_as_astropy_writes_it(tmp_path: Path, form: str) -> None:
    made = make_astropy_table()
    write_votable(tmp_path / "a.xml", made, form=form)
    table = open_table(str(tmp_path / "a.xml"))
    assert table.schema.field("flux").metadata == {b"unit": b"nJy"}
    found = read_all(table, rows=2).to_pydict()
    assert found == EXPECTED
    with pytest.raises(TableError, match="no table 'x'"):
        open_table(str(tmp_path / "a.xml"), hdu="x")


def test_a_votable_of_rows_of_any_length_harms_no_memory(tmp_path: Path) -> None:
    """Told by Python's own memory check; astropy's writer in C fails it (`made_tables.write_votable`)."""
    code = (
        "import sys; from pathlib import Path; from astropy.table import Table; from made_tables import write_votable\n"
        "from photoz.tables.open import open_table\n"
        "for length in range(180, 240):\n"
        "    write_votable(Path(sys.argv[1]), Table({'a': ['x' * length] * 3}))\n"
        "    table = open_table(sys.argv[1])\n"
        "    assert [len(batch) for batch in table.read(table.parts[0], ['a'])] == [3]\n"
    )
    environment = os.environ | {"PYTHONMALLOC": "debug", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.xml")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_votable_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    """As in a notebook, whose process has read the earlier one; an open table reads what is there now."""
    for values in ([1.5, 2.5], [3.5, 4.5]):
        write_votable(tmp_path / "a.xml", AstropyTable({"x": values}))
        table = open_table(str(tmp_path / "a.xml"))
        assert read_all(table)["x"].to_pylist() == values
    write_votable(tmp_path / "a.xml", AstropyTable({"x": [5.5, 6.5]}))
    assert read_all(table)["x"].to_pylist() == [5.5, 6.5]


# All


@pytest.mark.parametrize("name", ["ORCID", "PARENT_ID", "SQLite_id", "BZh", "ARROW1"])
def test_a_column_may_be_named_as_another_formats_files_begin(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text(f"{name},x\n5,1.5\n")
    assert read_all(open_table(str(tmp_path / "a.csv"))).to_pydict() == {name: [5], "x": [1.5]}


def test_a_comment_on_a_machine_readable_table_makes_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("# Byte-by-byte Description of file: t.dat\nid,x\n5,1.5\n")
    assert read_all(open_table(str(tmp_path / "a.csv"))).to_pydict() == {"id": [5], "x": [1.5]}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.parquet", b"PAR1 and then nothing of Parquet", "cannot be read"),
        ("a.parquet", b"id,x\n1,2\n", "is no Parquet, as its name says"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "is HDF5"),
        ("a.csv", b"PK\x03\x04 of a zip file", "is zip"),
        ("a.csv.xz", lzma.compress(b"id,x\n1,2\n"), "is xz"),
        ("a.csv", b'{"id": [1]}', "is JSON"),
        ("a.txt", b"Title: A\n===\nByte-by-byte Description of file: t.txt\n", "ascii.mrt and ascii.cds read it: save"),
        ("a", b"anything", "is of no format that is known"),
        ("a.fits", b"\x1f\x8b broken gzip", "is empty|is no FITS|cannot be read"),
        ("a.xml", b'<VOTABLE version="1.4"><RESOURCE><TABLE></RESOURCE>', "is no valid VOTable .*fetch it again"),
        ("a.ecsv", b"# %ECSV 1.0\n# ---\n# datatype: [{name: a\na\n1\n", "is no valid ECSV: its header makes no sense"),
        ("a.ecsv", b"# %ECSV 1.0\n# ---\n# nothing: 1\na\n1\n", "is no valid ECSV: its header makes no sense"),
        ("a.ecsv", b"#", "has no columns"),
        ("a.ecsv", b"# %ECSV 1.0\n# ---\n# datatype: []\n", "has no columns"),
        ("a.xml", b'<VOTABLE version="1.4"><RESOURCE><TABLE/></RESOURCE></VOTABLE>', "has no columns"),
        ("a.csv", b"a,b\n" + b'"' + b"x" * 200_000 + b"\n", "cannot be read"),
        ("a.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 9000)[:-40] + bytes(32), "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=problem):
        open_table(str(tmp_path / name))


def test_parquet_without_columns_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({}), tmp_path / "a.parquet")
    with pytest.raises(TableError, match="has no columns"):
        open_table(str(tmp_path / "a.parquet"))


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no table at"):
        open_table(str(tmp_path / "a.parquet"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(TableError, match="holds no table"):
        open_table(str(tmp_path / "empty"))


def test_a_table_in_a_store_is_read_as_on_disk() -> None:
    import fsspec

    with fsspec.open("memory://tables/a.parquet", "wb") as file:
        pq.write_table(pa.table({"x": range(1000)}), file, row_group_size=100)
    assert read_all(open_table("memory://tables/a.parquet")).column("x").to_pylist() == list(range(1000))


def test_text_that_is_none_is_told_as_damage(tmp_path: Path) -> None:
    """A byte has changed in a Parquet file, whose text Arrow does not look at."""
    values = [f"galaxy-{row}" for row in range(9)]
    pq.write_table(pa.table({"id": values}), tmp_path / "t.parquet", use_dictionary=False, compression="none")
    content = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(content.replace(b"galaxy-4", b"gal\x80xy-4", 1))
    table = open_table(str(tmp_path / "t.parquet"))
    with pytest.raises(TableError, match=r"t\.parquet' cannot be read .*UTF8"):
        list(table.read(table.parts[0], ["id"]))


VOTABLE = """<?xml version="1.0"?><VOTABLE version="1.3"><RESOURCE type="results">
<INFO name="QUERY_STATUS" value="{first}">{text}</INFO>{table}<INFO name="QUERY_STATUS" value="{last}"/></RESOURCE>
</VOTABLE>"""
VOTABLE_ROWS = '<TABLE><FIELD name="x" datatype="int"/><DATA><TABLEDATA><TR><TD>7</TD></TR></TABLEDATA></DATA></TABLE>'


def test_rows_that_a_service_left_out_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for last, told in (("OK", False), ("OVERFLOW", True)):
        location = tmp_path / f"{last}.xml"
        location.write_text(VOTABLE.format(first="OK", text="", table=VOTABLE_ROWS, last=last))
        assert read_all(open_table(str(location)))["x"].to_pylist() == [7]
        assert ("its query has more rows, which it left out (OVERFLOW)" in caplog.text) == told


def test_the_error_of_a_service_is_told_in_its_words(tmp_path: Path) -> None:
    location = tmp_path / "t.xml"
    location.write_text(VOTABLE.format(first="ERROR", text="no such column: zspec", table="", last="OK"))
    with pytest.raises(TableError, match="holds the error of a service and no table: 'no such column: zspec'; ask"):
        open_table(str(location))
