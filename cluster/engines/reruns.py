"""How often Ray began a piece of work: it begins again, unasked, what a lost worker or node had.

Ray tells that only to its dashboard, which keeps a limited number of tasks, and an actor of Ray Data cannot learn which
attempt it is at: its calls run in another thread than Ray's own. This module imports nothing heavy: the count has a
process of its own.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MOST_RERUNS = 3
"""Times that a stage may begin again because its worker was lost, as with Dask (`allowed-failures`)."""


class Begun:
    """Count how often each stage of each partition has begun."""

    def __init__(self) -> None:
        self._times = Counter[tuple[str, str]]()

    def begin(self, stage: str, partition: str) -> int:
        """Note that a stage begins, and return how often it had begun before."""
        self._times[stage, partition] += 1
        return self._times[stage, partition] - 1


@contextmanager
def counting() -> Iterator[Any]:
    """Run a `Begun` as an actor on the driver's node for the time of the block, so that it lives as long as the work.

    It is killed at the end: Ray keeps an actor whose handle has gone into a dataset's functions.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Not soft: Ray puts an actor that needs no resources on any node, unless it must be on this one (seen with 2.60),
    # and with a node that dies the counts would go.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # No CPU, which the stages would lack. Restarts and calls without limit: a call that failed would fail its stage. An
    # actor that is restarted counts from 0 again, so a stage may begin more often than `MOST_RERUNS`.
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    begun = ray.remote(Begun).options(**options).remote()
    try:
        yield begun
    finally:
        if ray.is_initialized():  # or this would start Ray anew
            ray.kill(begun)


def begin(begun: Any, stage: str, partition: str) -> int:
    """Note in the actor that a stage begins, and return how often it had begun before.

    Parameters
    ----------
    begun : ray.actor.ActorHandle
        Of a `Begun`, from `counting`.
    stage, partition : str
        What begins.

    Raises
    ------
    RuntimeError
        That is more than `MOST_RERUNS` times: it may be what kills the workers, and Ray Data would begin it for ever.
        Of partitions that share one of Ray Data's blocks, the first that begins again is told.
    """
    import ray

    times = int(ray.get(begun.begin.remote(stage, partition)))
    if times > MOST_RERUNS:
        raise RuntimeError(f"{stage} of {partition} has begun {times} times, and its worker was lost each time")
    return times
