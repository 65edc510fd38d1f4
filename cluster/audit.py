"""The audit of a catalogue spread over an engine: one task a partition, then one a bucket of ids."""

from dataclasses import asdict
from functools import partial

from cluster.engines.choose import open_engine
from cluster.engines.tasks import run_tasks
from photoz.audit import (
    Audited,
    AuditReport,
    audit_ids,
    audit_partition,
    plan_audit,
    plan_buckets,
    summarize_audit,
)
from photoz.catalogue.records import locate_in_run
from photoz.settings.config import Config
from photoz.storage import remove, write_json


def audit_catalogue(config: Config) -> AuditReport:
    """Prove or refute that the photo-z catalogue holds every source once, in its place, unchanged.

    Parameters
    ----------
    config : Config
        ``locations.catalogue`` is audited against ``locations.sources`` on ``engine``.

    Returns
    -------
    AuditReport
        Also written to ``run/audit.json`` in the catalogue.

    Raises
    ------
    CatalogueError
        There is no source catalogue, or nothing at ``locations.catalogue``.
    """
    catalogue, sources = config.locations.catalogue, config.locations.sources
    tasks = plan_audit(catalogue, sources, memory_gib=config.engine.memory_gib)
    # The same in every task; without a task nothing is spilled.
    spill, buckets = (tasks[0].spill, tasks[0].buckets) if tasks else ("", 0)
    try:
        # One cluster for both passes. A bucket needs the hashes of all partitions, so the first is through before the
        # second begins.
        with open_engine(config) as engine:
            audit = partial(audit_partition, catalogue, sources)
            results = list(run_tasks(audit, tasks, engine, label="partitions audited"))
            compare, of_ids = partial(audit_ids, catalogue, sources), plan_buckets(spill, buckets)
            found = [each for some in run_tasks(compare, of_ids, engine, label="buckets of ids") for each in some]
    finally:
        # Also after an error: the hashes lie in the catalogue's own run folder, where nobody else would remove them.
        if spill:
            remove(spill)
    audited = Audited(catalogue, sources, config.sources.margin_arcsec)
    report = summarize_audit(audited, tasks, results, found)
    write_json(locate_in_run(catalogue, "audit.json"), asdict(report))
    return report
