"""The audit of a catalogue spread over an engine: one task a partition, then one a bucket of ids."""

from functools import partial
from typing import Any

from cluster.engines.choose import open_engine
from cluster.engines.tasks import run_tasks
from photoz.audit import audit_ids, audit_partition, plan_audit, plan_buckets, summarize_audit
from photoz.catalogue.records import locate_in_run
from photoz.settings.config import Config
from photoz.storage import remove, write_json


def audit_catalogue(config: Config) -> dict[str, Any]:
    """Prove or refute that the photo-z catalogue holds every source once, in its place, unchanged.

    Parameters
    ----------
    config : Config
        ``locations.catalogue`` is audited against ``locations.sources`` on ``engine``.

    Returns
    -------
    dict
        The report (`photoz.audit.summarize_audit`), also written to ``run/audit.json`` in the catalogue.

    Raises
    ------
    CatalogueError
        There is no source catalogue, or nothing at ``locations.catalogue``.
    """
    tasks = plan_audit(config)
    spill, buckets = (tasks[0].spill, tasks[0].buckets) if tasks else ("", 0)
    try:
        with open_engine(config) as engine:
            results = list(run_tasks(partial(audit_partition, config), tasks, engine, label="partitions audited"))
            of_ids = plan_buckets(spill, buckets)
            id_results = list(run_tasks(partial(audit_ids, config), of_ids, engine, label="buckets of ids"))
    finally:
        if spill:
            remove(spill)
    report = summarize_audit(config, tasks, results, id_results)
    write_json(locate_in_run(config.locations.catalogue, "audit.json"), report)
    return report
