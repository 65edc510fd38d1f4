"""FITS tables of every kind, against what astropy wrote: exact, in slices, and refused where they are damaged."""

import gzip
import io
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photoz.errors import SurveyFileError, TableError
from photoz.tables.base import Table
from photoz.tables.open import open_table

BIG = 2**62 + 1


def read_all(table: Table, columns: Sequence[str] | None = None, rows: int = 65_536) -> pa.Table:
    columns = [each.name for each in table.schema if not pa.types.is_nested(each.type)] if columns is None else columns
    batches = [batch for part in table.parts for batch in table.read(part, columns, rows)]
    return pa.Table.from_batches(batches, table.select(columns))


def make_columns() -> list[fits.Column]:
    return [
        fits.Column("ID", "K", array=np.array([BIG, -BIG, 7])),
        fits.Column("NAME", "6A", array=np.array(["a b", " lead", "c"])),
        fits.Column("FLUX", "E", unit="nanomaggy", array=np.array([1.5, np.nan, -2.5], ">f4")),
        fits.Column("RA", "D", unit="deg", array=np.array([0.1, 0.2, 359.9])),
        fits.Column("N", "I", null=-9, array=np.array([1, -9, 3], np.int16)),
        fits.Column("U8", "B", array=np.array([0, 128, 255], np.uint8)),
        fits.Column("I8", "B", bzero=-128, array=np.array([-128, 0, 127], np.int8)),
        fits.Column("U16", "I", bzero=2**15, array=np.array([0, 1, 2**16 - 1], np.uint16)),
        fits.Column("U32", "J", bzero=2**31, array=np.array([0, 1, 2**32 - 1], np.uint32)),
        fits.Column("U64", "K", bzero=2**63, array=np.array([0, 1, 2**64 - 1], np.uint64)),
        fits.Column("SCALED", "I", array=np.array([0, 1, 4], np.int16)),
        fits.Column("OK", "L", array=np.array([True, False, True])),
        fits.Column("LIST", "2E", array=np.zeros((3, 2), np.float32)),
        fits.Column("TEXTS", "6A", dim="(3,2)", array=np.array([["a", "b"]] * 3)),
        fits.Column("VARYING", "PE()", array=np.array([[1.0], [1.0, 2.0], []], dtype=object)),
    ]


def make_table(columns: list[fits.Column]) -> fits.BinTableHDU:
    hdu = fits.BinTableHDU.from_columns(columns, name="CAT")
    # astropy would scale what it is given, and loses half of it.
    number = [column.name for column in columns].index("SCALED") + 1
    hdu.header[f"TSCAL{number}"], hdu.header[f"TZERO{number}"] = 0.5, 10.0
    return hdu


EXPECTED = {
    "ID": [BIG, -BIG, 7],
    "NAME": ["a b", " lead", "c"],
    "RA": [0.1, 0.2, 359.9],
    "N": [1, None, 3],
    "U8": [0, 128, 255],
    "I8": [-128, 0, 127],
    "U16": [0, 1, 2**16 - 1],
    "U32": [0, 1, 2**32 - 1],
    "U64": [0, 1, 2**64 - 1],
    "SCALED": [10.0, 10.5, 12.0],
    "OK": [True, False, True],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    make_table(make_columns()).writeto(tmp_path / "t.fits", checksum=True)
    return tmp_path / "t.fits"


def test_every_plain_column_comes_exact_and_lists_are_left_alone(path: Path) -> None:
    table = open_table(str(path))
    found = read_all(table).to_pydict()
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    np.testing.assert_array_equal(found["FLUX"], [1.5, np.nan, -2.5])
    assert table.num_rows == 3
    assert table.schema.field("FLUX").metadata == {b"unit": b"nanomaggy"}
    assert set(table.schema.names) - set(found) == {"LIST", "TEXTS", "VARYING"}
    for name in ("LIST", "TEXTS", "VARYING"):
        with pytest.raises(TableError, match=f"column {name} is nested"):
            read_all(table, [name])


def test_rows_are_read_in_slices_and_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("photoz.tables.fits._PART_BYTES", 200)
    table = open_table(str(path))
    assert [(part.start, part.stop) for part in table.parts] == [(0, 2), (2, 3)]
    assert read_all(table, list(EXPECTED), rows=1).to_pydict() == EXPECTED


def test_gzip_is_one_part_read_front_to_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("photoz.tables.fits._PART_BYTES", 200)
    packed = path.with_suffix(".fits.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    table = open_table(str(packed))
    assert len(table.parts) == 1
    assert read_all(table, list(EXPECTED), rows=2).to_pydict() == EXPECTED


@pytest.mark.parametrize("lists", [False, True])
def test_a_wrong_sum_is_told_with_what_helps_where_there_are_lists(tmp_path: Path, lists: bool) -> None:
    columns = [column for column in make_columns() if lists or column.name != "VARYING"]
    path = tmp_path / "t.fits"
    make_table(columns).writeto(path, checksum=True)
    # By its bytes: astropy would sum up anew what it writes.
    set_card(path, b"CHECKSUM", b"COMMENT")
    set_card(path, b"DATASUM", b"DATASUM = '1       '")
    with pytest.raises(TableError, match=r"DATASUM is .* and its data sum to .*; fetch it again") as told:
        read_all(open_table(str(path)))
    assert ("or remove DATASUM and CHECKSUM if astropy before 7.2" in str(told.value)) == lists
    # The remedy, followed.
    set_card(path, b"DATASUM", b"COMMENT")
    assert len(read_all(open_table(str(path)), list(EXPECTED))) == 3


def set_card(path: Path, name: bytes, card: bytes) -> None:
    content = path.read_bytes()
    # The last of that name: the primary unit has some, too.
    start = content.rindex(name.ljust(8) + b"= ")
    path.write_bytes(content[:start] + card.ljust(80) + content[start + 80 :])


def write_units(path: Path, *units: Any) -> str:
    fits.HDUList([fits.PrimaryHDU(), *units]).writeto(path)
    return str(path)


def make_unit(name: str, value: int) -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns([fits.Column("X", "J", array=[value])], name=name)


def test_a_table_is_chosen_by_number_or_name_and_ldac_by_itself(tmp_path: Path) -> None:
    image = fits.ImageHDU(np.zeros((5, 7), np.float32), name="SCI")
    location = write_units(tmp_path / "t.fits", image, make_unit("LDAC_IMHEAD", 1), make_unit("LDAC_OBJECTS", 2))
    assert read_all(open_table(location)).column("X").to_pylist() == [2]
    assert read_all(open_table(location, hdu="2")).column("X").to_pylist() == [1]
    assert read_all(open_table(location, hdu="ldac_objects")).column("X").to_pylist() == [2]
    with pytest.raises(TableError, match=r"no table 'CAT'; its units are 0 \(no name, no table\), 1 \(SCI, no table\)"):
        open_table(location, hdu="CAT")


def test_a_packed_image_is_no_table(tmp_path: Path) -> None:
    image = fits.CompImageHDU(np.zeros((32, 32), np.float32))
    with pytest.raises(TableError, match="no table of sources"):
        open_table(write_units(tmp_path / "t.fits", image))


def test_ascii_tables(tmp_path: Path) -> None:
    columns = [
        fits.Column("ID", "I20", ascii=True, array=np.array([BIG, -1, 3])),
        fits.Column("SHORT", "I6", ascii=True, array=np.array([12, -1, 3]), null="-1"),
        fits.Column("X", "D25.17", ascii=True, array=np.array([0.1, -2.5e-30, 1e10]), unit="mag"),
        fits.Column("NAME", "A5", ascii=True, array=np.array(["a", " b c", ""])),
    ]
    location = write_units(tmp_path / "t.fits", fits.TableHDU.from_columns(columns))
    table = open_table(location)
    assert read_all(table, rows=2).to_pydict() == {
        "ID": [BIG, -1, 3],
        "SHORT": [12, None, 3],
        "X": [0.1, -2.5e-30, 1e10],
        "NAME": ["a", " b c", ""],
    }
    assert table.schema.field("X").metadata == {b"unit": b"mag"}


def test_text_ends_at_its_first_nul_and_may_be_utf8_or_latin1(tmp_path: Path) -> None:
    location = write_units(
        tmp_path / "t.fits", fits.BinTableHDU.from_columns([fits.Column("S", "8A", array=np.array(["x"] * 3))])
    )
    data = Path(location).read_bytes()
    start = data.index(b"x" + b"\0" * 7 + b"x")
    for name in ("utf8", "latin1"):
        cells = np.array([b"ab\0junk", "\u00fcber".encode(name), b"plain  "], "S8").tobytes()
        (tmp_path / f"{name}.fits").write_bytes(data[:start] + cells + data[start + 24 :])
        assert read_all(open_table(str(tmp_path / f"{name}.fits"))).column("S").to_pylist() == [
            "ab",
            "\u00fcber",
            "plain",
        ]


# Packed tables


def pack(hdu: fits.BinTableHDU, tile_rows: int, algorithms: dict[str, str]) -> bytes:
    """Pack a table as section 10.3 of the standard says: each column of each tile by itself."""
    from astropy.io.fits.hdu.compressed._codecs import Rice1

    written = io.BytesIO()
    hdu.writeto(written)
    written.seek(0)
    hdu = fits.open(written)[1]  # big-endian now
    raw = np.asarray(hdu.data).view(np.uint8).reshape(len(hdu.data), -1)
    header = hdu.header.copy()
    rows, names = len(hdu.data), [column.name for column in hdu.columns]
    dtype = hdu.data.dtype
    cells, heap = [], b""
    for start in range(0, rows, tile_rows):
        for name in names:
            kind, offset = dtype.fields[name][:2]
            data = raw[start : start + tile_rows, offset : offset + kind.itemsize]
            algorithm = algorithms.get(name, "GZIP_1")
            if algorithm == "GZIP_2":
                packed = gzip.compress(np.ascontiguousarray(data.T).tobytes())
            elif algorithm == "RICE_1":
                values = np.ascontiguousarray(data).view(kind)[:, 0]
                packed = Rice1(blocksize=32, bytepix=kind.itemsize, tilesize=len(values)).encode(values)
            else:
                packed = gzip.compress(np.ascontiguousarray(data).tobytes())
            cells.append((len(packed), len(heap)))
            heap += bytes(packed)
    table = np.array(cells, ">i8").tobytes()
    header["ZTABLE"], header["ZTILELEN"] = True, tile_rows
    header["ZNAXIS1"], header["ZNAXIS2"], header["ZPCOUNT"] = header["NAXIS1"], header["NAXIS2"], header["PCOUNT"]
    header["NAXIS1"], header["NAXIS2"] = 16 * len(names), -(-rows // tile_rows)
    header["PCOUNT"] = len(heap)
    for i, name in enumerate(names, 1):
        header[f"ZFORM{i}"], header[f"TFORM{i}"] = header[f"TFORM{i}"], "1QB"
        header[f"ZCTYP{i}"] = algorithms.get(name, "GZIP_1")
    primary = fits.PrimaryHDU().header.tostring().encode()
    body = table + heap
    return primary + header.tostring().encode() + body + bytes(-len(body) % 2880)


def test_packed_tables_by_each_algorithm(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    columns = [
        fits.Column("ID", "K", array=random.integers(-BIG, BIG, 100)),
        fits.Column("J", "J", array=random.integers(-1000, 1000, 100), null=-1001),
        fits.Column("I", "I", array=random.integers(-1000, 1000, 100)),
        fits.Column("NAME", "4A", array=np.array([f"n{i}" for i in range(100)])),
        fits.Column("X", "E", array=random.normal(size=100).astype(np.float32)),
    ]
    hdu = fits.BinTableHDU.from_columns(columns)
    content = pack(hdu, 40, {"ID": "GZIP_2", "J": "RICE_1", "I": "RICE_1", "X": "GZIP_2"})
    (tmp_path / "t.fits.fz").write_bytes(content)
    table = open_table(str(tmp_path / "t.fits.fz"))
    found = read_all(table, rows=16)
    assert table.num_rows == 100
    for column in columns:
        assert found.column(column.name).to_pylist() == column.array.tolist()


@pytest.mark.skipif(shutil.which("fpack") is None, reason="no fpack (libcfitsio-bin)")
def test_packed_tables_as_fpack_writes_them(path: Path) -> None:
    # Of lists fpack packs each cell, and they are not read.
    make_table(make_columns()[:12]).writeto(path, overwrite=True)
    subprocess.run(["fpack", "-table", str(path)], check=True)
    assert read_all(open_table(f"{path}.fz"), list(EXPECTED)).to_pydict() == EXPECTED


# Damage


def test_a_truncated_file_is_refused_when_it_is_opened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(TableError, match=r"is truncated: \d+ bytes, and its header promises \d+"):
        open_table(str(path))


def test_a_truncated_packed_file_is_refused_when_it_is_read(path: Path) -> None:
    content = path.read_bytes()
    packed = path.with_suffix(".gz")
    packed.write_bytes(gzip.compress(content[: len(content) - 2800]))
    with pytest.raises(TableError, match="is truncated: it ends in row"):
        read_all(open_table(str(packed)))
    packed.write_bytes(gzip.compress(content)[:-200])
    with pytest.raises(TableError, match="cannot be read"):
        read_all(open_table(str(packed)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_refused_or_changes_no_value(path: Path, data: st.DataObject) -> None:
    whole = path.read_bytes()
    content = bytearray(whole)
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    flipped = path.with_name("flipped.fits")
    flipped.write_bytes(bytes(content))
    try:
        found = read_all(open_table(str(flipped)), list(EXPECTED)).to_pydict()
    except (TableError, SurveyFileError):
        return
    assert found == EXPECTED


def test_a_wrong_datasum_is_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with fits.open(path) as units:
        start = units[1].fileinfo()["datLoc"]
    content[start + 3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(TableError, match="is corrupt: DATASUM is"):
        read_all(open_table(str(path)), ["ID"])


def test_a_broken_column_card_is_refused(path: Path) -> None:
    content = path.read_bytes().replace(b"TFORM1  = 'K ", b"TFORM1  = 'Y ")
    path.write_bytes(content)
    with pytest.raises(TableError, match="column 1 has the format 'Y'"):
        open_table(str(path))


def test_a_damaged_packed_column_is_refused(tmp_path: Path) -> None:
    hdu = fits.BinTableHDU.from_columns([fits.Column("ID", "K", array=np.arange(50))])
    content = pack(hdu, 50, {})
    place = content.index(b"\x1f\x8b")
    (tmp_path / "t.fits").write_bytes(content[: place + 20] + b"\xff" * 8 + content[place + 28 :])
    with pytest.raises(TableError, match="is damaged: column ID"):
        read_all(open_table(str(tmp_path / "t.fits")))


def test_a_card_that_makes_no_sense_is_told_by_its_file_when_the_rows_are_read(path: Path) -> None:
    """astropy parses a card when it is asked for: that of the sum not before the rows are held against it."""
    content = path.read_bytes()
    place = content.index(b"DATASUM = '", 2880) + 10
    path.write_bytes(content[:place] + b"\0" + content[place + 1 :])
    with pytest.raises(TableError, match=r"is damaged: its header makes no sense .*DATASUM.*; fetch it again"):
        read_all(open_table(str(path)), ["ID"])


def test_a_text_whose_shape_has_one_axis_is_one_text(tmp_path: Path) -> None:
    hdu = fits.BinTableHDU.from_columns([fits.Column("ID", "4A", array=np.array(["0012", "ab"]))])
    hdu.header["TDIM1"] = "(4)"
    hdu.writeto(tmp_path / "t.fits")
    assert read_all(open_table(str(tmp_path / "t.fits"))).to_pydict() == {"ID": ["0012", "ab"]}


def write_tables(path: Path, *tables: dict[str, list[float]]) -> str:
    return write_units(
        path,
        *(
            fits.BinTableHDU.from_columns([fits.Column(name, "D", array=values) for name, values in table.items()])
            for table in tables
        ),
    )


@pytest.mark.parametrize("name", ["t.fits", "t.fits.gz"])
def test_rows_of_a_second_table_of_the_same_columns_are_not_left_out(tmp_path: Path, name: str) -> None:
    """A file of a camera has a table a detector: of all but the first every row would be lost."""
    location = write_tables(tmp_path / name, {"x": [1.0]}, {"y": [2.0]}, {"x": [3.0]})
    with pytest.raises(TableError, match=r"has further tables of the columns of table 1: 3 .*Join them.*hdu = \"1\""):
        read_all(open_table(location))  # of a packed file, whose end is far, when it has been read
    # The remedy, followed.
    assert [read_all(open_table(location, hdu=hdu))["x"].to_pylist() for hdu in ("1", "3")] == [[1.0], [3.0]]


def test_other_tables_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    location = write_tables(tmp_path / "t.fits", {"info": [1.0]}, {"x": [2.0]})
    assert open_table(location).schema.names == ["info"]
    assert "table 1 (no name) is read; there are others, 2 (no name), one of which hdu may name" in caplog.text
    caplog.clear()
    assert read_all(open_table(location, hdu="2"))["x"].to_pylist() == [2.0]
    assert not caplog.records
