"""How a text file is laid out, and how its values are read: names, delimiters, types, and what stands for nothing."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photoz.errors import TableError
from photoz.tables import open_table
from photoz.tables.text import NO_VALUE, read_layout

KEPT = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path, content: str | bytes, text: tuple[str, ...] = ()) -> pa.Table:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    table = open_table(str(path), text=text)
    batches = [batch for part in table.parts for batch in table.read(part, table.schema.names)]
    return pa.Table.from_batches(batches, schema=table.schema)


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_names_and_first_row_whatever_separates_them(delimiter: str, end: str) -> None:
    lines = [delimiter.join(row) for row in (("id", "z"), ("1", "0.5"))]
    layout = read_layout(end.join(lines).encode(), "t.csv")
    assert layout.names == ("id", "z")
    assert layout.skip == 1
    # Nothing is taken for part of a name, not the byte order mark of a spreadsheet either.
    assert read_layout(b"\xef\xbb\xbf" + end.join(lines).encode(), "t.csv").names == ("id", "z")


@pytest.mark.parametrize(
    ("head", "names", "skip"),
    [
        ("# made by hand\n\n# more\nid,z\n1,0.5\n", ("id", "z"), 4),
        ("# made by hand\n# id z\n1 0.5\n", ("id", "z"), 2),  # as NumPy's savetxt writes them
        ("#id,z\n1,0.5\n", ("id", "z"), 1),
        ("# id,z\n", ("id", "z"), 2),  # no rows at all
        ("id\n1\n", ("id",), 1),
        ("nan,inf\n1,2\n", ("nan", "inf"), 1),  # words that Python takes for numbers may be names
        ('"a,b",z\n1,2\n', ("a,b", "z"), 1),
        ("größe,星\n1,2\n", ("größe", "星"), 1),
        ("a\x0bb,z\n1,2\n", ("a\x0bb", "z"), 1),  # no end of a line to anyone else
    ],
)
def test_where_names_stand(head: str, names: tuple[str, ...], skip: int) -> None:
    layout = read_layout(head.encode(), "t.csv")
    assert (layout.names, layout.skip) == (names, skip)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"1,2\n3,4\n", "has no line with the names of its columns before its rows: add one"),
        (b"# id,z,more\n1,2\n", "has no line with the names"),
        (b"", "has no line with the names"),
        (b"id,z\n\xff\xfe\n", "'t.csv' is no text in UTF-8"),
        (b"# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\nb\n1\n", "is no valid ECSV"),
    ],
)
def test_a_file_without_names_is_refused_with_the_remedy(head: bytes, told: str) -> None:
    with pytest.raises(TableError, match=told):
        read_layout(head, "t.csv")


def test_a_character_that_the_end_of_the_head_cuts_is_no_damage() -> None:
    """What is read of a large file's beginning may end anywhere."""
    head = "id,name\n1,größe\n2,öö".encode()
    for cut in range(len("id,name\n1,größe\n".encode()), len(head)):
        assert read_layout(head[:cut], "t.csv").names == ("id", "name")


@pytest.mark.parametrize("word", [word for word in NO_VALUE if word.strip()])
def test_what_stands_for_no_value_is_none_in_any_column_of_numbers(tmp_path: Path, word: str) -> None:
    table = read(tmp_path / "t.csv", f"n,x,name\n1,0.5,a\n{word},{word},{word}\n3,2.5, {word}\n")
    assert table["n"].to_pylist() == [1, None, 3]
    values = table["x"].to_numpy()
    assert np.isnan(values[1])
    assert values[[0, 2]].tolist() == [0.5, 2.5]
    # A name may well be "NA", of a field or a person.
    assert table["name"].to_pylist() == ["a", word, word]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2"], pa.int64()),
        (["-9223372036854775808", "9223372036854775807"], pa.int64()),
        (["1", "9223372036854775808"], pa.string()),
        (["1", "007"], pa.string()),
        (["1.0", "-2"], pa.float64()),
        (["1e5", "inf"], pa.float64()),
        (["0.5", "-0.25"], pa.float64()),
        (["true", "False"], pa.bool_()),
        (["1", "a"], pa.string()),
        (["", "--"], pa.float64()),
        (["", "3"], pa.int64()),
    ],
)
def test_a_column_has_the_narrowest_type_that_loses_nothing(
    tmp_path: Path, values: list[str], kind: pa.DataType
) -> None:
    rows = "\n".join(f"{row},{value}" for row, value in enumerate(values))
    assert read(tmp_path / "t.csv", f"row,x\n{rows}\n").schema.field("x").type == kind


@KEPT
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8))
def test_whole_numbers_come_back_exact(tmp_path: Path, values: list[int]) -> None:
    rows = "\n".join(str(value) for value in values)
    table = read(tmp_path / "t.csv", f"n\n{rows}\n")
    assert table["n"].to_pylist() == values
    assert read(tmp_path / "t.csv", f"n\n{rows}\n", text=("n",))["n"].to_pylist() == [str(value) for value in values]


@KEPT
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=8))
def test_numbers_come_back_to_the_last_bit(tmp_path: Path, values: list[float]) -> None:
    rows = "\n".join(f"a,{value!r}" for value in values)
    assert read(tmp_path / "t.csv", f"name,x\n{rows}\n")["x"].to_pylist() == values


quoted = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), min_size=1, max_size=8)


@KEPT
@given(st.lists(quoted, min_size=1, max_size=6))
def test_quoted_text_may_hold_anything(tmp_path: Path, values: list[str]) -> None:
    """Delimiters, quotes, ends of lines, any script; packed by gzip or not."""
    rows = "\n".join(f'{row},"{value.replace(chr(34), 2 * chr(34))}"' for row, value in enumerate(values))
    content = f"row,name\n{rows}\n".encode()
    plain = read(tmp_path / "t.csv", content, text=("name",))
    assert plain["name"].to_pylist() == values
    assert read(tmp_path / "t.csv.gz", gzip.compress(content), text=("name",)).equals(plain)


def test_a_row_of_too_few_values_is_refused_by_its_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"t\.csv.* cannot be read"):
        read(tmp_path / "t.csv", "id,z\n1,0.5\n2\n")


def test_a_name_that_comes_twice_is_refused_only_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,z,z\n1,0.5,0.6\n")
    table = open_table(str(tmp_path / "t.csv"))
    (part,) = table.parts
    assert [batch.to_pydict() for batch in table.read(part, ["id"])] == [{"id": [1]}]
    with pytest.raises(TableError, match="has 2 columns of the name 'z': rename all but one"):
        list(table.read(part, ["z"]))


def test_rows_are_counted_where_no_column_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,z\n" + "1,0.5\n" * 7)
    table = open_table(str(tmp_path / "t.csv"))
    assert table.num_rows is None
    assert sum(len(batch) for batch in table.read(table.parts[0], [], rows=3)) == 7


@pytest.mark.parametrize("word", ["", "nan", "--", "NULL"])
@pytest.mark.parametrize("pad", [str.ljust, str.rjust])
def test_columns_may_be_aligned_by_blanks(tmp_path: Path, word: str, pad: Callable[[str, int], str]) -> None:
    content = f"id,x\n1,{pad('0.5', 20)}\n2,{pad(word, 20)}\n"
    assert read(tmp_path / "t.csv", content)["x"].to_pylist() == [0.5, None]


@pytest.mark.parametrize("pad", [str.ljust, str.rjust, str.center])
@pytest.mark.parametrize("delimiter", [",", "|", ";", "\t"])
def test_blanks_that_align_columns_are_none_of_an_identifiers(
    tmp_path: Path, pad: Callable[[str, int], str], delimiter: str
) -> None:
    """As `J1, 0.5` and astropy's fixed_width have it: padded, it would be found nowhere else."""
    rows = [("id", "x"), ("J1", "0.5"), ("0012", "0.6"), ("a b", "0.7")]
    content = "".join(delimiter.join(pad(value, 9) for value in row) + "\n" for row in rows)
    assert read(tmp_path / "t.csv", content)["id"].to_pylist() == ["J1", "0012", "a b"]


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["+12.5", "-0.25", "+.5"], [12.5, -0.25, 0.5]),  # as declinations are written
        (["1.25D+01", "-2.5d-1", "1.D0"], [12.5, -0.25, 1.0]),  # by Fortran
        (["+1.25D+01", "nan", " +3 "], [12.5, None, 3.0]),
    ],
)
def test_numbers_as_other_programs_write_them(tmp_path: Path, texts: list[str], values: list[float | None]) -> None:
    rows = "".join(f"{i},{text},{text}x\n" for i, text in enumerate(texts))
    found = read(tmp_path / "t.csv", f"id,x,name\n{rows}")
    assert found["x"].type == pa.float64()
    assert found["x"].to_pylist() == values
    # Text stays as it is.
    assert found["name"].to_pylist() == [f"{text}x".strip() for text in texts]


def test_names_stand_in_a_comment_before_numbers_of_fortran(tmp_path: Path) -> None:
    found = read(tmp_path / "t.dat", "# id ra x\na1 1.0D+01 2.5D-01\na2 2.0D+01 nan\n")
    assert found.to_pydict() == {"id": ["a1", "a2"], "ra": [10.0, 20.0], "x": [0.25, None]}


def test_a_value_that_is_none_among_numbers_of_fortran_is_told_by_column_and_value(tmp_path: Path) -> None:
    rows = "".join(f"{i},1.5D+00\n" for i in range(600_000))
    with pytest.raises(
        TableError, match=r"column x holds numbers in the first rows and later others \('abc' is none\)"
    ):
        read(tmp_path / "t.csv", f"id,x\n{rows}600000,abc\n")


def test_digits_about_a_d_are_no_number(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", "name,x\n12D05,1.5\n1D1,2.5\n")["name"].to_pylist() == ["12D05", "1D1"]


def test_comments_among_the_rows_and_behind_them_are_passed_over(tmp_path: Path) -> None:
    content = "id,x\n1,0.5\n# the second night\n2,0.6\n#\n# 2 rows\n"
    assert read(tmp_path / "t.csv", content).to_pydict() == {"id": [1, 2], "x": [0.5, 0.6]}


def test_a_row_whose_identifier_begins_with_a_hash_is_no_comment(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", "id,x\na,0.5\n#7,0.6\n")["id"].to_pylist() == ["a", "#7"]
    with pytest.raises(TableError, match="Expected 3 columns, got 2"):
        read(tmp_path / "u.csv", "id,x,y\na,0.5,1\n#7,0.6\n")


def test_lines_that_end_with_a_carriage_return_alone_say_so(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"ends its lines with a carriage return alone.*mac2unix"):
        read(tmp_path / "t.csv", "id,x\r1,0.5\r2,0.6\r")
    assert read(tmp_path / "u.csv", "id,x\r1,0.5\r2,0.6\r".replace("\r", "\n"))["id"].to_pylist() == [1, 2]


def test_text_in_utf_16_says_so(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"is text in UTF-16 \(save it in UTF-8\)"):
        read(tmp_path / "t.csv", "id,x\n1,0.5\n".encode("utf-16"))
