"""The one policy: how often what failed is done again, after which pauses, and what is told of it."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest

from cluster.engines.base import Failure, Lost, Outcome, Success
from cluster.engines.retries import insist, run_passes


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def fail(tasks: Sequence[str], number: int) -> Iterator[Outcome[str, str]]:
    """Fail each task but in the pass that its name tells."""
    for task in tasks:
        yield Success(f"{task} done") if int(task) <= number else Failure(task, "not yet")
    yield Lost(number)


def describe(failures: Sequence[Failure[str]]) -> str:
    return f"{len(failures)} failed, {failures[0].task} first"


def test_what_failed_comes_at_the_end_of_its_pass_and_is_tried_again(
    pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    found = list(run_passes(fail, ["2", "1", "3"], 2, describe))
    assert found == [
        Success("1 done"), Lost(1), Failure("2", "not yet"), Failure("3", "not yet"),
        Success("2 done"), Lost(2), Failure("3", "not yet"),
        Success("3 done"), Lost(3),
    ]  # fmt: skip
    assert pauses == [1.0, 2.0]
    assert caplog.messages == ["2 failed, 2 first; again in 1 s", "1 failed, 3 first; again in 2 s"]


def test_a_fault_of_the_program_is_not_tried_again(pauses: list[float]) -> None:
    def run(tasks: Sequence[str], number: int) -> Iterator[Outcome[str, str]]:
        yield from (Failure.of(task, KeyError(task) if task == "a" else OSError(task)) for task in tasks)

    found = [(outcome.task, outcome.fault) for outcome in run_passes(run, ["a", "b"], 1, describe)]
    assert found == [("a", True), ("b", False), ("b", False)]
    assert pauses == [1.0]


def test_only_faults_of_the_program_are_that() -> None:
    for error in (KeyError("x"), TypeError("x"), AttributeError("x"), NotImplementedError("x"), IndexError("x")):
        assert Failure.of(1, error).fault
    for passing in (OSError(5, "x"), TimeoutError("x"), RuntimeError("CUDA error"), pa.ArrowInvalid("x")):
        assert Failure.of(1, passing) == Failure(1, f"{type(passing).__name__}: {passing}")


def test_what_fails_to_the_last_is_no_error_of_the_passes(pauses: list[float]) -> None:
    assert list(run_passes(fail, ["9"], 1, describe)) == [
        Lost(1),
        Failure("9", "not yet"),
        Lost(2),
        Failure("9", "not yet"),
    ]
    assert pauses == [1.0]


def test_passes_end_when_nobody_takes_their_outcomes(pauses: list[float]) -> None:
    outcomes = run_passes(fail, ["2", "1"], 5, describe)
    assert next(outcomes) == Success("1 done")
    outcomes.close()
    assert pauses == []


def test_pauses_double_up_to_a_minute(pauses: list[float]) -> None:
    def ask() -> None:
        raise TimeoutError("no answer")

    with pytest.raises(TimeoutError, match="no answer"):
        insist(ask, 8, "the record")
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_nothing_is_asked_twice_where_nothing_may_be_tried_again(pauses: list[float]) -> None:
    assert list(run_passes(fail, ["2"], 0, describe)) == [Lost(1), Failure("2", "not yet")]
    assert pauses == []
