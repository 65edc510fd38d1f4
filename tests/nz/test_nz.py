import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pdf_double import SPREAD, make_quantiles
from tiny_catalogues import make_config, make_estimates, make_sky, write_photoz

from cluster.nz import summarize_nz
from photoz.catalogue.hats import PRIMARY, Partition, finish_catalogue, finish_collection, write_partition
from photoz.errors import CatalogueError, ConfigError
from photoz.estimators.base import Estimates, Pdfs
from photoz.inference import make_table
from photoz.report.nz import METADATA, locate_nz, write_nz

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


def test_stack_is_the_true_distribution(survey):
    folder, truth_N = survey
    found, description = summarize_nz(make_config(folder, engine={"name": "serial"}, nz={"bins": 1, "step": 0.02}))
    expected = np.histogram(truth_N, np.linspace(0, 1, 51), density=True)[0]
    error = np.sqrt(expected / 0.02 / len(truth_N)) + 0.02
    assert (np.abs(found.nz_BZ[0] - expected) < 4 * error).all()
    assert found.nz_BZ[0].sum() * 0.02 == pytest.approx(1)
    assert description.method == "stacked p(z) of mlp"
    assert description.bins[0].galaxies == 6000


def test_same_on_every_engine_and_for_any_partitioning(survey, ray_cluster, tmp_path):
    folder, _ = survey
    write_pdf_catalogue(str(tmp_path / "catalogue"), 6000, order=4)
    nz = {"bins": 3, "resamples": 20, "exclude_flags": ["MASKED_PIXELS"]}
    serial, description = summarize_nz(make_config(folder, engine={"name": "serial"}, nz=nz))
    assert description.selected_rows == sum(each.galaxies for each in description.bins) < 6000
    others = [make_config(folder, engine={"name": name}, nz=nz) for name in ("ray", "dask")]
    for config in (*others, make_config(tmp_path, engine={"name": "serial"}, nz=nz)):
        found, told = summarize_nz(config)
        assert told.bins == description.bins
        for name in ("nz_BZ", "error_BZ", "mean_error_B"):
            np.testing.assert_array_equal(getattr(found, name), getattr(serial, name))


def test_table_has_its_metadata(survey):
    folder, _ = survey
    config = make_config(folder, engine={"name": "serial"}, nz={"edges": [0.0, 0.2, 0.4], "resamples": 10})
    table = pq.read_table(write_nz(locate_nz(config.nz, config.locations.report), *summarize_nz(config)))
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
    assert "histogram of z_phot: the catalogue has no p(z)" in description.method
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
    assert description.bins[1].mean_z is None
    write_nz(locate_nz(config.nz, config.locations.report), found, description)
    write_photoz(str(tmp_path / "catalogue"), sky, np.full(3, np.nan))
    none = msgspec.structs.replace(config, nz=msgspec.structs.replace(config.nz, edges=(), bins=2))
    write_nz(locate_nz(none.nz, none.locations.report), *summarize_nz(none))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"exclude_flags": ["BAD"]}, r"nz\.exclude_flags.*BAD"),
        ({"edges": [0.2, 0.1]}, r"nz\.edges"),
        ({"edges": [0.2]}, r"nz\.edges"),
        ({"bins": 0}, r"nz\.bins"),
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


def test_a_flag_named_twice_leaves_out_what_it_does_once(survey):
    once, twice = (
        summarize_nz(make_config(survey[0], engine={"name": "serial"}, nz={"exclude_flags": ["MASKED_PIXELS"] * times}))
        for times in (1, 2)
    )
    assert once[1].selected_rows == twice[1].selected_rows
