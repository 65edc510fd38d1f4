"""Other surveys' files to a photo-z catalogue, by the settings that are shipped for each."""

import numpy as np
import pytest
from conftest import save_untrained
from made_images import EXTINCTION, SHAPE, WRITERS, MadeSurvey
from runs import read_all

from cluster.inference.run import infer_catalogue
from cluster.ingest import ingest_survey
from photoz.schema import NO_IMAGE, Flag
from photoz.tiles import open_tile


@pytest.fixture(scope="module", params=sorted(WRITERS))
def survey(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MadeSurvey:
    """A small survey in one release's files, ingested."""
    made = WRITERS[request.param](tmp_path_factory.mktemp(request.param))
    assert ingest_survey(made.config) == 0
    return made


def test_the_store_holds_the_scene_in_one_unit_and_the_masks_that_count(survey: MadeSurvey) -> None:
    for number, name in enumerate(survey.tiles):
        tile, (pixels, mask) = open_tile(survey.config.locations.tiles, name), survey.expect(number)
        assert tile.bands == survey.config.survey.image_bands
        found = tile.read_window(0, SHAPE[0], 0, SHAPE[1])
        # Rubin's zero point is given as 31.4, and nJy is 31.40006.
        np.testing.assert_allclose(found, pixels, rtol=1e-4, atol=np.abs(pixels).max() * 1e-7)
        np.testing.assert_array_equal(tile.read_mask_window(0, SHAPE[0], 0, SHAPE[1]), mask)


def test_each_source_comes_once_with_the_tile_that_holds_it_best(survey: MadeSurvey) -> None:
    rows = read_all(survey.config.locations.sources).to_pylist()
    expected = dict(zip(survey.object_ids, survey.scene.best, strict=True))
    # The one that lies on no tile is in catalogues of many tiles alone.
    names = (*survey.tiles, "")
    wanted = {name: names[number] for name, number in expected.items()}
    if "" not in {row["tile"] for row in rows}:
        wanted = {name: tile for name, tile in wanted.items() if tile}
    assert {row["object_id"]: row["tile"] for row in rows} == wanted
    assert len(rows) == len(wanted)
    truth = dict(zip(survey.object_ids, survey.scene.fluxes * 10 ** (0.4 * EXTINCTION), strict=True))
    for row in rows:
        assert row["flux_r"] == pytest.approx(truth[row["object_id"]], rel=1e-3)


def test_redshifts_are_estimated_with_the_images(survey: MadeSurvey) -> None:
    save_untrained(survey.config, "hybrid")
    record = infer_catalogue(survey.config)
    rows = read_all(survey.config.locations.catalogue)
    flags, tiles = rows["flags"].to_numpy(), np.array(rows["tile"].to_pylist())
    assert record.rows == len(rows)
    assert np.isfinite(rows["z_phot"].to_numpy()).all()
    np.testing.assert_array_equal((flags & NO_IMAGE) != 0, tiles == "")
    assert ((flags & Flag.NO_TILE) != 0).sum() == (tiles == "").sum()
