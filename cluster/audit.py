"""The audit of a catalogue spread over an engine: one task a partition, then one a bucket of ids."""

from dataclasses import asdict
from functools import partial

from cluster.engines.base import Engine
from cluster.engines.choose import open_engine
from cluster.engines.tasks import run_tasks
from photoz.audit import (
    Audited,
    AuditReport,
    audit_ids,
    audit_partition,
    plan_audit,
    summarize_audit,
)
from photoz.catalogue.hats import refuse_plain
from photoz.catalogue.records import locate_in_run
from photoz.hashes import plan_buckets
from photoz.settings.config import Config
from photoz.storage import remove, write_json


def audit_catalogue(config: Config, engine: Engine | None = None, *, keep_repeated: bool = False) -> AuditReport:
    """Prove or refute that the photo-z catalogue holds every source once, in its place, unchanged.

    Parameters
    ----------
    config : Config
        ``locations.catalogue`` is audited against ``locations.sources`` on ``engine``.
    engine : Engine, optional
        Whose cluster has been joined; by default the settings' own is for the time of this.
    keep_repeated : bool
        Whether an id may come more than once if it does so in the sources; so it may with ``table.duplicates`` "keep".

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
    # Before its sources are asked for, which such an output has not.
    refuse_plain(catalogue)
    tasks = plan_audit(catalogue, sources)
    # The same in every task; without a task nothing is spilled.
    spill = tasks[0].spill if tasks else ""
    try:
        # One cluster for both passes. A bucket needs the hashes of all partitions, so the first is through before the
        # second begins.
        with open_engine(config.engine, config.storage_options, engine) as joined:
            audit = partial(audit_partition, catalogue, sources)
            results = list(run_tasks(audit, tasks, joined, label="partitions audited"))
            keep = keep_repeated or config.table.duplicates == "keep"
            compare = partial(audit_ids, catalogue, sources, keep=keep)
            # As many as were found or expected, not as many as the sources say they are: a table that is read where it
            # lies does not say.
            rows = sum(max(each.rows, each.sources or 0) for each in results)
            of_ids = plan_buckets(spill, rows, config.engine.memory_gib) if spill else []
            found = [each for some in run_tasks(compare, of_ids, joined, label="buckets of ids") for each in some]
    finally:
        # Also after an error: the hashes lie in the catalogue's own run folder, where nobody else would remove them.
        if spill:
            remove(spill)
    audited = Audited(catalogue, sources, config.sources.margin_arcsec)
    report = summarize_audit(audited, tasks, results, found)
    write_json(locate_in_run(catalogue, "audit.json"), asdict(report))
    return report
