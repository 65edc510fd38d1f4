"""n(z) of one partition: which rows are counted, what its sums are, and what is refused with which remedy."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from tiny_catalogues import Sky, make_pdfs, make_sky, write_photoz

from photoz.catalogue.hats import PRIMARY, list_partitions, locate_partition
from photoz.errors import CatalogueError, ConfigError
from photoz.nz.settings import Nz
from photoz.nz.tomography import StackTask, count_partition, make_z_edges, plan_nz, stack_partition

SKY = make_sky(300)
Z_PHOT, PDF = make_pdfs(SKY, width=0.02, claimed=0.02)
NZ = Nz(bins=1, resamples=3, step=0.02)
EDGES = (0.0, 0.2, 3.0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    location = str(tmp_path_factory.mktemp("plain") / "catalogue")
    write_photoz(location, SKY, Z_PHOT)
    return location


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> str:
    location = str(tmp_path_factory.mktemp("dense") / "catalogue")
    write_photoz(location, SKY, Z_PHOT, pdf=PDF)
    return location


def stack_all(location: str, nz: Nz = NZ, edges: tuple[float, ...] = EDGES, *, algorithm: str = "", seed: int = 1):
    tasks = [StackTask(partition, edges, algorithm) for partition in list_partitions(location)]
    return [stack_partition(location, nz, seed, task) for task in tasks]


@given(st.floats(0.001, 0.5), st.floats(0.5, 4.0))
def test_cells_have_the_width_asked_for_and_begin_at_zero(step: float, highest: float) -> None:
    edges = make_z_edges(Nz(step=step, highest_redshift=highest))
    assert edges[0] == 0.0
    assert np.diff(edges) == pytest.approx(step, abs=1e-8)
    assert abs(edges[-1] - highest) <= 0.5 * step + 1e-6


def test_an_edge_is_the_number_that_is_written() -> None:
    edges = make_z_edges(Nz())
    assert edges[35] == 0.35  # and not 0.35000000000000003, which 35 x 0.01 is
    assert len(edges) == 101


def test_a_plan_lists_every_partition_and_finds_the_estimator(plain: str, dense: str) -> None:
    assert plan_nz(plain, NZ) == (list_partitions(plain), "")
    assert plan_nz(dense, NZ)[1] == "double"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"exclude_flags": ("MASKED_PIXELS", "BLUE")}, r"nz\.exclude_flags has \['BLUE'\]; the flags are \['BAND_NOT_"),
        ({"edges": (0.1,)}, r"nz\.edges = \[0\.1\] .* at least two rising"),
        ({"edges": (0.1, 0.3, 0.3)}, "at least two rising redshifts, or none"),
        ({"edges": (0.1, float("nan"))}, "at least two rising redshifts, or none"),
        ({"bins": 0}, r"nz\.bins = 0 must be at least 1"),
        ({"resamples": -1}, r"nz\.resamples = -1 at least 0"),
        ({"step": 0.0}, r"nz\.step = 0\.0 above 0"),
        ({"step": 2.0}, r"at most nz\.highest_redshift = 1\.0"),
        ({"step": float("nan")}, r"nz\.step = nan above 0"),
    ],
)
def test_settings_are_refused_by_name_before_a_file_is_read(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_nz("/nowhere", Nz(**values))


def test_a_catalogue_of_no_rows_names_the_job(tmp_path: Path) -> None:
    empty = str(tmp_path / "empty")
    write_photoz(empty, make_sky(3), np.full(3, 0.1))
    listed = Path(empty, PRIMARY, "partition_info.csv")
    listed.write_text(listed.read_text().splitlines()[0] + "\n")
    with pytest.raises(CatalogueError, match=r"has no rows: run jobs/infer_dr4\.py, or set locations\.catalogue"):
        plan_nz(empty, NZ)


def drop_column(location: str, name: str, number: int) -> None:
    file = locate_partition(f"{location}/{PRIMARY}", list_partitions(location)[number])
    pq.write_table(pq.read_table(file, partitioning=None).drop_columns([name]), file)


def test_a_catalogue_of_another_kind_is_told_by_its_columns(tmp_path: Path) -> None:
    write_photoz(str(tmp_path / "c"), SKY, Z_PHOT)
    drop_column(str(tmp_path / "c"), "z_phot", 0)
    with pytest.raises(CatalogueError, match=r"no photo-z catalogue: it lacks \['z_phot'\]; set locations\.catalogue"):
        plan_nz(str(tmp_path / "c"), NZ)


def test_a_later_partition_without_a_column_is_not_told_as_damaged(tmp_path: Path) -> None:
    location = str(tmp_path / "c")
    write_photoz(location, SKY, Z_PHOT)
    drop_column(location, "z_phot", 1)
    _, partition = list_partitions(location)[:2]
    with pytest.raises(CatalogueError, match=r"lacks the columns \['z_phot'\]: it is of another kind") as caught:
        count_partition(location, (), partition)
    assert "cannot read" not in str(caught.value)
    with pytest.raises(CatalogueError, match="lacks the columns"):
        stack_partition(location, NZ, 1, StackTask(partition, EDGES, ""))


def test_damage_is_still_told_as_damage(tmp_path: Path) -> None:
    location = str(tmp_path / "c")
    write_photoz(location, SKY, Z_PHOT)
    partition = list_partitions(location)[0]
    Path(locate_partition(f"{location}/{PRIMARY}", partition)).write_bytes(b"PAR1 and no more")
    with pytest.raises(CatalogueError, match=r"cannot read .* remove it and run the job again"):
        count_partition(location, (), partition)


def test_every_row_with_a_redshift_is_counted_once(plain: str) -> None:
    counts = [count_partition(plain, (), partition) for partition in list_partitions(plain)]
    assert sum(each.rows for each in counts) == np.isfinite(Z_PHOT).sum() == 299
    assert sum(int(np.sum(each.counts)) for each in counts) == 299


@pytest.mark.parametrize(
    ("flags", "rows"),
    [((), 299), (("MASKED_PIXELS",), 293), (("MASKED_PIXELS", "MASKED_PIXELS"), 293), (("ESTIMATE_FAILED",), 299)],
)
def test_flagged_rows_are_left_out(plain: str, flags: tuple[str, ...], rows: int) -> None:
    # Six rows of 300 are masked; the one without an estimate is left out whatever the flags say.
    assert sum(count_partition(plain, flags, partition).rows for partition in list_partitions(plain)) == rows


def test_rows_without_p_z_are_placed_by_their_redshift(plain: str) -> None:
    sums = stack_all(plain)
    assert sum(each.rows for each in sums) == 299
    assert sum(each.without_pdf for each in sums) == 0
    shares_BZ = sum(each.sums.shares_BRZ[:, 0] for each in sums)
    # Tomographic bins: below 0.2 and above; each galaxy in the cell of its z_phot.
    known = Z_PHOT[np.isfinite(Z_PHOT)].astype(np.float32).astype(float)
    edges = make_z_edges(NZ)
    for row, part in enumerate((known[known < 0.2], known[known >= 0.2])):
        np.testing.assert_allclose(shares_BZ[row], np.histogram(part, edges)[0], atol=1)
        assert sum(each.sums.counts_BR[row, 0] for each in sums) == len(part)


def test_how_rows_are_taken_in_runs_changes_nothing(dense: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stack_all(dense, algorithm="double")
    monkeypatch.setattr("photoz.nz.tomography._ROWS", 7)
    parts = stack_all(dense, algorithm="double")
    for one, other in zip(whole, parts, strict=True):
        assert (one.rows, one.without_pdf) == (other.rows, other.without_pdf)
        for name, value in vars(one.sums).items():
            np.testing.assert_allclose(getattr(other.sums, name), value, rtol=1e-12, atol=1e-12, err_msg=name)


def test_rows_with_a_redshift_and_no_p_z_are_counted_as_lacking(tmp_path: Path) -> None:
    location = str(tmp_path / "c")
    write_photoz(location, SKY, Z_PHOT, pdf=PDF)
    partition = list_partitions(location)[0]
    file = locate_partition(f"{location}/{PRIMARY}", partition)
    rows = pq.read_table(file, partitioning=None)
    place = rows.schema.get_field_index("double_z_quantiles")
    codes = np.array(rows["double_z_quantiles"].to_pylist())
    codes[0] = 65535  # none
    column = pa.array(codes.tolist(), rows.schema.field(place).type)
    pq.write_table(rows.set_column(place, rows.schema.field(place), column), file)
    found = stack_partition(location, NZ, 1, StackTask(partition, EDGES, "double"))
    assert found.without_pdf == 1
    assert found.rows == np.isfinite(rows["z_phot"].to_numpy()).sum()


def test_a_seed_gives_the_same_bootstrap_and_another_another(dense: str) -> None:
    one, again, other = (stack_all(dense, algorithm="double", seed=seed)[0].sums for seed in (1, 1, 2))
    same = [np.array_equal(getattr(one, name), getattr(again, name)) for name in vars(one)]
    differs = [np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one)]
    assert all(same)
    assert not all(differs)


def test_a_stack_of_gaussians_is_their_sum(tmp_path: Path) -> None:
    # 50 galaxies of one and the same p(z), N(0.5, 0.03), of which the cells hold what the Gaussian does.
    sky = make_sky(50)
    alike = Sky(sky.object_id, sky.ra, sky.dec, np.full(50, 0.5), sky.mag, sky.colour)
    _, pdf = make_pdfs(alike, width=0.0, claimed=0.02)
    write_photoz(str(tmp_path / "c"), alike, np.full(50, 0.5), pdf=pdf)
    found = stack_all(str(tmp_path / "c"), Nz(resamples=0, step=0.02), algorithm="double")
    total_Z = sum(each.sums.shares_BRZ[:, 0].sum(axis=0) for each in found)
    rows = int(np.isfinite(pdf.quantiles_NQ[:, 0]).sum())
    assert sum(each.rows - each.without_pdf for each in found) == rows
    # Of 0.02 (1 + z) at a redshift of 0.5.
    np.testing.assert_allclose(total_Z / rows, np.diff(norm.cdf(make_z_edges(NZ), 0.5, 0.03)), atol=2e-3)
