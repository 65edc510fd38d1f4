"""The training set: sources, spectra and tiles to Parquet."""

import shutil
from pathlib import Path
from unittest.mock import patch

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from conftest import ReadySurvey
from runs import change

from cluster.training.set import build_training_set, plan_set
from photoz.catalogue.hats import MARGIN, list_partitions, locate_partition, read_partition
from photoz.cutouts import extract_cutouts
from photoz.errors import TrainingError
from photoz.estimators.networks.preparation import PaperPreparation
from photoz.inputs import make_inputs
from photoz.schema import make_training_schema
from photoz.settings import config_to_dict
from photoz.settings.config import Config, convert_config
from photoz.storage import list_folder
from photoz.survey.spectra import read_redshifts
from photoz.tiles import open_tile
from photoz.training.photometric import read_sample
from photoz.training.set import _compute_key, compute_set_hash, plan_matching, read_split

ARCSEC = 1 / 3600


def adapt(config: Config, folder, **crossmatch) -> Config:
    """Return the settings with spectra and training set in a folder of this test."""
    values = config_to_dict(config)
    values["locations"] |= {"survey": str(folder), "training": str(folder / "training")}
    values["crossmatch"] |= crossmatch
    return convert_config(msgspec.json.decode(msgspec.json.encode(values)))


def read_sources(config: Config) -> pa.Table:
    location = config.locations.sources
    return pa.concat_tables([read_partition(location, part) for part in list_partitions(location)])


def write_spectra(config: Config, rows: list[dict[str, float]]) -> None:
    defaults = {"NQ": 4, "duplicate": 0}
    table = Table(rows=[{**defaults, **row} for row in rows], names=["RAcen", "Deccen", "Z", "NQ", "duplicate"])
    table.write(f"{config.locations.survey}/{config.crossmatch.file}", overwrite=True)


def spectra_of(sources: pa.Table, *, offset_arcsec: float = 0.3) -> list[dict[str, float]]:
    """Give every source a spectrum slightly beside it, its redshift following its number."""
    ra_N, dec_N = sources["ra"].to_numpy(), sources["dec"].to_numpy()
    return [
        {"RAcen": ra, "Deccen": dec + offset_arcsec * ARCSEC, "Z": 0.01 + 0.001 * i}
        for i, (ra, dec) in enumerate(zip(ra_N, dec_N, strict=True))
    ]


def read_set(config: Config) -> pa.Table:
    tables = [pq.read_table(part) for part in list_folder(f"{config.locations.training}/set", "part-*.parquet")]
    return pa.concat_tables([table.replace_schema_metadata(None) for table in tables])


def test_matched_galaxies_come_with_redshift_split_and_cutout(ready_survey: ReadySurvey, tmp_path):
    config = adapt(ready_survey.config, tmp_path)
    sources = read_sources(config)
    write_spectra(config, spectra_of(sources))
    summary = build_training_set(config)
    table = read_set(config)
    assert summary.matched == len(sources)
    assert summary.without_photometry == 3  # one a tile has no magnitude at all
    assert summary.rows == len(table) == len(sources) - summary.without_photometry - summary.without_image
    assert sum(summary.splits.values()) == len(table)
    assert table.schema.equals(make_training_schema(config.survey.bands, (4, 36, 36)))
    z_by_id = {name: 0.01 + 0.001 * i for i, name in enumerate(sources["object_id"].to_pylist())}
    expected = [z_by_id[name] for name in table["object_id"].to_pylist()]
    np.testing.assert_allclose(table["z_spec"].to_numpy(), expected, rtol=1e-6)
    inputs = make_inputs(table, config.survey.bands)
    tile = open_tile(config.locations.tiles, table["tile"][0].as_py())
    position = table["ra"].to_numpy()[:1], table["dec"].to_numpy()[:1]
    cutouts_NBYX, _ = extract_cutouts(tile, *position, 36, bands=config.survey.image_bands)
    np.testing.assert_array_equal(inputs.cutouts_NBYX[0], cutouts_NBYX[0])


def test_finished_parts_are_kept_and_remade_when_the_spectra_change(ready_survey: ReadySurvey, tmp_path):
    config = adapt(ready_survey.config, tmp_path)
    spectra = spectra_of(read_sources(config))
    write_spectra(config, spectra)
    first = build_training_set(config)
    parts = sorted((tmp_path / "training" / "set").glob("part-*.parquet"))
    (tmp_path / "training" / "set" / "part-1-0.parquet").write_bytes(parts[0].read_bytes())  # of another partitioning
    times = [part.stat().st_mtime_ns for part in parts]
    assert build_training_set(config) == first
    assert [part.stat().st_mtime_ns for part in parts] == times
    assert sorted((tmp_path / "training" / "set").glob("part-*.parquet")) == parts
    spectra[0]["Z"] = 0.5
    write_spectra(config, spectra)
    assert build_training_set(config).hash != first.hash
    assert [part.stat().st_mtime_ns == time for part, time in zip(parts, times, strict=True)].count(False) == 1


def test_only_reliable_redshifts_within_the_radius_are_used(ready_survey: ReadySurvey, tmp_path):
    config = adapt(ready_survey.config, tmp_path)
    sources = read_sources(config).slice(0, 20)
    rows = spectra_of(sources)
    rows[3]["NQ"], rows[4]["duplicate"], rows[5]["Z"] = 2, 1, 0.0
    rows[6]["Deccen"] += 3 * ARCSEC
    write_spectra(config, rows)
    build_training_set(config)
    names = sources["object_id"].to_pylist()
    assert not {names[3], names[4], names[5], names[6]} & set(read_set(config)["object_id"].to_pylist())


def test_sources_beyond_max_redshift_are_left_out_and_get_no_neighbours_redshift(
    ready_survey: ReadySurvey, tmp_path, caplog
):
    config = adapt(ready_survey.config, tmp_path)
    sources = read_sources(config).slice(0, 20)
    rows = spectra_of(sources)
    rows[3]["Z"] = 2.5
    # Farther from the source than its own, and within the radius.
    rows.append({**rows[3], "Deccen": rows[3]["Deccen"] + 0.4 * ARCSEC, "Z": 0.3})
    write_spectra(config, rows)
    whole = build_training_set(config)
    before = set(read_set(config)["object_id"].to_pylist())
    cut = adapt(config, tmp_path, max_redshift=2.0)
    with caplog.at_level("INFO"):
        assert build_training_set(cut).hash != whole.hash
    assert "1 of 21 spectra lie beyond crossmatch.max_redshift = 2" in caplog.text
    assert before - set(read_set(cut)["object_id"].to_pylist()) == {sources["object_id"][3].as_py()}
    assert build_training_set(config).hash == whole.hash
    none = adapt(config, tmp_path, max_redshift=0.002)
    with pytest.raises(TrainingError, match=r"crossmatch\.max_redshift = 0\.002 leaves some"):
        build_training_set(none)


def test_a_setting_that_is_not_set_changes_no_key(ready_survey: ReadySurvey, tmp_path):
    """So that sets which were made before there was max_redshift are not made again."""
    config = adapt(ready_survey.config, tmp_path)
    write_spectra(config, spectra_of(read_sources(config).slice(0, 20)))
    matching = plan_set(config)
    spectra = read_redshifts(config.locations.survey, config.crossmatch)
    task = plan_matching(matching, list_partitions(config.locations.sources), spectra)[0]
    with patch("photoz.training.set.compute_key", side_effect=lambda parts: parts["crossmatch"]):
        assert "max_redshift" not in _compute_key(matching, task)


def test_survey_and_spectra_that_do_not_overlap_are_refused(ready_survey: ReadySurvey, tmp_path):
    config = adapt(ready_survey.config, tmp_path)
    write_spectra(config, [{"RAcen": 10.0, "Deccen": 10.0, "Z": 0.2}])
    with pytest.raises(TrainingError, match="cover the same sky"):
        build_training_set(config)


def test_scaling_and_columns_come_from_the_training_split(ready_survey: ReadySurvey, tmp_path):
    config = adapt(ready_survey.config, tmp_path)
    write_spectra(config, spectra_of(read_sources(config)))
    build_training_set(config)
    sample = read_sample(config.locations.training, config.survey.bands)
    table = read_set(config)
    training = table.filter(pa.compute.equal(table["split"], "train"))
    magnitudes_NF = make_inputs(training, config.survey.bands).magnitudes.magnitudes_NF.astype(np.float64)
    np.testing.assert_array_equal(sample.magnitudes.magnitudes_NF, magnitudes_NF)
    scaling = PaperPreparation.fit(sample).scaling
    np.testing.assert_allclose(scaling.mean_F, np.nanmean(magnitudes_NF, axis=0))
    np.testing.assert_allclose(scaling.differences, np.nanmean(np.diff(magnitudes_NF, axis=1), axis=0))
    assert {tuple(part.column_names) for part in read_split(config.locations.training, "valid", ["z_spec"])} == {
        ("z_spec",)
    }
    assert compute_set_hash(config.locations.training) == compute_set_hash(config.locations.training)


def test_a_part_is_made_again_when_the_margin_around_it_changes(ready_survey: ReadySurvey, tmp_path):
    config = adapt(ready_survey.config, tmp_path)
    shutil.copytree(config.locations.sources, tmp_path / "sources")
    config = change(config, locations__sources=str(tmp_path / "sources"))
    write_spectra(config, spectra_of(read_sources(config)))
    first = build_training_set(config).hash
    partition = list_partitions(config.locations.sources)[0]
    location = Path(locate_partition(f"{config.locations.sources}/{MARGIN}", partition))
    location.parent.mkdir(parents=True, exist_ok=True)
    # A source of the margin that lies where one of the partition does takes its spectrum.
    own = read_partition(config.locations.sources, partition).slice(0, 1)
    pq.write_table(own.select(["ra", "dec"]), location)
    assert build_training_set(config).hash != first
