"""The surveys that come along, each on a made file of its own format and types, with fluxes worked out by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from photoz.errors import ConfigError
from photoz.schema import Flag
from photoz.tables import check_columns, load_survey, open_survey_table, read_sources

BIG = 2**60 + 1  # no double holds it
POGSON = 2.5 / math.log(10)


def read(path: Path, name: str, **options: Any) -> tuple[pa.Table, dict[str, int]]:
    survey = load_survey(name)
    table = open_survey_table(str(path), survey)
    check_columns(table, survey, **options)
    found = [batch for part in table.parts for batch in read_sources(table, part, survey, options.get("bands"))]
    counts = {key: sum(each.counts[key] for each in found) for key in found[0].counts}
    return pa.concat_tables([each.table for each in found]), counts


def get(table: pa.Table, name: str) -> Any:
    return table[name].to_numpy()


def test_kids_dr4(tmp_path: Path) -> None:
    bands = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
    columns = [
        fits.Column("ID", "30A", array=np.array(["KiDSDR4 J1", "KiDSDR4 J2", "KiDSDR4 J3"])),
        fits.Column("RAJ2000", "D", unit="deg", array=np.array([180.0, 180.1, 180.2])),
        fits.Column("DECJ2000", "D", unit="deg", array=np.array([-0.5, -0.4, -0.3])),
        fits.Column("KIDS_TILE", "16A", array=np.array(["KIDS_180.0_-0.5"] * 3)),
        fits.Column("MAG_AUTO", "E", unit="mag", array=np.array([19.0, 19.5, 99.0], np.float32)),
        fits.Column("MAGERR_AUTO", "E", unit="mag", array=np.array([0.01, 0.01, 99.0], np.float32)),
        fits.Column("EXTINCTION_r", "E", unit="mag", array=np.array([0.1, 0.2, 0.1], np.float32)),
    ]
    for band in bands:
        columns.append(fits.Column(f"MAG_GAAP_{band}", "E", unit="mag", array=np.array([22.5, 99, -99], np.float32)))
        columns.append(fits.Column(f"MAGERR_GAAP_{band}", "E", unit="mag", array=np.array([0.1, 99, -99], np.float32)))
    # A band that all three have, or the third would have none at all.
    columns[-2] = fits.Column("MAG_GAAP_Ks", "E", array=np.array([22.5, 20.0, 20.0], np.float32))
    columns[-1] = fits.Column("MAGERR_GAAP_Ks", "E", array=np.array([0.1, 0.1, 0.1], np.float32))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(tmp_path / "kids.fits")
    table, counts = read(tmp_path / "kids.fits", "kids_dr4")
    assert table["object_id"].to_pylist() == ["KiDSDR4 J1", "KiDSDR4 J2", "KiDSDR4 J3"]
    assert table["tile"].to_pylist() == ["KIDS_180.0_-0.5"] * 3
    # The fluxes are corrected for extinction already, MAG_AUTO is not.
    np.testing.assert_allclose(get(table, "flux_u"), [3631.0, 0.0, np.nan], rtol=1e-6)
    np.testing.assert_allclose(get(table, "fluxerr_u"), [363.1 / POGSON, np.nan, np.nan], rtol=1e-6)
    np.testing.assert_allclose(get(table, "mag_auto"), [18.9, 19.3, np.nan], rtol=1e-6)
    assert (counts["not_detected_u"], counts["not_observed_u"], counts["not_observed_Ks"]) == (1, 1, 0)
    assert get(table, "flags").tolist() == [0, Flag.BAND_NOT_DETECTED, Flag.BAND_NOT_OBSERVED]


def test_des_y6_gold(tmp_path: Path) -> None:
    columns = [
        fits.Column("COADD_OBJECT_ID", "K", array=np.array([BIG, BIG + 1])),
        fits.Column("RA", "D", unit="deg", array=np.array([359.9, 0.1])),
        fits.Column("DEC", "D", unit="deg", array=np.array([-30.0, -31.0])),
        fits.Column("EBV_SFD98", "E", array=np.array([1.0, 0.0], np.float32)),
    ]
    for band in "GRIZY":
        columns.append(fits.Column(f"MAG_AUTO_{band}", "E", unit="mag", array=np.array([22.5, 99.0], np.float32)))
        columns.append(fits.Column(f"MAGERR_AUTO_{band}", "E", unit="mag", array=np.array([0.1, 99.0], np.float32)))
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "des.fits")
    table, counts = read(tmp_path / "des.fits", "des_y6_gold")
    assert table["object_id"].to_pylist() == [str(BIG), str(BIG + 1)]
    # A E(B-V) of 1 dims g by 3.186 mag and Y by 1.048.
    np.testing.assert_allclose(get(table, "flux_g"), [3631 * 10 ** (0.4 * 3.186), 0], rtol=1e-6)
    np.testing.assert_allclose(get(table, "fluxerr_Y"), [363.1 / POGSON * 10 ** (0.4 * 1.048), np.nan], rtol=1e-6)
    np.testing.assert_allclose(get(table, "mag_auto"), [22.5 - 2.140, np.nan], rtol=1e-6)
    assert counts["not_detected_g"] == 1


@pytest.mark.parametrize("flux", ["cModelFlux", "gaap1p0Flux", "psfFlux"])
def test_rubin_dp1(tmp_path: Path, flux: str) -> None:
    columns: dict[str, Any] = {
        "objectId": pa.array([BIG, BIG + 1, BIG + 2]),
        "coord_ra": [53.0, 53.1, 53.2],
        "coord_dec": [-28.0, -28.1, -28.2],
        "ebv": pa.array([0.0, 1.0, 0.0], pa.float32()),
        "tract": [5063] * 3,
    }
    for band in "ugrizy":
        columns[f"{band}_{flux}"] = pa.array([1000.0, 1000.0, -50.0], pa.float32())
        columns[f"{band}_{flux}Err"] = pa.array([10.0, 10.0, None], pa.float32())
    (tmp_path / "tract=5063").mkdir()
    pq.write_table(pa.table(columns).drop_columns("tract"), tmp_path / "tract=5063" / "objects.parq")
    table, counts = read(tmp_path, "rubin_dp1")
    assert table["object_id"].to_pylist() == [str(BIG), str(BIG + 1), str(BIG + 2)]
    np.testing.assert_allclose(get(table, "flux_u"), [1000, 1000 * 10 ** (0.4 * 4.81), -50], rtol=1e-6)
    np.testing.assert_allclose(get(table, "fluxerr_y"), [10, 10 * 10 ** (0.4 * 1.31), np.nan], rtol=1e-6)
    # A flux below 0 is a measurement, of nothing that is detected.
    assert get(table, "flags").tolist() == [0, 0, Flag.BAND_NOT_DETECTED | Flag.NO_PHOTOMETRY]
    assert ("mag_auto" in table.schema.names) == (flux == "cModelFlux")
    assert counts["bad_error_u"] == 0


def test_legacy_dr10(tmp_path: Path) -> None:
    columns = [
        fits.Column("RELEASE", "I", array=np.array([10000, 10000, 10001], np.int16)),
        fits.Column("BRICKID", "J", array=np.array([1, 1, 662174], np.int32)),
        fits.Column("BRICKNAME", "8A", array=np.array(["0001m002", "0001m002", "3599p340"])),
        fits.Column("OBJID", "J", array=np.array([0, 1, 2**31 - 1], np.int32)),
        fits.Column("RA", "D", unit="deg", array=np.array([0.1, 0.2, 359.9])),
        fits.Column("DEC", "D", unit="deg", array=np.array([0.1, 0.2, 34.0])),
    ]
    for band in ("G", "R", "I", "Z", "W1", "W2"):
        flux, ivar = np.array([1.0, -2.0, 3.0], np.float32), np.array([4.0, 0.25, 0.0], np.float32)
        columns.append(fits.Column(f"FLUX_{band}", "E", unit="nanomaggy", array=flux))
        columns.append(fits.Column(f"FLUX_IVAR_{band}", "E", unit="1/nanomaggy^2", array=ivar))
        columns.append(fits.Column(f"MW_TRANSMISSION_{band}", "E", array=np.array([0.5, 1.0, 1.0], np.float32)))
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "sweep.fits")
    table, counts = read(tmp_path / "sweep.fits", "legacy_dr10")
    assert table["object_id"].to_pylist() == ["10000-1-0", "10000-1-1", "10001-662174-2147483647"]
    assert table["tile"].to_pylist() == ["0001m002", "0001m002", "3599p340"]
    np.testing.assert_allclose(get(table, "flux_W1"), [7262, -7262, np.nan], rtol=1e-6)
    np.testing.assert_allclose(get(table, "fluxerr_g"), [3631, 7262, np.nan], rtol=1e-6)
    np.testing.assert_allclose(get(table, "mag_auto"), [22.5 - 2.5 * math.log10(2), np.nan, np.nan], rtol=1e-6)
    assert counts["not_observed_g"] == 1


def test_legacy_dr10_tractor(tmp_path: Path) -> None:
    columns = [
        fits.Column("release", "I", array=np.array([10000, 10000], np.int16)),
        fits.Column("brickid", "J", array=np.array([1, 1], np.int32)),
        fits.Column("brickname", "8A", array=np.array(["0001m002", "0001m002"])),
        fits.Column("objid", "J", array=np.array([0, 1], np.int32)),
        fits.Column("brick_primary", "L", array=np.array([True, False])),
        fits.Column("ra", "D", unit="deg", array=np.array([0.1, 0.2])),
        fits.Column("dec", "D", unit="deg", array=np.array([0.1, 0.2])),
    ]
    for band in ("g", "r", "i", "z", "w1", "w2"):
        columns.append(fits.Column(f"flux_{band}", "E", unit="nanomaggy", array=np.array([2.0, 3.0], np.float32)))
        ivar = np.array([4.0, 4.0], np.float32)
        columns.append(fits.Column(f"flux_ivar_{band}", "E", unit="1/nanomaggy^2", array=ivar))
        columns.append(fits.Column(f"mw_transmission_{band}", "E", array=np.array([0.5, 1.0], np.float32)))
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "tractor.fits")
    # Of the sweeps only the case of the columns differs, and the message says where they are.
    with pytest.raises(ConfigError, match="take the survey legacy_dr10_tractor, whose columns it has"):
        read(tmp_path / "tractor.fits", "legacy_dr10")
    table, counts = read(tmp_path / "tractor.fits", "legacy_dr10_tractor")
    # What lies beyond the brick's border is its neighbour's.
    assert (table["object_id"].to_pylist(), counts["cut"]) == (["10000-1-0"], 1)
    np.testing.assert_allclose(get(table, "flux_W1"), [4 * 3631], rtol=1e-6)
    np.testing.assert_allclose(get(table, "fluxerr_g"), [3631], rtol=1e-6)
    assert load_survey("legacy_dr10").name == load_survey("legacy_dr10_tractor").name


def test_hsc_pdr3(tmp_path: Path) -> None:
    names = ["object_id", "ra", "dec", *(f"{b}_{name}" for b in "grizy" for name in ("cmodel_mag", "cmodel_magerr"))]
    names += [f"a_{band}" for band in "grizy"]
    rows = [
        [str(BIG), "150.1", "2.2", *["22.5", "0.1"] * 5, *["2.5"] * 5],
        [str(BIG + 1), "150.2", "2.3", *["nan", "nan"] * 5, *["0.0"] * 5],
        [str(BIG + 2), "150.3", "2.4", *["99", "", *["20", "0.05"] * 4], *["0"] * 5],
    ]
    text = "# " + ",".join(names) + "\n" + "".join(",".join(row) + "\n" for row in rows)
    (tmp_path / "hsc.csv").write_text(text)
    table, counts = read(tmp_path / "hsc.csv", "hsc_pdr3")
    assert table["object_id"].to_pylist() == [str(BIG), str(BIG + 1), str(BIG + 2)]
    np.testing.assert_allclose(get(table, "flux_g"), [36310, np.nan, np.nan], rtol=1e-6)
    np.testing.assert_allclose(get(table, "fluxerr_r"), [3631 / POGSON, np.nan, 36310 * 0.05 / POGSON], rtol=1e-6)
    assert (counts["not_observed_g"], counts["implausible_g"]) == (1, 1)


def test_hsc_pdr3_with_fluxes(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"object_id": [BIG], "ra": [150.0], "dec": [2.0]}
    for band in "grizy":
        columns |= {f"{band}_cmodel_flux": [-7.0], f"{band}_cmodel_fluxerr": [5.0], f"a_{band}": [2.5]}
    pq.write_table(pa.table(columns), tmp_path / "hsc.parquet")
    table, _ = read(tmp_path / "hsc.parquet", "hsc_pdr3")
    assert (get(table, "flux_y")[0], get(table, "fluxerr_y")[0]) == pytest.approx((-70.0, 50.0))


def test_sdss(tmp_path: Path) -> None:
    softening = {"u": 1.4e-10, "g": 0.9e-10, "r": 1.2e-10, "i": 1.8e-10, "z": 7.4e-10}
    columns = [
        fits.Column("objID", "K", array=np.array([1237648720693755918, 2, 3])),
        fits.Column("ra", "D", array=np.array([10.0, 11.0, 12.0])),
        fits.Column("dec", "D", array=np.array([0.0, 1.0, 2.0])),
    ]
    for band, b in softening.items():
        # Of a flux of 0, of one of 2b sinh 1, and none.
        zero = -2.5 * math.log10(b)
        columns += [
            fits.Column(f"modelMag_{band}", "D", array=np.array([zero, zero - POGSON, -9999.0])),
            fits.Column(f"modelMagErr_{band}", "E", array=np.array([0.1, 0.1, -9999.0], np.float32)),
            fits.Column(f"extinction_{band}", "E", array=np.array([2.5, 0.0, 0.1], np.float32)),
        ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "sdss.fits")
    table, counts = read(tmp_path / "sdss.fits", "sdss")
    assert table["object_id"][0].as_py() == "1237648720693755918"
    for band, b in softening.items():
        one = 3631e9 * 2 * b
        np.testing.assert_allclose(get(table, f"flux_{band}"), [0, one * math.sinh(1), np.nan], rtol=1e-6, atol=1e-3)
        errors = [10 * one * 0.1 / POGSON, one * math.cosh(1) * 0.1 / POGSON, np.nan]
        np.testing.assert_allclose(get(table, f"fluxerr_{band}"), errors, rtol=1e-6)
        assert counts[f"not_observed_{band}"] == 1


def test_plain_finds_its_bands(tmp_path: Path) -> None:
    columns = {
        "object_id": ["a", "b"],
        "z_spec": [0.1, 0.2],
        "mag_auto": [20.0, 21.0],
        "magerr_auto": [0.1, 0.1],
        "mag_Ks": [22.5, 99.0],
        "magerr_Ks": [0.1, 0.1],
        "mag_g": [22.5, -99.0],
        "magerr_g": [0.1, 0.1],
    }
    pq.write_table(pa.table(columns), tmp_path / "plain.parquet")
    table, _ = read(tmp_path / "plain.parquet", "plain", need=["z_spec", "total"])
    assert table.schema.names == [
        "object_id", "mag_auto", "magerr_auto", "flux_g", "fluxerr_g", "flux_Ks", "fluxerr_Ks", "flags", "z_spec",
    ]  # fmt: skip
    np.testing.assert_allclose(get(table, "flux_g"), [3631, np.nan], rtol=1e-6)
    np.testing.assert_allclose(get(table, "flux_Ks"), [3631, 0], rtol=1e-6)
    with pytest.raises(ConfigError, match=r"no position is there: set survey\.ra"):
        read(tmp_path / "plain.parquet", "plain", need=["position"])


def test_plain_takes_fluxes_before_magnitudes(tmp_path: Path) -> None:
    columns = {"object_id": [7], "ra": [1.0], "dec": [2.0], "flux_radius": [3.0]}
    columns |= {"mag_g": [20.0], "magerr_g": [0.1], "flux_g": [100.0], "fluxerr_g": [5.0]}
    pq.write_table(pa.table(columns), tmp_path / "plain.parquet")
    table, _ = read(tmp_path / "plain.parquet", "plain")
    assert table.schema.names == ["object_id", "ra", "dec", "flux_g", "fluxerr_g", "flags"]
    assert get(table, "flux_g").tolist() == [100.0]
