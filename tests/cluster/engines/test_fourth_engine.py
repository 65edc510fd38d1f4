"""An engine that is one file and one line in the list of engines does all that those do that came with us."""

from pathlib import Path

import pytest
from conftest import ReadySurvey
from ingested import choose
from runs import assert_same_rows, change, read_all

from cluster.engines.choose import ENGINES
from cluster.inference.run import infer_catalogue
from photoz.errors import ConfigError


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(ENGINES, "processes", "process_engine:ProcessEngine")
    return "processes"


def test_a_fourth_engine_gives_the_same_catalogue(
    ready_survey: ReadySurvey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=":")  # where the engine itself lies
    catalogues = []
    for engine in ("serial", processes):
        config = change(ready_survey.config, engine__name=engine, locations__catalogue=str(tmp_path / engine))
        record = infer_catalogue(config)
        assert record.this_run.partitions == record.partitions > 2
        catalogues.append(read_all(config.locations.catalogue))
    assert_same_rows(catalogues[1], catalogues[0])


def test_an_unknown_engine_is_refused_with_the_names_of_all(ready_survey: ReadySurvey, processes: str) -> None:
    with pytest.raises(ConfigError, match=r"'spark' is no engine: choose one of serial, ray, dask, processes"):
        choose(change(ready_survey.config, engine__name="spark"))
    assert choose(change(ready_survey.config, engine__name=processes)).settings.name == processes
