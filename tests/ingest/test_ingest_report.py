"""What is written and said of a whole ingest, and its exit status."""

from dataclasses import replace
from pathlib import Path

import pytest
from ingested import NAME, TILE, ingest, ingest_every, read_report, report, truncate
from tiny_survey import TinySurvey, make_config, write_survey

from photoz.settings.config import Config


@pytest.fixture
def survey(tmp_path: Path) -> TinySurvey:
    return write_survey(tmp_path, (TILE,))


def ingest_all(config: Config) -> int:
    return report(config, ingest_every(config))


def test_completeness_is_the_share_of_tiles_with_both_parts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    places = (TILE, "181.0_-0.5", "182.0_-0.5", "183.0_-0.5")
    survey = write_survey(tmp_path, places)
    ingest_all(survey.config)
    assert read_report(survey.config)["completeness"] == 1
    truncate(survey.path(places[0], "ugriZYJHKs_cat"))
    assert ingest_all(survey.config) == 0  # the default asks for nothing
    assert read_report(survey.config)["completeness"] == 3 / 4
    truncate(survey.path(places[1], "r_sci"))
    survey.path(places[2], "ugriZYJHKs_cat").unlink()
    for least, status in ((0.25, 0), (0.26, 1), (1.0, 1)):
        caplog.clear()
        assert ingest_all(make_config(tmp_path, ingest={"min_completeness": least})) == status
        told = read_report(survey.config)
        assert (told["completeness"], told["counts"]["skipped"], told["counts"]["failed"]) == (1 / 4, 1, 3)
        below = f"completeness 0.2500 is below ingest.min_completeness = {least}"
        assert (below in caplog.text) == bool(status)
        assert caplog.messages[-1].endswith("completeness 0.2500")


def test_no_tile_with_images_is_an_error_whatever_is_asked_for(survey: TinySurvey) -> None:
    truncate(survey.path(TILE, "g_sci"))
    assert ingest_all(survey.config) == 1
    assert read_report(survey.config)["completeness"] == 0


def test_report_names_failures_and_counts(survey: TinySurvey, caplog: pytest.LogCaptureFixture) -> None:
    good = ingest(survey.config)
    truncate(survey.path(TILE, "g_sci"))
    bad = replace(ingest(survey.config), tile="KIDS_other")
    assert report(survey.config, [good, bad]) == 0
    assert "g_sci.fits is truncated" in caplog.text
    told = read_report(survey.config)
    assert told["counts"] == {"done": 1, "skipped": 0, "failed": 1}
    assert [row["tile"] for row in told["tiles"]] == [NAME, "KIDS_other"]
    assert report(survey.config, [bad]) == 1
