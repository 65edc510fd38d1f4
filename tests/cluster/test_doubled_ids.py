"""Sources that two tiles' catalogues list: the audit says so, and what it says to do about it helps."""

from pathlib import Path

import numpy as np
from conftest import save_untrained
from runs import change, list_bright, read_all
from tiny_survey import TinySurvey, make_config, write_catalogue, write_survey

from cluster.audit import audit_catalogue
from cluster.inference.run import infer_catalogue
from cluster.ingest import ingest_survey
from photoz.audit import AuditReport
from photoz.settings.config import Config

FIRST, SECOND = "180.0_-0.5", "180.1_-0.5"


def run(config: Config) -> AuditReport:
    assert ingest_survey(config) == 0
    infer_catalogue(config)
    return audit_catalogue(config)


def overlap(survey: TinySurvey) -> None:
    """Have the second tile list ten sources of the first again, under the same identifiers."""
    first, second = survey.catalogues[FIRST], survey.catalogues[SECOND]
    for name in ("ID", "RAJ2000", "DECJ2000", "MAG_AUTO"):
        second[name][:10] = first[name][:10]
    second["OWN"] = [f"{SECOND} {row}" for row in range(len(second))]
    first["OWN"] = [f"{FIRST} {row}" for row in range(len(first))]
    for tile, table in survey.catalogues.items():
        write_catalogue(survey.path(tile, "ugriZYJHKs_cat"), table)


def test_the_remedy_for_sources_that_come_twice_helps(tmp_path: Path) -> None:
    survey = write_survey(tmp_path, (FIRST, SECOND), shape=(30, 30), count=20)
    overlap(survey)
    settings = {"engine": {"name": "serial"}, "inference": {"estimator": "photometry"}}
    config = make_config(tmp_path, **settings)
    save_untrained(config, "photometry")
    report = run(config)
    [finding] = report.findings
    assert (finding.check, finding.count) == ("duplicate ids", 10)
    assert "leave each of these sources out of all catalogues but one of the survey" in finding.remedy
    assert "or name a column in which they differ (survey.columns.object_id" in finding.remedy
    # The one way: a column in which they differ.
    elsewhere = {name: str(tmp_path / "own" / name) for name in ("tiles", "sources", "catalogue")}
    places = {f"locations__{name}": place for name, place in elsewhere.items()}
    own = change(config, survey__columns={"object_id": "OWN"}, **places)
    assert run(own).clean
    # The other: out of all catalogues but one.
    survey.catalogues[SECOND] = survey.catalogues[SECOND][np.arange(20) >= 10]
    write_catalogue(survey.path(SECOND, "ugriZYJHKs_cat"), survey.catalogues[SECOND])
    assert run(config).clean
    assert set(read_all(config.locations.catalogue)["object_id"].to_pylist()) == list_bright(survey)
