"""How threads wait for each other: a short while spinning, then asleep."""

import os

_SPINS = "2000"  # of libgomp's loop, whose default is 300,000


def choose_waiting() -> dict[str, str]:
    """Choose the environment of processes whose threads share a network's layers: the user's, where one is set.

    Spinning, threads take the processor from whoever else is on it, and from those that they wait for: a network on two
    threads then runs at a third of its rate. Asleep at once, they cost idle cores a third of a training's rate
    (docs/benchmarks/forward.md, "Shared cores").
    """
    own = {name: os.environ[name] for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}
    return own or {"GOMP_SPINCOUNT": _SPINS}
