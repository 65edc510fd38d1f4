"""Settings that fit no tile are told before any work; one bad file blames itself."""

from pathlib import Path
from typing import Any

import pytest
from ingested import check, ingest, truncate
from tiny_survey import TinySurvey, make_config, write_survey

from photoz.errors import ConfigError, SurveyFileError

TILE = "180.0_-0.5"
NAME = f"KIDS_{TILE}"
SHAPE = (200, 240)
FRAME9 = Path(__file__).parents[3] / "shared/data/frame9"


@pytest.fixture
def survey(tmp_path: Path) -> TinySurvey:
    return write_survey(tmp_path, (TILE,))


def test_fitting_settings_pass(survey: TinySurvey) -> None:
    check(survey.config)


def test_one_bad_tile_does_not_stop_the_run(tmp_path: Path) -> None:
    survey = write_survey(tmp_path, (TILE, "181.0_-0.5"))
    truncate(survey.path(TILE, "u_sci"))
    truncate(survey.path("181.0_-0.5", "ugriZYJHKs_cat"))
    check(survey.config)


@pytest.mark.parametrize(
    ("sections", "error", "match"),
    [
        ({"survey": {"pixel_scale": 0.3}}, SurveyFileError, r"0\.2000 arcsec/pixel and survey\.pixel_scale is 0\.3000"),
        ({"survey": {"image_bands": ["u", "Ks"]}}, ConfigError, r"no tile has an image of band 'Ks'"),
        ({"survey": {"bands": ["u", "g", "r", "i", "w"]}}, SurveyFileError, r"lacks the column MAG_GAAP_w"),
        ({"survey": {"columns": {"ra": "RA"}}}, SurveyFileError, r"lacks the column RA \(survey\.columns\.ra\)"),
        ({"selection": {"bright_sample": "bright.fits"}}, SurveyFileError, r"bright\.fits is missing"),
    ],
)
def test_settings_that_fit_no_tile_are_told_before_any_work(
    survey: TinySurvey, tmp_path: Path, sections: dict[str, Any], error: type[Exception], match: str
) -> None:
    config = make_config(tmp_path, **sections)
    with pytest.raises(error, match=match):
        check(config)
    assert not (tmp_path / "tiles").exists()


@pytest.mark.skipif(not FRAME9.exists(), reason="../shared/data/frame9 with real images is not there")
def test_real_frame_without_wcs_is_refused(tmp_path: Path) -> None:
    naming = {"tile": "frame9", "image_file": "{band}.fits", "mask_file": "", "catalogue_file": "none.fits"}
    config = make_config(tmp_path, survey=naming, locations={"survey": str(FRAME9)})
    with pytest.raises(SurveyFileError, match=r"u\.fits has no celestial WCS"):
        check(config)
    result = ingest(config)
    assert "u.fits has no celestial WCS" in result.problem
    assert "the catalogue none.fits is missing" in result.problem
