"""Plain catalogues: sentinels, several files, FITS's masks and byte order, splits, and each refusal's remedy."""

import gzip
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.time import Time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photoz.comparison.plain import (
    _choose_training_rows,
    read_plain_catalogue,
    read_survey_catalogue,
    read_table,
)
from photoz.errors import CatalogueError, ConfigError

BANDS = ("g", "r")


def make_table(count: int = 20) -> dict[str, np.ndarray]:
    values = np.linspace(18.0, 20.0, count)
    table: dict[str, np.ndarray] = {"object_id": np.arange(count), "z_spec": np.linspace(0.1, 0.4, count)}
    for band in BANDS:
        table[f"mag_{band}"], table[f"magerr_{band}"] = values.copy(), np.full(count, 0.02)
    return table


def write(folder: Path, table: dict[str, np.ndarray], name: str = "c.parquet") -> str:
    pq.write_table(pa.table(table), folder / name)
    return str(folder / name)


def test_sentinels_of_magnitudes_and_of_errors_are_missing(tmp_path: Path) -> None:
    table = make_table()
    table["mag_g"][:4] = [99.0, -99.0, np.inf, np.nan]
    table["magerr_g"][:2] = [99.0, -99.0]
    sample = read_plain_catalogue(write(tmp_path, table), BANDS).sample
    assert np.isnan(sample.fluxes_NF[:5, 0]).tolist() == [False, True, True, True, False]
    assert np.isnan(sample.errors_NF[:5, 0]).tolist() == [True] * 4 + [False]
    # 99 alone says that somebody looked.
    assert sample.fluxes_NF[0, 0] == 0
    assert np.argwhere(sample.magnitudes.not_detected_NF).tolist() == [[0, 0]]


def test_near_a_sentinel_is_one(tmp_path: Path) -> None:
    table = make_table()
    table["mag_g"][:2] = 98.999, -99.001
    sample = read_plain_catalogue(write(tmp_path, table), BANDS).sample
    np.testing.assert_array_equal(sample.fluxes_NF[:2, 0], [0.0, np.nan])


def test_nulls_are_missing_values(tmp_path: Path) -> None:
    table = pa.table(make_table())
    column = pa.array([None, *table["mag_r"].to_pylist()[1:]])
    pq.write_table(table.set_column(table.schema.get_field_index("mag_r"), "mag_r", column), tmp_path / "c.parquet")
    assert np.isnan(read_plain_catalogue(str(tmp_path / "c.parquet"), BANDS).sample.fluxes_NF[0, 1])


def test_rows_without_a_redshift_are_left_out_before_their_ids_are_compared(tmp_path: Path, caplog) -> None:
    table = make_table()
    table["object_id"][5] = table["object_id"][4]
    table["z_spec"][5] = np.nan
    with caplog.at_level(logging.WARNING):
        found = read_plain_catalogue(write(tmp_path, table), BANDS)
    assert len(found.sample) == 19 == len(found.object_id) == len(found.train_N)
    assert "1 of 20 rows have no z_spec and are left out" in caplog.text


def test_bands_come_in_the_order_asked_for(tmp_path: Path) -> None:
    table = make_table()
    table["mag_r"] += 1.0
    sample = read_plain_catalogue(write(tmp_path, table), ("r", "g")).sample
    assert sample.bands == ("r", "g")
    magnitudes_NF = sample.magnitudes.magnitudes_NF
    assert (magnitudes_NF[:, 0] - magnitudes_NF[:, 1]).tolist() == pytest.approx([1.0] * 20)


@pytest.mark.parametrize("pattern", ["part-*.parquet", "*/part-*.parquet", "sub*/part-*.parquet"])
def test_a_star_stands_for_any_name_on_any_level(tmp_path: Path, pattern: str) -> None:
    table = pa.table(make_table())
    for number in range(2):
        folder = tmp_path / f"sub{number}" if "/" in pattern else tmp_path
        folder.mkdir(exist_ok=True)
        pq.write_table(table.slice(10 * number, 10), folder / f"part-{number}.parquet")
    (tmp_path / "other.parquet").write_bytes(b"no parquet")
    assert read_table(f"{tmp_path}/{pattern}", BANDS)["object_id"].to_pylist() == list(range(20))


def test_a_file_whose_name_holds_a_star_is_that_file(tmp_path: Path) -> None:
    write(tmp_path, make_table(), "a*.parquet")
    write(tmp_path, make_table(30), "ab.parquet")
    assert len(read_table(f"{tmp_path}/a*.parquet", BANDS)) == 20


def test_a_pattern_that_matches_nothing_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"there is no catalogue at '.*x-\*\.parquet': correct data\.catalogue"):
        read_table(f"{tmp_path}/x-*.parquet", BANDS)


def test_no_other_column_is_read(tmp_path: Path) -> None:
    table = {**make_table(), "cutout": np.zeros(20), "split": np.full(20, "train")}
    names = ["object_id", "z_spec", "mag_g", "magerr_g", "mag_r", "magerr_r", "split"]
    assert read_table(write(tmp_path, table), BANDS).column_names == names


def test_fits_tables_may_hold_what_nobody_asks_for(tmp_path: Path) -> None:
    table = Table(make_table())
    table["coord"] = SkyCoord(np.linspace(10, 11, 20), np.zeros(20), unit="deg")
    table["observed"] = Time(np.linspace(59000, 59001, 20), format="mjd")
    table["phase"] = np.full(20, 1 + 2j)
    table["name"] = [b"M\xfcller"] * 20
    table["z_spec"] = MaskedColumn(table["z_spec"], mask=np.arange(20) == 3)
    table["spectrum"] = np.zeros((20, 5))
    for ending in ("fits", "FIT", "fits.gz"):
        location = str(tmp_path / f"c.{ending}")
        table.write(location, format="fits")
        found = read_table(location, BANDS)
        assert np.isnan(found["z_spec"].to_numpy()[3])
        assert found["mag_g"].to_numpy().tolist() == table["mag_g"].tolist()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.fits", b"SIMPLE", "is no FITS, as its name says"),
        ("c.fits.gz", b"\x1f\x8b and no more", "is empty"),
        ("c.fits.gz", gzip.compress(b"SIMPLE  =" * 50)[:40], "is truncated or damaged"),
        ("c.csv", b'a,b\n1,2\n3\n"', "is it what its name says"),
        ("c.pq", b"PAR1", "is it what its name says"),
        ("c.dat", b"1 2", "has no line with the names of its columns"),
    ],
)
def test_files_that_are_not_what_they_say_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CatalogueError, match=message) as caught:
        read_table(str(tmp_path / name), BANDS)
    assert name in str(caught.value)


def test_ldac_is_read_past_the_header_of_its_image(tmp_path: Path) -> None:
    header = fits.BinTableHDU.from_columns([fits.Column("Field Header Card", "9A", array=["SIMPLE  ="])])
    header.name = "LDAC_IMHEAD"
    sources = fits.table_to_hdu(Table(make_table()))
    fits.HDUList([fits.PrimaryHDU(), header, sources]).writeto(tmp_path / "c.fits")
    assert len(read_plain_catalogue(str(tmp_path / "c.fits"), BANDS).sample) == 20


def test_whole_numbers_that_are_tnull_are_missing(tmp_path: Path) -> None:
    table = make_table()
    columns = [
        fits.Column("object_id", "K", array=table["object_id"]),
        fits.Column("z_spec", "D", array=table["z_spec"]),
    ]
    for name in ("mag_g", "magerr_g", "mag_r", "magerr_r"):
        values = np.rint(table[name] * 1000).astype(np.int16)
        values[:3] = -32768
        columns.append(fits.Column(name, "I", array=values, null=-32768))
    unit = fits.BinTableHDU.from_columns(columns)
    for number in range(3, 7):
        unit.header[f"TSCAL{number}"] = 0.001
    unit.writeto(tmp_path / "c.fits")
    sample = read_plain_catalogue(str(tmp_path / "c.fits"), BANDS).sample
    assert np.isnan(sample.fluxes_NF).all(axis=1).tolist() == [True] * 3 + [False] * 17
    expected = read_plain_catalogue(write(tmp_path, table), BANDS).sample
    np.testing.assert_allclose(sample.fluxes_NF[3:], expected.fluxes_NF[3:], rtol=1e-3)


TEXT = {
    "commented": lambda rows: "# made by a script\n#" + rows,
    "semicolons": lambda rows: rows.replace(",", ";"),
    "carriage returns": lambda rows: rows.replace("\n", "\r\n"),
    "byte order mark": lambda rows: "\ufeff" + rows,
}


@pytest.mark.parametrize("dialect", TEXT)
def test_csv_is_read_as_people_write_it(tmp_path: Path, dialect: str) -> None:
    table = make_table()
    rows = [",".join(table), *(",".join(str(column[i]) for column in table.values()) for i in range(20))]
    (tmp_path / "c.csv").write_bytes(TEXT[dialect]("\n".join(rows) + "\n").encode())
    found = read_plain_catalogue(str(tmp_path / "c.csv"), BANDS)
    assert found.object_id.to_pylist() == list(range(20))
    np.testing.assert_array_equal(found.sample.z_N, table["z_spec"])


IDENTIFIERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1).map(str),
    st.integers(0, 2**128).map(str),
    st.integers(0, 10**6).map(lambda number: f"{number:012d}"),
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1).filter(
        lambda text: not set(text) & set('",;|#')
    ),
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(IDENTIFIERS, min_size=20, max_size=20, unique=True))
def test_identifiers_come_out_as_they_are_written(tmp_path: Path, identifiers: list[str]) -> None:
    table = make_table()
    names = [name for name in table if name != "object_id"]
    lines = [",".join(["object_id", *names])]
    lines += [",".join([each, *(str(table[name][i]) for name in names)]) for i, each in enumerate(identifiers)]
    (tmp_path / "c.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pq.write_table(pa.table({**table, "object_id": identifiers}), tmp_path / "c.parquet")
    for name in ("c.csv", "c.parquet"):
        found = read_plain_catalogue(str(tmp_path / name), BANDS)
        assert list(map(str, found.object_id.to_pylist())) == identifiers


@pytest.mark.parametrize(("kind", "limit"), [(np.float64, 53), (np.float32, 24)])
def test_identifiers_that_a_float_has_rounded_are_refused(tmp_path: Path, kind: type, limit: int) -> None:
    table = make_table()
    table["object_id"] = table["object_id"].astype(kind)
    assert read_plain_catalogue(write(tmp_path, table), BANDS).object_id.to_pylist() == list(range(20))
    table["object_id"][3] = 2**limit
    with pytest.raises(
        CatalogueError, match=rf"{2**limit} among them, which are rounded beyond 2\^{limit}: write them"
    ):
        read_plain_catalogue(write(tmp_path, table), BANDS)


def test_parts_may_have_other_types_and_orders_of_columns(tmp_path: Path) -> None:
    table = pa.table(make_table())
    second = table.slice(10).select(table.column_names[::-1])
    for name, kind in (("object_id", pa.int32()), ("mag_g", pa.float32()), ("mag_r", pa.null())):
        where = second.schema.get_field_index(name)
        values = pa.nulls(10) if kind == pa.null() else second[name].cast(kind)
        second = second.set_column(where, name, values)
    pq.write_table(table.slice(0, 10), tmp_path / "part0.parquet")
    pq.write_table(second, tmp_path / "part1.parquet")
    for location in (str(tmp_path), f"{tmp_path}/*.parquet"):
        found = read_plain_catalogue(location, BANDS)
        assert found.object_id.to_pylist() == list(range(20))
        assert np.isnan(found.sample.fluxes_NF[:, 1]).tolist() == [False] * 10 + [True] * 10


def test_a_redshift_that_many_rows_share_is_told(tmp_path: Path, caplog) -> None:
    table = make_table(600)
    read_plain_catalogue(write(tmp_path, table), BANDS)
    assert "exactly the redshift" not in caplog.text
    table["z_spec"][::10] = 9.9999
    read_plain_catalogue(write(tmp_path, table), BANDS)
    assert "60 of 600 rows have exactly the redshift 9.9999: set z_spec to NaN where" in caplog.text


def spoil(table: dict[str, np.ndarray], how: str) -> pa.Table:
    if how == "no rows":
        return pa.table(table).slice(0, 0)
    if how == "no id":
        ids = pa.array([None, *table["object_id"][1:].tolist()])
        return pa.table({**{name: pa.array(values) for name, values in table.items()}, "object_id": ids})
    if how == "twice":
        table["object_id"][:4] = [7, 7, 8, 8]
    elif how == "below -1":
        table["z_spec"][:2] = [-9.0, -1.0]
    elif how == "velocity":
        table["z_spec"][:2] *= 299_792.458
    elif how == "empty bands":
        table["mag_g"][:], table["mag_r"][:] = 99.0, -99.0
    elif how == "text redshift":
        table["z_spec"] = np.full(20, "high")
    return pa.table(table)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no rows", "has no rows"),
        ("no id", "1 rows have no object_id"),
        ("twice", r"2 identifiers occur more than once \(the first: 7\): keep one row of each galaxy"),
        ("below -1", r"z_spec is -9\.0 in 2 rows; .* leave those rows out, or set z_spec to NaN"),
        ("velocity", r"z_spec is 29979\.\d+ in 2 rows; .* at most 15, and no velocity: leave those rows out"),
        ("empty bands", r"no galaxy was detected in g, r: leave it out of data\.bands"),
        ("text redshift", r"column z_spec holds string, not numbers"),
    ],
)
def test_refusals_say_what_is_wrong_and_what_to_do(tmp_path: Path, how: str, message: str) -> None:
    pq.write_table(spoil(make_table(), how), tmp_path / "c.parquet")
    with pytest.raises(CatalogueError, match=message):
        read_plain_catalogue(str(tmp_path / "c.parquet"), BANDS)


def test_a_missing_column_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"\['mag_z', 'magerr_z'\]; it has \['object_id', .*correct data\.bands"):
        read_plain_catalogue(write(tmp_path, make_table()), ("g", "z"))


@given(st.integers(10, 200), st.floats(0.1, 0.9), st.integers(0, 99))
def test_a_random_split_has_the_fraction_asked_for_and_follows_the_seed(count: int, fraction: float, seed: int) -> None:
    table = pa.table({"object_id": np.arange(count)})
    train_N, again_N = (_choose_training_rows(table, "", fraction, seed) for _ in range(2))
    assert (~train_N).sum() == round(fraction * count)
    assert train_N.tolist() == again_N.tolist()


@pytest.mark.parametrize("fraction", [0.0, 1.0, 0.01])
def test_a_split_without_both_parts_is_refused(fraction: float) -> None:
    with pytest.raises(CatalogueError, match='the column split must hold both "train" and "test", or be left out'):
        _choose_training_rows(pa.table({"object_id": np.arange(20)}), "c", fraction, 1)


def test_what_is_not_for_training_is_for_testing() -> None:
    table = pa.table({"split": ["train", "valid", "calib", "test", None]})
    assert _choose_training_rows(table, "", 0.3, 1).tolist() == [True, False, False, False, False]


def test_rows_beyond_z_max_are_neither_learnt_from_nor_tested_on(tmp_path: Path, caplog) -> None:
    table = make_table() | {"split": np.array(["train", "test"] * 10)}
    with caplog.at_level(logging.WARNING):
        found = read_plain_catalogue(write(tmp_path, table), BANDS, z_max=0.25)
    assert found.sample.z_N.max() <= 0.25
    assert len(found.sample) == len(found.object_id) == len(found.train_N) == 10
    assert found.train_N.tolist() == [True, False] * 5
    assert "10 of 20 rows lie beyond data.z_max" in caplog.text
    with pytest.raises(CatalogueError, match=r"no row has z_spec <= data\.z_max = 0\.05"):
        read_plain_catalogue(write(tmp_path, table), BANDS, z_max=0.05)


def test_a_table_is_read_by_its_surveys_file(tmp_path: Path, caplog) -> None:
    table = make_table()
    plain = write(tmp_path, table)
    renamed = {"object_id": "ID", "z_spec": "ZSPEC"} | {f"mag_{b}": f"MAG_{b.upper()}" for b in BANDS}
    renamed |= {f"magerr_{b}": f"MAGERR_{b.upper()}" for b in BANDS}
    table["z_spec"][:2] = np.nan
    named = write(tmp_path, {renamed[name]: values for name, values in table.items()}, "named.parquet")
    (tmp_path / "s.toml").write_text(
        'name = "mine"\nidentifier = "ID"\nbands = ["g", "r"]\nz_spec = "ZSPEC"\n[photometry]\nkind = "mag"\n'
        'column = "MAG_{BAND}"\nerror = "MAGERR_{BAND}"\ndereddened = true\n'
    )
    with caplog.at_level(logging.WARNING):
        found = read_survey_catalogue(named, str(tmp_path / "s.toml"), test_fraction=0.25, z_max=0.35)
    expected = read_plain_catalogue(plain, BANDS, z_max=0.35)
    assert found.sample.bands == BANDS
    assert found.object_id.to_pylist() == [str(name) for name in expected.object_id.to_pylist()[2:]]
    np.testing.assert_allclose(found.sample.fluxes_NF, expected.sample.fluxes_NF[2:], rtol=1e-6)
    assert (~found.train_N).sum() == round(0.25 * len(found.sample))
    assert "2 of 20 rows have no redshift" in caplog.text
    assert "4 of 20 rows lie beyond data.z_max" in caplog.text
    with pytest.raises(ConfigError, match=r"bands \['z'\] are asked for"):
        read_survey_catalogue(named, str(tmp_path / "s.toml"), ("z",))
    with pytest.raises(CatalogueError, match="1 galaxies are too few"):
        read_survey_catalogue(named, str(tmp_path / "s.toml"), z_max=0.135)


def test_fractions_and_words_that_come_late_in_a_csv_file_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After as many rows as tell the types of the columns: of magnitudes whole ones, of the others nothing."""
    monkeypatch.setattr("photoz.tables.text._HEAD_BYTES", 400)
    table = {name: column.astype(object) for name, column in make_table(40).items()}
    table["mag_g"][:20], table["z_spec"][:20] = 23, ""
    table["z_spec"][2] = 0.25
    table["split"] = np.array([""] * 30 + ["train", "test"] * 5, object)
    rows = [",".join(table), *(",".join(str(column[i]) for column in table.values()) for i in range(40))]
    (tmp_path / "c.csv").write_text("\n".join(rows) + "\n")
    found = read_plain_catalogue(str(tmp_path / "c.csv"), BANDS)
    assert found.object_id.to_pylist() == [2, *range(20, 40)]
    assert found.train_N.sum() == 5
    magnitudes_N = found.sample.magnitudes.magnitudes_NF[:, 0]
    np.testing.assert_allclose(magnitudes_N, [23, *make_table(40)["mag_g"][20:]], rtol=1e-6)


def test_a_magnitude_or_flux_that_many_rows_share_is_told(tmp_path: Path, caplog) -> None:
    table = make_table(600)
    read_plain_catalogue(write(tmp_path, table), BANDS)
    table["mag_g"][::2] = 99.0  # which is declared
    table["mag_r"][:5] = 21.0  # few
    read_plain_catalogue(write(tmp_path, table), BANDS)
    assert "exactly" not in caplog.text
    table["mag_r"][::10] = 35.0
    table["flux_g"], table["fluxerr_g"] = np.linspace(1, 9, 600), np.ones(600)
    table["flux_g"][:30] = 0.0
    read_plain_catalogue(write(tmp_path, table), BANDS)
    assert (
        "30 of 600 rows have exactly the flux in g 0.0; 60 of 600 rows have exactly the magnitude in r 35.0"
        in caplog.text
    )
