"""Progress of a long computation in the log, and that fits tell it without being changed by it."""

import logging
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from photoz import telemetry
from photoz.estimators.photometric.base import Sample
from photoz.estimators.registry import load_class
from photoz.photometry import compute_fluxes_from_magnitudes
from photoz.telemetry import Progress

BANDS = ("g", "r", "i")
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"members": 2, "hidden": (8,), "components": 2, "least_steps": 20, "most_steps": 20},
    "boosted": {"max_trees": 15},
    "annz": {"members": 2, "kept": 1, "max_epochs": 2},
    "fcnn": {"max_epochs": 2},
}


def draw_sample(rows: int = 200) -> Sample:
    rng = np.random.default_rng(1)
    z_N = rng.uniform(0.1, 0.5, rows)
    magnitudes_NF = 20 + np.outer(z_N, [3.0, 2.0, 1.0]) + rng.normal(0, 0.05, (rows, 3))
    return Sample(BANDS, *compute_fluxes_from_magnitudes(magnitudes_NF, np.full((rows, 3), 0.05)), z_N)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until its only entry is changed."""
    now = [0.0]
    monkeypatch.setattr(telemetry, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_line_every_few_seconds_with_the_time_left(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = Progress(logging.getLogger("photoz.some"), "some: step", 100)
    for done, now in ((1, 4.9), (10, 10.0), (11, 14.9), (50, 20.0)):
        clock[0] = now
        progress.tell(done)
    assert [record.getMessage() for record in caplog.records] == [
        "some: step 10 of 100, 10 s so far, 90 s left at most",
        "some: step 50 of 100, 20 s so far, 20 s left at most",
    ]


def test_what_is_over_soon_says_nothing(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Progress(logging.getLogger("photoz.some"), "some: step", 2).tell(1)
    assert caplog.records == []


@pytest.mark.parametrize("name", SMALL)
def test_fits_tell_how_far_they_are_and_come_out_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kind: Any = load_class(name)
    quiet = kind.fit(draw_sample(), seed=3, **SMALL[name])
    monkeypatch.setattr(telemetry, "_SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level(logging.INFO)
    telling = kind.fit(draw_sample(), seed=3, **SMALL[name])
    lines = [record.getMessage() for record in caplog.records]
    assert sum(bool(re.match(rf"{name}: .*\d+ of \d+, \d+ s so far", line)) for line in lines) >= 2
    if name == "annz":
        assert any("member 2 of 2: step" in line for line in lines)
    assert quiet.parts.texts == telling.parts.texts
    for key, values in quiet.parts.arrays.items():
        np.testing.assert_array_equal(values, telling.parts.arrays[key])
