"""From another survey's table to an audited catalogue and its page, by two commands."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from made_tables import BIG, Sky, make_rubin, write_des, write_hats, write_legacy, write_rubin
from pyarrow.csv import write_csv

from cluster.command import main
from cluster.lock import hold_lock
from photoz.catalogue.hats import list_partitions
from photoz.schema import Flag

FEW = ["--set", "sources.rows_per_partition=120", "--set", "sources.highest_order=6"]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder, and leave the log as it was, which commands set up for their process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PHOTOZ_CONFIG", raising=False)
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def read_catalogue(folder: str = "out") -> pa.Table:
    return ds.dataset(f"{folder}/catalogue/dataset", exclude_invalid_files=True).to_table()


def fit(table: str, survey: str, *options: str) -> int:
    return main(["fit", table, "--survey", survey, "--estimator", "knn", "--model", "model", *options])


# Two members of some hundred steps: p(z) in two seconds.
SMALL_MLP = ["--estimator", "mlp", "--set", "settings={members=2,hidden=[24],most_steps=200,least_steps=150}"]


def estimate(table: str, *options: str) -> int:
    return main(["estimate", table, "--model", "model", "--output", "out", *FEW, *options])


def measure(catalogue: pa.Table, sky: Sky, first: int = BIG) -> float:
    """Return the median of |dz| of a catalogue's galaxies, which are named by their number from the first on."""
    rows = np.array([int(name.rpartition("-")[2]) for name in catalogue["object_id"].to_pylist()]) - first
    z = sky.z[rows]
    return float(np.nanmedian(np.abs(catalogue["z_phot"].to_numpy() - z) / (1 + z)))


@pytest.mark.parametrize(
    ("survey", "bands", "write", "first"),
    [
        ("des_y6_gold", "g,r,i,z,Y", write_des, BIG),
        ("legacy_dr10", "g,r,i,z,W1,W2", write_legacy, 0),
        ("rubin_dp1", "u,g,r,i,z,y", write_rubin, BIG),
    ],
)
def test_two_commands_lead_from_a_table_to_an_audited_catalogue(
    survey: str, bands: str, write: Callable[..., None], first: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("train"), Sky(bands, 400, seed=1), redshifts=True)
    target = Sky(bands, 300, seed=2)
    write(Path("target"), target, redshifts=False)
    assert fit("train", survey, *(SMALL_MLP if survey == "rubin_dp1" else ())) == 0
    # The model says whose columns a table of it has.
    assert estimate("target") == 0
    told = capsys.readouterr().out
    assert "rows: 300, with a redshift: 300" in told
    catalogue = read_catalogue()
    assert len(set(catalogue["object_id"].to_pylist())) == 300
    assert measure(catalogue, target, first) < (0.1 if survey == "rubin_dp1" else 0.05)
    assert json.loads(Path("out/run/audit.json").read_text())["clean"]
    assert "out_report/overview/index.html" in told
    assert Path("out_report/overview/index.html").exists()
    # Shallow, so that some fluxes are negative: data, and no reason to lose a row.
    flags = catalogue["flags"].to_numpy()
    assert (flags & Flag.BAND_NOT_DETECTED != 0).any()
    assert not (flags & Flag.NO_PHOTOMETRY).any()


def test_a_hats_catalogue_is_read_where_it_lies(capsys: pytest.CaptureFixture[str]) -> None:
    write_hats(
        Path("train"), make_rubin(Sky("u,g,r,i,z,y", 400, seed=1), redshifts=True), ra="coord_ra", dec="coord_dec"
    )
    sky = Sky("u,g,r,i,z,y", 300, seed=2)
    nested = pa.array([[{"mjd": 1.0}]] * 300)
    table = make_rubin(sky, redshifts=False).append_column("forcedSources", nested)
    write_hats(Path("target"), table, ra="coord_ra", dec="coord_dec")
    assert fit("train", "rubin_dp1") == 0
    assert estimate("target") == 0
    assert "rows: 300, with a redshift: 300" in capsys.readouterr().out
    # No copy, and the table's own partitions.
    assert [file.name for file in Path("out_sources").iterdir()] == ["view.json"]
    listed = {
        tuple(map(int, line.split(","))) for line in Path("target/objects/partition_info.csv").read_text().split()[1:]
    }
    assert {(part.order, part.pixel) for part in list_partitions("out")} == listed
    assert measure(read_catalogue(), sky) < 0.05
    assert json.loads(Path("out/run/audit.json").read_text())["clean"]


def test_a_run_of_the_same_again_does_nothing_and_a_changed_table_does_its_partition(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    table = make_rubin(Sky("u,g,r,i,z,y", 400, seed=1), redshifts=True)
    write_hats(Path("target"), table, ra="coord_ra", dec="coord_dec")
    assert fit("target", "rubin_dp1") == 0
    assert estimate("target") == 0
    before = {file: file.stat().st_mtime_ns for file in Path("out/catalogue/dataset").rglob("Npix=*.parquet")}
    assert estimate("target") == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before
    # One flux of one galaxy.
    file = sorted(Path("target/objects/dataset").rglob("Npix=*.parquet"))[0]
    changed = pq.read_table(file)
    flux = changed["r_cModelFlux"].to_numpy().copy()
    flux[0] *= 1.1
    place = changed.schema.get_field_index("r_cModelFlux")
    pq.write_table(changed.set_column(place, changed.schema.field(place), pa.array(flux)), file)
    assert estimate("target") == 0
    assert sum(file.stat().st_mtime_ns != time for file, time in before.items()) == 1


@pytest.mark.slow
def test_every_engine_gives_the_same(ray_cluster: None) -> None:
    write_rubin(Path("table"), Sky("u,g,r,i,z,y", 400, seed=1), redshifts=True)
    assert fit("table", "rubin_dp1") == 0
    found = []
    for engine in ("serial", "dask", "ray"):
        options = ["--set", f"engine.name={engine}"]
        assert main(["estimate", "table", "--model", "model", "--output", engine, *FEW, *options]) == 0
        found.append(read_catalogue(engine).sort_by("object_id"))
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])


def write_plain(path: str, sky: Sky, **more: Any) -> None:
    columns: dict[str, Any] = {"object_id": [f"{row:04d}" for row in range(sky.count)]}
    for band in sky.bands:
        columns |= {f"flux_{band}": sky.flux[band], f"fluxerr_{band}": sky.error[band]}
    pq.write_table(pa.table(columns | more), path)


def test_a_table_without_positions_gives_a_folder_of_parquet(capsys: pytest.CaptureFixture[str]) -> None:
    sky = Sky("g,r,i", 300, seed=1)
    write_plain("train.parquet", sky, z_spec=sky.z)
    write_plain("target.parquet", Sky("g,r,i", 50, seed=2))
    assert fit("train.parquet", "plain") == 0
    assert estimate("target.parquet") == 0
    assert "rows: 50, with a redshift: 50" in capsys.readouterr().out
    result = pq.read_table("out/part-000000.parquet")
    # In the table's order, leading zeros and all; nothing that the table has not.
    assert result["object_id"].to_pylist()[:2] == ["0000", "0001"]
    assert not {"ra", "dec", "_healpix_29", "tile", "mag_auto"} & set(result.column_names)


def test_parts_of_an_earlier_longer_table_do_not_stay() -> None:
    sky = Sky("g,r,i", 300, seed=1)
    write_plain("train.parquet", sky, z_spec=sky.z)
    assert fit("train.parquet", "plain") == 0
    for folder in ("both", "one"):
        Path(folder).mkdir()
        write_plain(f"{folder}/a.parquet", Sky("g,r,i", 20, seed=2))
    write_plain("both/b.parquet", Sky("g,r,i", 30, seed=3))
    assert estimate("both", "--set", "table.duplicates=keep") == 0
    assert len(list(Path("out").glob("part-*.parquet"))) == 2
    assert estimate("one") == 0
    assert [file.name for file in Path("out").glob("part-*.parquet")] == ["part-000000.parquet"]
    assert json.loads(Path("out/run/run.json").read_text())["rows"] == 20


def test_a_catalogue_and_plain_files_do_not_share_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """The earlier of them would stay, and pass for what came of the later table."""
    sky = Sky("g,r,i", 300, seed=1)
    write_plain("train.parquet", sky, z_spec=sky.z)
    write_plain("placed.parquet", sky, ra=np.linspace(5, 355, 300), dec=np.linspace(-60, 60, 300))
    assert fit("train.parquet", "plain") == 0
    for first, second in (("placed.parquet", "train.parquet"), ("train.parquet", "placed.parquet")):
        shutil.rmtree("out", ignore_errors=True)
        assert estimate(first) == 0
        before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
        capsys.readouterr()
        assert estimate(second) == 2
        assert "holds another run" in capsys.readouterr().err
        assert before == {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}


def test_a_model_that_has_no_folder_and_a_seed_that_is_none_are_told_before_the_fit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sky = Sky("g,r,i", 300, seed=1)
    write_plain("train.parquet", sky, z_spec=sky.z)
    Path("model").write_text("mine")
    assert fit("train.parquet", "plain") == 2
    assert "is a file: give a folder" in capsys.readouterr().err
    assert fit("train.parquet", "plain", "--set", "seed=-1") == 2
    assert "Expected `int` >= 0 - at `$.seed`" in capsys.readouterr().err
    assert Path("model").read_text() == "mine"


def test_bands_may_have_blanks_between_them() -> None:
    sky = Sky("g,r,i", 300, seed=1)
    write_plain("train.parquet", sky, z_spec=sky.z)
    assert fit("train.parquet", "plain", "--bands", "g, r") == 0
    assert json.loads(Path("model/manifest.json").read_text())["bands"] == ["g", "r"]


def test_the_other_commands_say_what_plain_files_are(capsys: pytest.CaptureFixture[str]) -> None:
    sky = Sky("g,r,i", 300, seed=1)
    write_plain("train.parquet", sky, z_spec=sky.z)
    assert fit("train.parquet", "plain") == 0
    assert estimate("train.parquet") == 0
    capsys.readouterr()
    assert main(["status", "--catalogue", "out"]) == 0
    assert "finished: 300 rows in plain files, 300 with a redshift" in capsys.readouterr().out
    for command in ("audit", "nz", "export"):
        assert main([command, "--catalogue", "out", "--set", "engine.name=serial"]) == 2
        assert "plain files of a table without positions" in capsys.readouterr().err


def test_two_runs_do_not_write_one_folder_of_parquet(capsys: pytest.CaptureFixture[str]) -> None:
    sky = Sky("g,r,i", 300, seed=1)
    write_plain("train.parquet", sky, z_spec=sky.z)
    assert fit("train.parquet", "plain") == 0
    assert estimate("train.parquet") == 0
    Path("out/part-000000.parquet").unlink()
    with hold_lock("out/run"):
        assert estimate("train.parquet") == 2
    assert "is writing this output" in capsys.readouterr().err
    assert not Path("out/part-000000.parquet").exists()
    assert estimate("train.parquet") == 0
    assert Path("out/part-000000.parquet").exists()


def test_a_catalogue_is_named_to_the_other_commands(plain_model: Sky, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("train.parquet", "plain", *SMALL_MLP, "--set", "overwrite=true") == 0
    assert estimate("train.parquet") == 0
    few = ["--set", "engine.name=serial", "--set", "nz.resamples=5"]
    for command, told in (
        ("status", "finished"),
        ("audit", "out/run/audit.json"),
        ("nz", "out_report/nz/nz.parquet"),
        ("export", "out.fits"),
    ):
        capsys.readouterr()
        assert main([command, "--catalogue", "out", *few]) == 0
        assert told in capsys.readouterr().out
    assert Path("out.fits").exists()
    assert main(["audit", "--catalogue", "gone", *few]) == 2


def list_repeated(folder: str = "out") -> dict[str, int]:
    """Identifier -> rows, as the run folder lists those that several rows have."""
    table = pq.read_table(f"{folder}/run/repeated_ids")
    return dict(zip(table["object_id"].to_pylist(), table["count"].to_pylist(), strict=True))


def find_hashes() -> list[Path]:
    return [*Path().rglob("*.ids"), *Path().rglob("ids-*")]


@pytest.mark.parametrize("placed", [True, False])
def test_identifiers_that_several_parts_share_are_refused_or_kept_and_listed(
    plain_model: Sky, placed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody but who sees all parts can tell; kept, they are no fault to the audit either."""
    Path("t").mkdir()
    for name, seed in (("a", 2), ("b", 3)):
        sky = Sky("g,r,i", 20, seed=seed)
        write_plain(f"t/{name}.parquet", sky, **({"ra": sky.ra, "dec": sky.dec} if placed else {}))
    capsys.readouterr()
    assert estimate("t") == 2
    told = capsys.readouterr().err.rpartition("error: ")[2]
    assert "20 rows of the table have the identifier of another row, 0000, 0001, 0002, 0003, 0004 among them" in told
    assert "--set table.duplicates=keep" in told
    # Before anything is estimated: nothing lies there that would pass for a result.
    assert [str(file) for file in Path("out").rglob("*") if file.is_file()] == ["out/run/owner.json"]
    assert estimate("t", "--set", "table.duplicates=keep") == 0
    told, log = capsys.readouterr()
    assert "rows: 40, with a redshift: 40" in told
    listed = Path("out/run/repeated_ids").absolute()
    assert f"which are kept: 20 (listed in {listed})" in told
    assert f"the 20 identifiers are listed in {listed}" in log
    assert list_repeated() == {f"{row:04d}": 2 for row in range(20)}
    assert find_hashes() == []
    assert not placed or json.loads(Path("out/run/audit.json").read_text())["clean"]
    # Rows that are there once by now are not listed for ever.
    Path("t/b.parquet").unlink()
    assert estimate("t", "--set", "table.duplicates=keep") == 0
    assert not Path("out/run/repeated_ids").exists()


def test_galaxies_of_several_parts_with_one_identifier_are_refused_or_learnt_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("t").mkdir()
    for name, seed in (("a", 2), ("b", 3)):
        sky = Sky("g,r,i", 100, seed=seed)
        write_plain(f"t/{name}.parquet", sky, z_spec=np.where(np.arange(100) < 90, sky.z, np.nan))
    assert fit("t", "plain") == 2
    told = capsys.readouterr().err.rpartition("error: ")[2]
    assert "90 galaxies with a redshift have the identifier of another one" in told
    assert fit("t", "plain", "--set", "table.duplicates=keep") == 0


def test_kept_identifiers_are_told_by_audit_and_status(plain_model: Sky, capsys: pytest.CaptureFixture[str]) -> None:
    sky = Sky("g,r,i", 40, seed=2)
    write_plain("t.parquet", sky, ra=sky.ra, dec=sky.dec)
    twice = pq.read_table("t.parquet")
    pq.write_table(pa.concat_tables([twice, twice.slice(0, 3), twice.slice(0, 1)]), "t.parquet")
    assert estimate("t.parquet", "--set", "table.duplicates=keep") == 0
    assert "identifiers of several rows, which are kept: 3 (run/repeated_ids)" in capsys.readouterr().out
    assert list_repeated() == {"0000": 3, "0001": 2, "0002": 2}
    assert main(["status", "--catalogue", "out"]) == 0
    assert "repeated ids:   3, kept and listed in run/repeated_ids" in capsys.readouterr().out


def test_an_identifier_that_partitions_of_a_hats_catalogue_share_is_refused_before_any_work(
    plain_model: Sky, capsys: pytest.CaptureFixture[str]
) -> None:
    sky = Sky("g,r,i", 60, seed=2)
    write_plain("t.parquet", sky, ra=sky.ra, dec=sky.dec)
    table = pq.read_table("t.parquet")
    # The same name for the westernmost and the easternmost, which no partition of order 5 holds both.
    names = np.array(table["object_id"].to_pylist(), object)
    name = names[np.argmin(sky.ra)]
    names[np.argmax(sky.ra)] = name
    table = table.set_column(0, "object_id", pa.array(names, pa.string()))
    write_hats(Path("t"), table, ra="ra", dec="dec")
    assert estimate("t") == 2
    told = capsys.readouterr().err.rpartition("error: ")[2]
    assert f"1 rows of the table have the identifier of another row, {name} among them" in told
    assert not Path("out/catalogue").exists()
    assert estimate("t", "--set", "table.duplicates=keep") == 0
    assert json.loads(Path("out/run/audit.json").read_text())["clean"]
    assert list_repeated() == {name: 2}


def test_rows_that_are_no_sources_repeat_no_identifier(plain_model: Sky) -> None:
    """Of rows that a cut leaves out, or that have no position, the identifier need not make sense."""
    sky = Sky("g,r,i", 60, seed=2)
    ra = sky.ra.copy()
    ra[-1] = np.nan
    names = [f"{row:04d}" for row in range(60)]
    names[-1] = names[-2] = names[0]
    write_plain("t.parquet", sky, ra=ra, dec=sky.dec, bad=[0] * 58 + [1, 0])
    table = pq.read_table("t.parquet").set_column(0, "object_id", pa.array(names))
    pq.write_table(table, "t.parquet")
    write_hats(Path("h"), table.slice(0, 59), ra="ra", dec="dec")
    Path("s.toml").write_text(
        'name = "plain"\nidentifier = "object_id"\nbands = ["g", "r", "i"]\nra = "ra"\ndec = "dec"\n'
        'cuts = ["bad == 0"]\n[photometry]\nkind = "flux"\nunit = "nJy"\ncolumn = "flux_{band}"\n'
        'error = "fluxerr_{band}"\ndereddened = true\n'
    )
    assert estimate("t.parquet", "--survey", "./s.toml") == 0
    assert read_catalogue().num_rows == 58
    arguments = ["--model", "model", "--output", "of_hats", "--survey", "./s.toml", *FEW]
    assert main(["estimate", "h", *arguments]) == 0
    assert read_catalogue("of_hats").num_rows == 58


def test_a_part_that_has_no_rows_any_more_leaves_none_of_its_earlier_ones(plain_model: Sky) -> None:
    Path("t").mkdir()
    for name, count in (("a", 20), ("b", 30)):
        write_plain(f"t/{name}.parquet", Sky("g,r,i", count, seed=2))
    assert estimate("t", "--set", "table.duplicates=keep") == 0
    write_plain("t/b.parquet", Sky("g,r,i", 0, seed=2))
    assert estimate("t", "--set", "engine.name=serial") == 0
    assert sum(len(pq.read_table(file)) for file in Path("out").glob("part-*.parquet")) == 20
    assert json.loads(Path("out/run/run.json").read_text())["rows"] == 20


def test_columns_are_carried_along_and_audited() -> None:
    sky = Sky("g,r,i", 300, seed=1)
    write_plain("t.parquet", sky, z_spec=sky.z, ra=sky.ra, dec=sky.dec, name=[f"n{row}" for row in range(300)])
    Path("s.toml").write_text(
        'name = "mine"\nidentifier = "object_id"\nbands = ["g", "r", "i"]\nra = "ra"\ndec = "dec"\nz_spec = "z_spec"\n'
        'carry = ["name"]\n[photometry]\nkind = "flux"\nunit = "nJy"\ncolumn = "flux_{band}"\n'
        'error = "fluxerr_{band}"\n'
        "dereddened = true\n"
    )
    assert fit("t.parquet", "./s.toml") == 0
    assert estimate("t.parquet") == 0
    catalogue = read_catalogue()
    assert {int(i) for i in catalogue["object_id"].to_pylist()} == set(range(300))
    assert catalogue["name"].to_pylist() == [f"n{int(i)}" for i in catalogue["object_id"].to_pylist()]
    assert json.loads(Path("out/run/audit.json").read_text())["clean"]


@pytest.fixture
def plain_model() -> Sky:
    sky = Sky("g,r,i", 300, seed=1)
    write_plain("train.parquet", sky, z_spec=sky.z, ra=sky.ra, dec=sky.dec)
    assert fit("train.parquet", "plain") == 0
    return sky


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["estimate", "gone.parquet", "--model", "model", "--output", "out"], "there is no table at"),
        (["estimate", "train.parquet", "--model", "gone", "--output", "out"], "no trained estimator at"),
        (["estimate", "out/t.parquet", "--model", "model", "--output", "out"], "lies within the output"),
        (["estimate", "t", "--model", "model", "--output", "t/out"], "of whose files it would be the next time"),
        (["estimate", "t/*/*.parquet", "--model", "model", "--output", "t/out"], "it would be the next time"),
        (["estimate", "train.parquet", "--model", "model", "--output", "."], "lies within the output"),
        (["estimate", "o_sources", "--model", "model", "--output", "o"], "lies within the sources of the output"),
        (["estimate", "o_sources_staging/*", "--model", "model", "--output", "o"], "within the staged sources of"),
        (["estimate", "o_report/t.csv", "--model", "model", "--output", "o"], "lies within the report of the output"),
        (["estimate", "train.parquet", "--model", "model", "--output", "model"], "lie one in the other"),
        (["estimate", "train.parquet", "--model", "model", "--output", "model/out"], "lie one in the other"),
        (["estimate", "t/a.parquet", "--model", "o/model", "--output", "o"], "lie one in the other"),
        (["estimate", "few.parquet", "--model", "model", "--output", "out"], "lacks"),
        (["estimate", "train.parquet", "--survey", "kids", "--model", "model", "--output", "out"], "no survey 'kids'"),
        (
            ["estimate", "train.parquet", "--survey", "sdss", "--model", "model", "--output", "o"],
            "was fitted to tables",
        ),
        (["fit", "train.parquet", "--model", "model"], "holds a model"),
        (["fit", "few.parquet", "--model", "new"], "z_spec"),
        (["fit", "train.parquet", "--model", "new", "--estimator", "hybrid"], "choose of"),
        (["fit", "train.parquet", "--model", "new", "--estimator", "mpl"], "did you mean 'mlp'"),
        (["fit", "empty.parquet", "--model", "new"], "has no rows"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    plain_model: Sky, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plain("few.parquet", Sky("g,r", 30, seed=1))
    empty = pq.read_table("train.parquet").slice(0, 0)
    pq.write_table(empty, "empty.parquet")
    Path("t").mkdir()
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "error: " in told
    assert message in told.rpartition("error: ")[2]
    assert len(told.rpartition("error: ")[2].strip().splitlines()) == 1


def test_absent_bands_may_be_accepted(plain_model: Sky) -> None:
    target = Sky("g,r", 40, seed=3)
    write_plain("few.parquet", target, ra=target.ra, dec=target.dec)
    Path("gr.toml").write_text(
        'name = "plain"\nidentifier = "object_id"\nbands = ["g", "r"]\nra = "ra"\ndec = "dec"\n'
        '[photometry]\nkind = "flux"\nunit = "nJy"\ncolumn = "flux_{band}"\nerror = "fluxerr_{band}"\n'
        "dereddened = true\n"
    )
    assert estimate("few.parquet", "--survey", "./gr.toml", "--set", "table.absent_bands=accept") == 0
    flags = read_catalogue()["flags"].to_numpy()
    assert (flags & Flag.BAND_NOT_OBSERVED != 0).all()


@pytest.mark.parametrize("placed", [True, False])
def test_bands_that_a_table_of_any_bands_lacks_may_be_accepted(
    plain_model: Sky, placed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a survey whose file names no bands nobody but the table can tell that it lacks one."""
    target = Sky("g,r", 40, seed=3)
    write_plain("few.parquet", target, **({"ra": target.ra, "dec": target.dec} if placed else {}))
    assert estimate("few.parquet") == 2
    told = capsys.readouterr().err.rpartition("error: ")[2]
    assert "flux_i (photometry.column, band i" in told
    assert "where it has not the bands ['i'], have them count as not observed with --set table.absent_bands" in told
    assert estimate("few.parquet", "--set", "table.absent_bands=accept") == 0
    result = read_catalogue() if placed else pq.read_table("out/part-000000.parquet")
    assert len(result) == 40
    assert (result["flags"].to_numpy() & Flag.BAND_NOT_OBSERVED != 0).all()


def test_rows_that_are_cut_or_have_no_position_are_counted(
    plain_model: Sky, capsys: pytest.CaptureFixture[str]
) -> None:
    ra = plain_model.ra.copy()
    ra[:7] = np.nan
    write_plain("t.parquet", plain_model, ra=ra, dec=plain_model.dec)
    assert estimate("t.parquet") == 0
    told = capsys.readouterr().out
    assert "rows: 293" in told
    assert "rows of the table set aside: 7 without position" in told


def test_galaxies_beyond_z_max_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    sky = Sky("g,r,i", 400, seed=1)
    write_plain("train.parquet", sky, z_spec=sky.z)
    assert fit("train.parquet", "plain", "--set", "z_max=0.4") == 0
    record = json.loads(Path("model/manifest.json").read_text())["record"]
    assert "galaxies" in capsys.readouterr().out
    assert record["training_rows"] + record["valid"]["rows"] == int((sky.z.astype(np.float32) <= 0.4).sum())


@pytest.mark.slow
def test_a_third_command_measures_the_catalogue_on_a_table_of_redshifts(capsys: pytest.CaptureFixture[str]) -> None:
    """By identifiers that no float holds and by position, with the sources where the run that made it read them."""
    write_hats(
        Path("train"), make_rubin(Sky("u,g,r,i,z,y", 500, seed=1), redshifts=True), ra="coord_ra", dec="coord_dec"
    )
    sky = Sky("u,g,r,i,z,y", 300, seed=2)
    write_hats(Path("target"), make_rubin(sky, redshifts=False), ra="coord_ra", dec="coord_dec")
    assert fit("train", "rubin_dp1", *SMALL_MLP) == 0
    assert estimate("target") == 0
    half = slice(0, 150)
    columns = {"object_id": BIG + np.arange(300)[half], "z_spec": sky.z[half]}
    pq.write_table(pa.table(columns), "ids.parquet")
    write_csv(pa.table({"ra": sky.ra[half], "dec": sky.dec[half], "z_spec": sky.z[half]}), "places.csv")
    few = ["--set", "evaluation.resamples=10", "--set", "evaluation.published=false"]
    capsys.readouterr()
    assert main(["evaluate", "--catalogue", "out", "--truth", "ids.parquet", *few]) == 0
    told = capsys.readouterr().out
    assert "(mlp, 300 rows)" in told
    assert told.rstrip().endswith("out_report/index.html")
    page = Path("out_report/index.html").read_text()
    assert "rubin" in page.lower()
    assert "KiDS" not in page.partition("<summary>All settings")[0]
    by_id = json.loads(Path("out_report/metrics.json").read_text())
    assert by_id["test_galaxies"] == by_id["catalogues"][0]["test_galaxies_found"] == 150
    quantities = {row["quantity"] for row in by_id["bins"]}
    assert {"colour", "p(z), all", "p(z), all, before recalibration"} <= quantities
    assert main(["evaluate", "--catalogue", "out", "--truth", "places.csv", "--join", "position", *few]) == 0
    by_position = json.loads(Path("out_report/metrics.json").read_text())
    assert by_position["catalogues"][0]["metrics"] == by_id["catalogues"][0]["metrics"]
    assert main(["evaluate", "--catalogue", "out", "--truth", "ids.parquet", "--join", "position", *few]) == 2
    assert "no position is there" in capsys.readouterr().err.rpartition("error: ")[2]
