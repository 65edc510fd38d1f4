"""The one policy by which what failed is done again: after pauses of 1, 2, 4, ... 60 s, so many times."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, retry_if_result, stop_after_attempt, wait_exponential
from tenacity.retry import retry_base

from cluster.engines.base import Failure, Outcome, Result, Task
from photoz.storage import is_store_trouble

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 60.0
"""[s] between two attempts."""

Value = TypeVar("Value")


def make_policy(retries: int, *, when: retry_base, describe: Callable[[Any], str]) -> Retrying:
    """Make the policy: each attempt but the last is followed, where it failed, by a line in the log and a pause.

    Parameters
    ----------
    retries : int
        Attempts after the first.
    when : tenacity.retry.retry_base
        Tells a failure that another attempt may mend.
    describe : callable
        Says for the log what failed, given what was raised or returned.
    """

    def log(state: RetryCallState) -> None:
        outcome = state.outcome
        assert outcome is not None, "tenacity calls this after an attempt"
        # Of two kinds: `insist` tries again what raised, `run_passes` what came back with failures.
        failed = outcome.exception() if outcome.failed else outcome.result()
        logger.warning("%s; again in %.0f s", describe(failed), state.upcoming_sleep)

    return Retrying(
        stop=stop_after_attempt(retries + 1),
        # tenacity's own start and base give 1, 2, 4 ... s: 3 retries wait 7 s in all, 7 two minutes
        # (docs/object_store.md).
        wait=wait_exponential(max=LONGEST_PAUSE),
        retry=when,
        before_sleep=log,
        reraise=True,  # or what was raised would come wrapped in tenacity's RetryError, which no caller expects
    )


def insist(action: Callable[[], Value], retries: int, label: str) -> Value:
    """Do something that may be done twice, and again after a pause while a disk or store does not answer.

    Parameters
    ----------
    action : callable
        Called at most 1 + ``retries`` times.
    retries : int
    label : str
        What it is, for the log ("the run's record").

    Returns
    -------
    object
        What it returns; what it raises the last time, or that is no trouble of a store, passes.
    """

    def describe(error: Exception) -> str:
        return f"{label} failed ({type(error).__name__}: {error})"

    return make_policy(retries, when=retry_if_exception(is_store_trouble), describe=describe)(action)


def describe_fault(label: str, problem: str) -> str:
    """Say that tasks failed for an error in the program.

    Parameters
    ----------
    label : str
        What they are ("3 partitions").
    problem : str
        Of `cluster.engines.base.Failure`.
    """
    return (
        f"{label} could not be done for an error in the program itself, {problem}: it is the same however often it is "
        "tried, so please report this line, with what --verbose shows"
    )


def run_passes(
    run: Callable[[Sequence[Task], int], Iterator[Outcome[Result, Task]]],
    tasks: Sequence[Task],
    retries: int,
    describe: Callable[[Sequence[Failure[Task]]], str],
) -> Iterator[Outcome[Result, Task]]:
    """Run tasks, those that failed again when all others are through, and so on; faults of the program once.

    Parameters
    ----------
    run : callable
        Takes the tasks of a pass and its number, from 1 to 1 + ``retries``.
    tasks : sequence
    retries : int
    describe : callable
        Says what failed in a pass, for the log.

    Yields
    ------
    Outcome
        As they come, but the failures of a pass at its end.
    """
    policy = make_policy(retries, when=retry_if_result(bool), describe=describe)
    policy = policy.copy(retry_error_callback=lambda _: None)  # those that failed to the last have been yielded
    # Not in tenacity's own `with attempt`, which would swallow the exception that ends a generator.
    for attempt in policy:
        failures = []
        for outcome in run(tasks, attempt.retry_state.attempt_number):
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                yield outcome
        yield from failures
        # An error in the program raises the same each time, after pauses as if a store were away.
        failures = [failure for failure in failures if not failure.fault]
        tasks = [failure.task for failure in failures]
        # An empty list is false, and ends the loop.
        attempt.retry_state.set_result(failures)
