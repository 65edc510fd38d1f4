import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from astropy.io import fits
from pdf_double import make_quantiles
from tiny_catalogues import Sky, make_config, make_estimates, make_sky, write_photoz, write_training_set

from photoz.catalogue.hats import list_partitions, locate_partition, locate_primary, read_partition, write_partition
from photoz.estimators.base import Estimates, Pdfs
from photoz.evaluate.conditions import read_conditions
from photoz.evaluate.evaluation import evaluate_catalogues
from photoz.evaluate.galaxies import Galaxies
from photoz.evaluate.systematics import (
    TileMeans,
    compute_chi_square,
    fit_trend,
    measure_systematics,
    scan_tiles,
)
from photoz.inference import make_table
from photoz.ingest.staging import METADATA_KEY, read_extinction, staged_location
from photoz.report import write_report

COUNT, TILES = 3000, 8


def name_tile(number: int) -> str:
    return f"KIDS_{number}.0_-0.5"


def make_header(seeing: float, noise: float) -> str:
    return fits.Header({"SEEING": round(seeing, 6), "SKYNOISE": noise}).tostring(sep="\n")


def make_means(mean, count=100.0, error=0.01) -> TileMeans:
    mean = np.asarray(mean, dtype=float)
    return TileMeans(np.full(len(mean), count), mean, np.full(len(mean), error))


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A catalogue with p(z) on eight tiles, whose z_phot grows by 0.1 per arcsec of seeing in r."""
    folder = tmp_path_factory.mktemp("systematics")
    sky = make_sky(COUNT)
    rng = np.random.default_rng(3)
    tile_N = rng.integers(TILES, size=COUNT)
    seeing = np.linspace(0.6, 0.9, TILES)
    z_phot = make_estimates(sky, scatter=0.02) + 0.1 * (seeing[tile_N] - 0.75)
    distance_N = rng.uniform(0, 1.2, COUNT).astype(np.float32)
    by_id = {str(name): i for i, name in enumerate(sky.object_id)}
    write_photoz(str(folder / "catalogue"), sky, z_phot)
    primary = locate_primary(str(folder / "catalogue"))
    for partition in list_partitions(str(folder / "catalogue")):
        rows = read_partition(str(folder / "catalogue"), partition)
        index = np.array([by_id[name] for name in rows["object_id"].to_pylist()])
        rows = rows.set_column(4, rows.schema.field("tile"), pa.array([name_tile(n) for n in tile_N[index]]))
        z_N = rows["z_phot"].to_numpy()
        pdf = Pdfs(make_quantiles(z_N).astype(np.float32), np.zeros_like(z_N), distance_N[index])
        table = make_table(rows, Estimates(z_N, rows["flags"].to_numpy(), pdf), algorithm="mlp")
        assert write_partition(primary, partition, table)[0] == len(rows)
        assert locate_partition(primary, partition)
    for number in range(TILES - 1):  # the last tile is not in the store
        headers = {band: make_header(seeing[number] + i, 1e-12 * (1 + i)) for i, band in enumerate("ugri")}
        group = zarr.create_group(store=str(folder / "tiles" / f"{name_tile(number)}.zarr"))
        group.attrs.update({"headers": headers})
        staged = staged_location(make_config(folder).locations.sources, name_tile(number))
        Path(staged).parent.mkdir(exist_ok=True)
        record = {METADATA_KEY: json.dumps({"extinction": 0.05 + 0.01 * number})}
        pq.write_table(pa.table({"object_id": ["a"]}).replace_schema_metadata(record), staged)
    split = np.where(rng.random(COUNT) < 0.4, "test", "train")
    write_training_set(str(folder / "training"), sky, split)
    return folder, sky, z_phot, tile_N, split == "test", distance_N


@pytest.fixture(scope="module")
def measured(survey):
    folder = survey[0]
    config = make_config(folder, evaluation={"resamples": 10})
    evaluation = evaluate_catalogues(config)
    return config, evaluation, measure_systematics(config, evaluation.results[0], evaluation.galaxies)


def test_means_by_tile_are_those_of_the_galaxies(survey, measured):
    _, sky, z_phot, tile_N, test_N, _ = survey
    scan = measured[2].scan
    assert scan.tiles == [name_tile(n) for n in range(TILES)]
    z_phot = z_phot.astype(np.float32).astype(float)
    dz = (z_phot - sky.z_spec.astype(np.float32)) / (1 + sky.z_spec.astype(np.float32))
    for number in range(TILES):
        inside = z_phot[(tile_N == number) & np.isfinite(z_phot)]
        assert scan.redshift.count[number] == len(inside)
        assert scan.redshift.mean[number] == pytest.approx(inside.mean())
        assert scan.redshift.error[number] == pytest.approx(inside.std(ddof=1) / len(inside) ** 0.5)
        tested = dz[(tile_N == number) & test_N & np.isfinite(dz)]
        assert scan.difference.count[number] == len(tested)
        assert scan.difference.mean[number] == pytest.approx(tested.mean(), abs=1e-6)


def test_a_trend_with_seeing_is_found_and_tiles_without_headers_are_left_out(measured):
    _, _, found = measured
    redshift, difference = found.trends["seeing in r [arcsec]"]
    assert redshift.tiles == difference.tiles == TILES - 1
    assert difference.slope == pytest.approx(0.1 / 1.23, abs=0.03)
    assert difference.significance > 3
    assert "seeing in u [arcsec]" in found.conditions.values


def test_depth_is_that_of_the_sky_noise_and_constant_depth_has_no_trend(measured):
    _, _, found = measured
    # 5 sigma in an aperture of 1 arcsec radius: pi / 0.2^2 = 78.5 pixels
    expected = -2.5 * math.log10(5 * 1e-12 * math.sqrt(math.pi / 0.04))
    assert found.conditions.values["5-sigma depth in u [mag]"][0] == pytest.approx(expected)
    assert "5-sigma depth in u [mag]" not in found.trends


def test_what_headers_do_not_say_is_told(survey):
    folder = survey[0]
    config = make_config(folder, evaluation={"seeing_key": "PSF_FWHM", "noise_key": ""})
    sections = (config.locations, config.survey, config.evaluation)
    conditions = read_conditions([name_tile(0), "nowhere"], *sections)
    assert list(conditions.values) == ["extinction in r [mag]"]
    assert "PSF_FWHM" in conditions.absent[0]
    assert "depth" in conditions.absent[1]
    assert read_conditions(["nowhere"], *sections).absent[2] == "ingest recorded no extinction"


def test_ingest_records_the_extinction(ready_survey, measured):
    assert measured[2].conditions.values["extinction in r [mag]"][3] == pytest.approx(0.08)
    recorded = [read_extinction(ready_survey.config.locations.sources, f"KIDS_{ra}_-0.5") for ra in ("180.0", "180.5")]
    assert all(0 < value < 1 for value in recorded)


def test_cuts_keep_the_nearest(survey, measured):
    _, _, z_phot, _, test_N, distance_N = survey
    cuts = measured[2].cuts
    known = test_N & np.isfinite(z_phot)
    assert cuts[0].metrics.count == known.sum()
    flagged = next(cut for cut in cuts if cut.largest == 1.0)
    assert flagged.metrics.count == (known & (distance_N <= 1)).sum() == pytest.approx(flagged.kept * known.sum())
    last = cuts[-1]
    assert (last.kept, last.metrics.count) == (0.5, (known & (distance_N <= last.largest)).sum())
    assert last.largest == pytest.approx(np.median(distance_N[known]), abs=1e-3)


def test_straight_line_and_its_jackknife_error():
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    line = fit_trend(x, make_means(0.3 - 0.2 * x))
    assert (line.slope, line.error) == pytest.approx((-0.2, 0), abs=1e-9)
    rng = np.random.default_rng(2)
    x = rng.normal(size=400)
    noisy = fit_trend(x, make_means(0.1 * x + rng.normal(0, 0.5, 400)))
    assert noisy.error == pytest.approx(0.5 / 20 / x.std(), rel=0.15)
    assert abs(noisy.slope - 0.1) < 4 * noisy.error


def test_a_galaxy_that_a_catalogue_holds_again_counts_once_and_at_its_first_row(tmp_path):
    """Within a partition and a tile as across them: its tile would else look more certain than it is."""
    sky = make_sky(60)
    again = np.concatenate([np.arange(60), np.arange(60), np.arange(30)])
    twice = Sky(*(values[again] for values in (sky.object_id, sky.ra, sky.dec, sky.z_spec, sky.mag, sky.colour)))
    z_phot = np.full(150, 0.3)
    distance_N = np.concatenate([np.full(60, 0.25), np.full(90, 0.75)]).astype(np.float32)
    pdf = Pdfs(make_quantiles(z_phot).astype(np.float32), np.zeros(150, np.float32), distance_N)
    write_photoz(str(tmp_path / "catalogue"), twice, z_phot, pdf=pdf)
    galaxies = Galaxies(pa.array(sky.object_id.tolist()), sky.z_spec, sky.mag, sky.colour, repeated=0)
    scan = scan_tiles(str(tmp_path / "catalogue"), galaxies, np.full(60, 0.3))
    dz = (0.3 - sky.z_spec) / (1 + sky.z_spec)
    assert scan.difference.count.sum() == 60
    assert scan.redshift.count.sum() == 150
    assert np.average(scan.difference.mean, weights=scan.difference.count) == pytest.approx(dz.mean())
    # Rows of one place keep their order, so that each galaxy's first row is one of the first 60.
    np.testing.assert_array_equal(scan.distance, np.full(60, 0.25))


def test_few_tiles_have_no_trend():
    assert math.isnan(fit_trend(np.array([1.0, 2.0, 3.0]), make_means([1, 2, 3])).slope)
    assert math.isnan(fit_trend(np.ones(9), make_means(np.arange(9))).significance)
    assert compute_chi_square(make_means([1.0]))[1] == 0


def test_chi_square_of_equal_and_unequal_tiles():
    assert compute_chi_square(make_means([0.1, 0.1, 0.1])) == pytest.approx((0, 2))
    assert compute_chi_square(make_means([0.0, 0.02], error=0.01))[0] == pytest.approx(2)


def test_report_shows_the_section(survey, measured):
    folder = survey[0]
    config, evaluation, _ = measured
    page = write_report(config, evaluation)
    text = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert page.endswith("index.html")
    assert "Redshifts and observing conditions" in text
    assert "seeing in r [arcsec]" in text
    assert "Accuracy against the cut in training distance" in text
    summary = json.loads((folder / "report" / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert set(summary["selection"]["mlp"]["tiles"]) == {name_tile(n) for n in range(TILES)}
    assert (folder / "report" / "figures" / "training-distance.png").exists()
