"""What spreads the work.

Its owner is `cluster`, which photoz must not import; as a section of `Config` it stands here.
"""

from photoz.settings.base import Count, NotNegative, Positive, Settings, Whole


class EngineSettings(Settings, frozen=True):
    """What spreads the work."""

    name: str = "ray"
    """One of `cluster.engines.choose.ENGINES`."""
    address: str = ""
    """Of a running cluster; "" joins the Ray cluster that the job runs in, or starts a local one."""
    workers: Count = 2
    """Tasks at one time, or worker processes of a local Dask cluster; in Ray inference, tasks that read tiles."""
    estimators: Count = 1
    """Actors that hold the network (Ray inference). On CPUs one a core, with ``inference.threads`` = 1, does more than
    one with all cores, whose threads wait for each other where others run too (docs/benchmarks/reading.md)."""
    cpus_per_estimator: NotNegative = 1.0
    gpus_per_estimator: NotNegative = 0.0
    memory_gib: Positive = 2.0
    """[GiB] a worker may take."""
    retries: Whole = 3
    """Times a failed partition or task is tried again, with growing pauses. The store's own client tries again within
    each; see its options under ``storage``."""
    most_workers: Whole = 0
    """Let a local Dask cluster grow from ``workers`` to this many processes as work waits; 0 keeps it as it is."""
    most_cpus: NotNegative = 0.0
    """CPUs that an autoscaler may let the Ray cluster have, and it does not tell: a job that would need more is refused
    before it waits for ever. 0: the cluster stays as it is."""
    most_gpus: NotNegative = 0.0
    """As ``most_cpus``, of GPUs."""
