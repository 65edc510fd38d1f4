import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pdf_double import SPREAD, make_quantiles
from scipy.special import ndtr
from tiny_catalogues import make_config, make_estimates, make_sky, write_photoz

from cluster.nz import summarize_nz
from photoz.catalogue.hats import PRIMARY, Partition, finish_catalogue, finish_collection, write_partition
from photoz.errors import CatalogueError, ConfigError
from photoz.estimators.base import Estimates, Pdfs
from photoz.inference import make_table
from photoz.nz.distribution import (
    assign_tomographic_bins,
    choose_equal_edges,
    compute_shares,
    count_redshifts,
    draw_bootstrap_weights,
    make_distribution,
    place_redshifts,
    stack,
)
from photoz.nz.tomography import METADATA, write_nz
from photoz.schema import LEVELS

ROOT = Path(__file__).resolve().parents[2]
EDGES = np.round(np.arange(101) * 0.01, 9)


def write_pdf_catalogue(location: str, count: int, *, order: int) -> np.ndarray:
    """Write a catalogue of Gaussian p(z) whose true redshifts, which are returned, follow them."""
    sky = make_sky(count, seed=4)
    rng = np.random.default_rng(7)
    centre_N = np.clip(sky.z_spec, 0.1, 0.7).astype(np.float32)
    write_photoz(location + "-plain", sky, centre_N.astype(np.float64), order=order)
    rows = pa.concat_tables(
        pq.read_table(file, partitioning=None) for file in sorted(Path(location + "-plain").rglob("Npix=*.parquet"))
    )
    centre_N = rows["z_phot"].to_numpy()
    flags_N = rows["flags"].to_numpy()
    nothing = np.full(count, np.nan, np.float32)
    pdf = Pdfs(make_quantiles(centre_N).astype(np.float32), nothing, nothing)
    table = make_table(rows, Estimates(centre_N, flags_N, pdf), algorithm="mlp")
    pixels = table["_healpix_29"].to_numpy() >> 2 * (29 - order)
    written = []
    for pixel in np.unique(pixels):
        part = Partition(order=order, pixel=int(pixel))
        written.append(
            (part, write_partition(f"{location}/{PRIMARY}", part, table.filter(pa.array(pixels == pixel)))[0])
        )
    finish_catalogue(location, written, info={})
    finish_collection(location, name="photoz", margin=False)
    return rng.normal(centre_N, SPREAD)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nz")
    return folder, write_pdf_catalogue(str(folder / "catalogue"), 6000, order=5)


def test_shares_are_those_of_the_gaussian_and_add_up():
    centre_N = np.array([0.2, 0.453, 0.99])
    shares_NZ = compute_shares(make_quantiles(centre_N), EDGES)
    expected_NZ = np.diff(ndtr((EDGES - centre_N[:, None]) / SPREAD), axis=1)
    np.testing.assert_allclose(shares_NZ, expected_NZ, atol=2e-4)
    assert shares_NZ[0].sum() == pytest.approx(1, abs=1e-6)
    assert shares_NZ[2].sum() == pytest.approx(ndtr((1 - 0.99) / SPREAD), abs=2e-3)
    assert np.isnan(compute_shares(np.full((1, len(LEVELS)), np.nan), EDGES)).all()


def test_place_redshifts():
    assert place_redshifts([0.0, 0.25, 1.0, 1.2, np.nan], [0.0, 0.5, 1.0]).tolist() == [
        [1, 0],
        [1, 0],
        [0, 1],
        [0, 0],
        [0, 0],
    ]


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.floats(-0.5, 8, width=32), min_size=1, max_size=60), st.integers(1, 7))
def test_every_redshift_lies_in_one_of_equally_full_bins(z, bins):
    edges = choose_equal_edges(count_redshifts(z), bins)
    bin_N = assign_tomographic_bins(z, edges)
    assert bin_N.min() >= 1
    assert bin_N.max() <= bins
    if len(set(np.round(np.array(z), 3))) == len(z):  # no two in one cell
        assert np.ptp(np.bincount(bin_N, minlength=bins + 1)[1:]) <= 1


def test_edges_of_parts_are_those_of_the_whole():
    z = np.random.default_rng(1).gamma(4, 0.06, 5000)
    parts = sum(count_redshifts(part) for part in np.array_split(z, 7))
    np.testing.assert_array_equal(choose_equal_edges(parts, 4), choose_equal_edges(count_redshifts(z), 4))
    np.testing.assert_allclose(choose_equal_edges(parts, 4)[1:-1], np.quantile(z, [0.25, 0.5, 0.75]), atol=3e-4)
    assert choose_equal_edges(count_redshifts([]), 2).tolist() == [0, 0, 0]


def test_bins_hold_their_lower_edge_and_the_last_its_upper():
    assert assign_tomographic_bins([0.1, 0.2, 0.4, 0.05, 0.41, np.nan], [0.1, 0.2, 0.4]).tolist() == [1, 2, 2, 0, 0, 0]


def test_bootstrap_weights_depend_on_object_and_seed_alone():
    ids = [f"g{i}" for i in range(4000)]
    weights_NR = draw_bootstrap_weights(ids, seed=1, resamples=50)
    np.testing.assert_array_equal(draw_bootstrap_weights(ids[30:40], seed=1, resamples=50), weights_NR[30:40])
    np.testing.assert_array_equal(draw_bootstrap_weights(ids[:9], seed=1, resamples=3), weights_NR[:9, :3])
    assert (draw_bootstrap_weights(ids, seed=2, resamples=50) != weights_NR).mean() > 0.5
    # Poisson of mean 1: mean and variance 1, a share of exp(-1) zeros; samples and galaxies are unrelated.
    assert weights_NR.mean() == pytest.approx(1, abs=0.01)
    assert weights_NR.var() == pytest.approx(1, abs=0.03)
    assert (weights_NR == 0).mean() == pytest.approx(np.exp(-1), abs=0.005)
    assert np.abs(np.corrcoef(weights_NR.T) - np.eye(50)).max() < 0.08
    assert np.abs(np.corrcoef(weights_NR[:-1].ravel(), weights_NR[1:].ravel())[0, 1]) < 0.01


@settings(deadline=None, max_examples=20)  # the machine may be busy
@given(st.lists(st.integers(0, 300), min_size=0, max_size=6))
def test_sums_of_parts_are_exactly_those_of_the_whole(cuts):
    rng = np.random.default_rng(2)
    z_N = rng.uniform(0.1, 0.9, 300)
    shares_NZ = compute_shares(make_quantiles(z_N), EDGES)
    weights_NR = draw_bootstrap_weights([str(i) for i in range(300)], seed=3, resamples=5)
    bin_N = assign_tomographic_bins(z_N, [0.1, 0.5, 0.9])
    whole = stack(bin_N, shares_NZ, weights_NR, bins=2)
    order = rng.permutation(300)
    sums = stack(bin_N[:0], shares_NZ[:0], weights_NR[:0], bins=2)
    for rows in np.split(order, sorted(cuts)):
        sums = sums.add(stack(bin_N[rows], shares_NZ[rows], weights_NR[rows], bins=2))
    np.testing.assert_array_equal(sums.shares_BRZ, whole.shares_BRZ)
    np.testing.assert_array_equal(sums.counts_BR, whole.counts_BR)


def test_errors_are_those_of_counting():
    rng = np.random.default_rng(6)
    z_N = rng.uniform(0, 1, 20_000)
    weights_NR = draw_bootstrap_weights([str(i) for i in range(len(z_N))], seed=1, resamples=300)
    edges = np.linspace(0, 1, 11)
    found = make_distribution(stack(np.ones(len(z_N), int), place_redshifts(z_N, edges), weights_NR, bins=1), edges)
    # The share p = 0.1 of n galaxies has the error sqrt(p (1 - p) / n); the mean of a uniform one, sqrt(1 / 12 n).
    expected = np.sqrt(0.1 * 0.9 / len(z_N)) / 0.1
    assert found.error_BZ.mean() == pytest.approx(expected, rel=0.1)
    assert found.mean_error_B[0] == pytest.approx((12 * len(z_N)) ** -0.5, rel=0.2)
    assert (found.nz_BZ.mean(), found.mean_B[0]) == pytest.approx((1, 0.5), abs=0.01)


def test_stack_is_the_true_distribution(survey):
    folder, truth_N = survey
    found, description = summarize_nz(make_config(folder, engine={"name": "serial"}, nz={"bins": 1, "step": 0.02}))
    expected = np.histogram(truth_N, np.linspace(0, 1, 51), density=True)[0]
    error = np.sqrt(expected / 0.02 / len(truth_N)) + 0.02
    assert (np.abs(found.nz_BZ[0] - expected) < 4 * error).all()
    assert found.nz_BZ[0].sum() * 0.02 == pytest.approx(1)
    assert description["method"] == "stacked p(z) of mlp"
    assert description["bins"][0]["galaxies"] == 6000


def test_same_on_every_engine_and_for_any_partitioning(survey, ray_cluster, tmp_path):
    folder, _ = survey
    write_pdf_catalogue(str(tmp_path / "catalogue"), 6000, order=4)
    nz = {"bins": 3, "resamples": 20, "exclude_flags": ["MASKED_PIXELS"]}
    serial, description = summarize_nz(make_config(folder, engine={"name": "serial"}, nz=nz))
    assert description["selected_rows"] == sum(each["galaxies"] for each in description["bins"]) < 6000
    others = [make_config(folder, engine={"name": name}, nz=nz) for name in ("ray", "dask")]
    for config in (*others, make_config(tmp_path, engine={"name": "serial"}, nz=nz)):
        found, told = summarize_nz(config)
        assert told["bins"] == description["bins"]
        for name in ("nz_BZ", "error_BZ", "mean_error_B"):
            np.testing.assert_array_equal(getattr(found, name), getattr(serial, name))


def test_table_has_its_metadata(survey):
    folder, _ = survey
    config = make_config(folder, engine={"name": "serial"}, nz={"edges": [0.0, 0.2, 0.4], "resamples": 10})
    table = pq.read_table(write_nz(config, *summarize_nz(config)))
    assert table.column_names == ["tomographic_bin", "z", "nz", "nz_err"]
    told = json.loads(table.schema.metadata[METADATA])
    assert [each["tomographic_bin"] for each in told["bins"]] == [1, 2]
    assert told["bins"][1]["z_phot_high"] == 0.4
    values = table.to_pandas().groupby("tomographic_bin")["nz"].sum() * 0.01
    np.testing.assert_allclose(values, 1)
    assert (folder / "report" / "nz" / "nz.png").read_bytes().startswith(b"\x89PNG")


def test_catalogue_without_pdf_gives_a_histogram_and_says_so(tmp_path):
    sky = make_sky(500)
    z_phot = make_estimates(sky, scatter=0.02)
    write_photoz(str(tmp_path / "catalogue"), sky, z_phot)
    config = make_config(tmp_path, engine={"name": "serial"}, nz={"bins": 2, "step": 0.05})
    found, description = summarize_nz(config)
    assert "histogram of z_phot: the catalogue has no p(z)" in description["method"]
    assert found.count_B.sum() == np.isfinite(z_phot).sum()
    inside = z_phot[np.isfinite(z_phot) & (z_phot < np.median(z_phot[np.isfinite(z_phot)]))].astype(np.float32)
    expected = np.histogram(inside, np.linspace(0, 1, 21))[0]
    np.testing.assert_allclose(found.nz_BZ[0], expected / expected.sum() / 0.05, atol=20 / len(inside) / 0.5)


def test_empty_bins_and_few_galaxies_are_no_failure(tmp_path):
    sky = make_sky(3)
    write_photoz(str(tmp_path / "catalogue"), sky, np.array([0.1, 0.11, np.nan]))
    config = make_config(tmp_path, engine={"name": "serial"}, nz={"edges": [0.0, 0.5, 1.0], "resamples": 5})
    found, description = summarize_nz(config)
    assert found.count_B.tolist() == [2, 0]
    assert np.isnan(found.nz_BZ[1]).all()
    assert description["bins"][1]["mean_z"] is None
    write_nz(config, found, description)
    write_photoz(str(tmp_path / "catalogue"), sky, np.full(3, np.nan))
    none = msgspec.structs.replace(config, nz=msgspec.structs.replace(config.nz, edges=(), bins=2))
    write_nz(none, *summarize_nz(none))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"exclude_flags": ["BAD"]}, r"nz\.exclude_flags.*BAD"),
        ({"edges": [0.2, 0.1]}, r"nz\.edges"),
        ({"edges": [0.2]}, r"nz\.edges"),
        ({"bins": 0}, r"nz\.bins = 0"),
        ({"step": 0.0}, r"nz\.step"),
    ],
)
def test_settings_that_make_no_sense_are_errors(survey, values, text):
    with pytest.raises(ConfigError, match=text):
        summarize_nz(make_config(survey[0], engine={"name": "serial"}, nz=values))


def test_missing_catalogue_is_an_error(tmp_path):
    with pytest.raises(CatalogueError):
        summarize_nz(make_config(tmp_path, engine={"name": "serial"}))


def test_job_prints_bins_and_location(survey):
    folder, _ = survey
    names = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
    lines = "".join(f'{name} = "{folder / name}"\n' for name in names)
    (folder / "run.toml").write_text(f'[run]\nname = "n"\n[locations]\n{lines}[nz]\nresamples = 5\nbins = 2\n')
    command = [sys.executable, "jobs/summarize_nz.py", "--config", str(folder / "run.toml")]
    done = subprocess.run(
        [*command, "--set", "engine.name=serial"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "bin 2: z_phot" in done.stdout
    assert done.stdout.rstrip().endswith(f"n(z): {folder / 'report' / 'nz' / 'nz.parquet'}")
