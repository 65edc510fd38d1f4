"""Test galaxies to look at: which, and what is read of them."""

from pathlib import Path

import numpy as np
import pytest
from tiny_catalogues import Sky, make_config, make_pdfs, make_sky, write_photoz, write_training_set
from tiny_survey import make_wcs

from photoz.evaluate.calibration import stack_pdfs
from photoz.evaluate.evaluation import Accuracy, evaluate_catalogues
from photoz.evaluate.examples import EACH, Kind, choose_shown, read_shown
from photoz.evaluate.scan import Z_EDGES
from photoz.schema import LEVELS
from photoz.tiles import TileTemplate, TileWriter
from photoz.tiles.settings import Tiles

SIDE, STEP = 64, 0.2 / 3600  # [pixel, deg]


def test_each_kind_has_its_galaxies_and_none_is_shown_twice() -> None:
    z_spec = np.full(100, 0.3)
    z_phot = z_spec + 0.001 * np.arange(100) * np.where(np.arange(100) % 2, 1, -1)
    z_phot[99] = np.nan
    flags = np.zeros(100, np.int64)
    flags[[0, 50, 99]] = 1
    chosen = choose_shown(z_phot, z_spec, flags, seed=1)
    rows = {kind: [row for own, row in chosen if own is kind] for kind in Kind}
    assert rows[Kind.BEST] == [0, 1, 2]
    assert rows[Kind.WORST] == [98, 97, 96]
    assert sorted(rows[Kind.TYPICAL]) == [48, 49, 50]
    assert rows[Kind.FLAGGED] == [99]  # the others are shown already; without a redshift all the same
    assert [kind for kind, _ in chosen] == sorted((kind for kind, _ in chosen), key=list(Kind).index)


def test_few_galaxies_are_shared_among_the_kinds_and_none_give_none() -> None:
    some = np.array([0.1, 0.2, 0.4])
    chosen = choose_shown(some, np.array([0.1, 0.25, 0.3]), np.zeros(3, np.int64), seed=1)
    assert [str(kind) for kind, _ in chosen] == ["best", "typical", "worst"]
    assert choose_shown(np.full(3, np.nan), some, np.zeros(3, np.int64), seed=1) == []


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sky, Accuracy]:
    """Two catalogues, the second without some galaxies, and a tile with a source at each galaxy's place."""
    folder = tmp_path_factory.mktemp("shown")
    reach = 0.4 * SIDE * STEP
    sky = make_sky(300, box=(180.0 - reach, 180.0 + reach, -0.5 - reach, -0.5 + reach))
    z_phot, pdf = make_pdfs(sky, width=0.02, claimed=0.02)
    write_photoz(str(folder / "mlp"), sky, z_phot, pdf=pdf, algorithm="mlp")
    kept = np.arange(300) >= 150
    few = Sky(*(getattr(sky, name)[kept] for name in ("object_id", "ra", "dec", "z_spec", "mag", "colour")))
    write_photoz(str(folder / "knn"), few, z_phot[kept])
    write_training_set(str(folder / "training"), sky, np.full(300, "test"))
    write_tile(folder / "tiles")
    catalogues = {"mlp": str(folder / "mlp"), "knn": str(folder / "knn")}
    config = make_config(folder, evaluation={"catalogues": catalogues, "resamples": 0})
    return folder, sky, evaluate_catalogues(config)


def write_tile(folder: Path) -> None:
    """Write a tile in which each pixel of a band holds its column, and a hundred times the band's number."""
    image = np.stack([np.tile(np.arange(SIDE, dtype=np.float32) + 100 * band, (SIDE, 1)) for band in range(4)])
    writer = TileWriter(
        str(folder), TileTemplate("KIDS_180.0_-0.5", ("u", "g", "r", "i"), (SIDE, SIDE)), Tiles(chunk=16, shard=64)
    )
    writer.write_rows(0, {"image": image, "mask": np.zeros((SIDE, SIDE), np.uint8)})
    wcs = make_wcs(180.0, -0.5, (SIDE, SIDE))
    writer.finish({"wcs": wcs.to_header().tostring(sep="\n"), "checksum": "x"})


def test_what_is_shown_is_that_of_the_catalogues_and_the_tiles(survey: tuple[Path, Sky, Accuracy]) -> None:
    folder, sky, accuracy = survey
    shown = read_shown(accuracy, str(folder / "tiles"), ("u", "g", "r", "i"), size=8, seed=1)
    assert len(shown) == 4 * EACH == len(set(shown.object_id))
    place = [sky.object_id.tolist().index(name) for name in shown.object_id]
    np.testing.assert_allclose(shown.z_spec_K, sky.z_spec[place])
    np.testing.assert_allclose(shown.ra_K, sky.ra[place])
    assert (shown.flags_K[[kind is Kind.FLAGGED for kind in shown.kinds]] != 0).all()
    # p(z) of the first alone, its median at the redshift that it was drawn around.
    assert list(shown.quantiles) == ["mlp"]
    known = np.isfinite(shown.z_phot["mlp"])
    np.testing.assert_allclose(
        shown.quantiles["mlp"][known, LEVELS.index(0.5)], np.maximum(shown.z_phot["mlp"][known], 0), atol=2e-4
    )
    assert np.isnan(shown.z_phot["knn"][np.array(place) < 150]).all()
    # i, r and g are bands 3, 2 and 1; the column at the middle of a cutout is that of the galaxy.
    assert shown.bands == ("i", "r", "g")
    assert shown.images_KBYX is not None
    middle_KB = shown.images_KBYX[:, :, 4, 4]
    np.testing.assert_array_equal(middle_KB // 100, np.tile([3, 2, 1], (len(shown), 1)))
    x, _ = make_wcs(180.0, -0.5, (SIDE, SIDE)).all_world2pix(shown.ra_K, shown.dec_K, 0)
    np.testing.assert_allclose(middle_KB[:, 0] % 100, np.floor(x + 0.5))


@pytest.mark.parametrize("tiles", ["", "nowhere"])
def test_without_a_tile_store_there_are_no_images(
    survey: tuple[Path, Sky, Accuracy], tmp_path: Path, tiles: str, caplog: pytest.LogCaptureFixture
) -> None:
    shown = read_shown(survey[2], tiles and str(tmp_path / tiles), ("g", "r", "i"), size=8, seed=1)
    assert (shown.bands, shown.images_KBYX) == ((), None)
    assert caplog.messages == []


def test_stacked_p_z_adds_up_to_the_galaxies_with_one(survey: tuple[Path, Sky, Accuracy]) -> None:
    first, second = survey[2].results
    assert first.calibration is not None
    assert second.calibration is None
    stack = first.calibration.stack_Z
    assert stack.sum() == pytest.approx(299, abs=1e-3)  # all but one have p(z)
    middle = 0.5 * (Z_EDGES[1:] + Z_EDGES[:-1])
    assert np.average(middle, weights=stack) == pytest.approx(np.nanmean(first.scan.z_phot), abs=0.005)
    assert stack_pdfs(np.full((3, len(LEVELS)), np.nan), Z_EDGES).sum() == 0
