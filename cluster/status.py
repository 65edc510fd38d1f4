"""What a run has come to, told from its ledger alone: no engine, no cluster, no process of the run is asked."""

import time
from collections import Counter
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Literal

from cluster.inference.publish import is_published
from cluster.lock import Holder, find_holder
from photoz.catalogue.hats import Partition, is_plain
from photoz.catalogue.records import REPEATED_IDS, count_repeated, locate_in_run, read_run_file, scan_records
from photoz.errors import CatalogueError, PhotozError
from photoz.report.live import format_duration
from photoz.report.sky import Sky, View, draw_text
from photoz.settings.run import Locations
from photoz.sources import list_source_partitions
from photoz.storage import JsonObject

_RECENT = 600.0  # seconds that count as "the last ten minutes"
_SHOWN = 5  # problems told by name


@dataclass(frozen=True)
class RunStatus:
    """What a run's folder tells.

    Parameters
    ----------
    location : str
        The catalogue.
    owner : dict
        Whose output it is: run, estimator, survey.
    done : int
        Partitions with a completion record. That their files are what the records say, the audit proves.
    total : int or None
        Partitions of the source catalogue; None when neither it nor a run record can be read.
    rows, estimated : int
        In the partitions done, and with a redshift.
    problems : list of dict
        Tiles and rows set aside in the partitions done, as in ``run/failures.parquet``.
    stage_seconds : dict
        Stage -> seconds, over all workers.
    last_done : float
        [s since 1970] when the last partition was finished; 0 before the first.
    recent : int
        Partitions finished in the ten minutes before ``now``.
    galaxies_per_second, partitions_per_second : float
        In these ten minutes; NaN where fewer than two partitions tell.
    holder : Holder or None
        The run that holds the output, alive or dead; None when nobody does.
    published : bool
        The catalogue opens as one.
    audit : dict
        The last audit's report; empty when there is none.
    repeated_ids : int
        Identifiers that several rows of the table have, as ``run/repeated_ids`` lists them.
    now : float
        [s since 1970] when this was read.
    """

    location: str
    owner: dict[str, str]
    done: int
    total: int | None
    rows: int
    estimated: int
    problems: list[dict[str, str | int]]
    stage_seconds: dict[str, float]
    last_done: float
    recent: int
    galaxies_per_second: float
    partitions_per_second: float
    holder: Holder | None
    published: bool
    audit: JsonObject = field(default_factory=dict)
    sky: Sky = field(default_factory=lambda: Sky({}))
    """What is done of each part of the sky; empty where the source catalogue cannot be read."""
    repeated_ids: int = 0
    now: float = field(default_factory=time.time)

    @property
    def state(self) -> Literal["finished", "running", "unfinished"]:
        """``running`` while the lock's holder lives, ``finished`` when all is done and published."""
        if self.holder is not None and self.holder.alive:
            return "running"
        # Both: a source catalogue that was made anew may have partitions that nobody has done.
        return "finished" if self.published and self.done == self.total else "unfinished"


def read_status(locations: Locations) -> RunStatus:
    """Read the state of the run that writes, or wrote, ``locations.catalogue``.

    Parameters
    ----------
    locations : Locations
        Of catalogue and source catalogue.

    Returns
    -------
    RunStatus

    Raises
    ------
    CatalogueError
        No run has begun there.
    """
    location = locations.catalogue
    owner = read_run_file(location, "owner.json")
    # The first file that a run writes into its output (`cluster.ledger.check_output`).
    if not owner:
        raise CatalogueError(f"no run has begun at {location!r}: set locations.catalogue, or start jobs/infer_dr4.py")
    holder = find_holder(locate_in_run(location))  # first, since it may watch for a while
    now = time.time()
    partitions = _list_source_partitions(locations.sources)
    # A record outlives its partition where the source catalogue has been made anew.
    found = [each for each in scan_records(location) if partitions is None or each[0].partition in partitions]
    times, records = [time for _, time in found], [record for record, _ in found]
    galaxies, pace = _measure_pace([(when, record.rows) for record, when in found if now - when <= _RECENT])
    # The record of a finished run tells it where the source catalogue is gone.
    total = len(partitions) if partitions is not None else read_run_file(location, "run.json").get("partitions")
    sums: Counter[str] = Counter()
    for record in records:
        # Whole stages alone: read_s, decode_s and their like lie within them.
        sums.update({name.removesuffix("_stage_s"): s for name, s in record.sums.items() if name.endswith("_stage_s")})
    return RunStatus(
        location=location,
        owner=owner,
        done=len(records),
        total=total,
        rows=sum(record.rows for record in records),
        estimated=sum(record.estimated for record in records),
        problems=[problem for record in records for problem in record.problems],
        stage_seconds=dict(sums),
        last_done=max(times, default=0.0),
        # By two clocks, the store's and this host's.
        recent=sum(now - each <= _RECENT for each in times),
        galaxies_per_second=galaxies,
        partitions_per_second=pace,
        holder=holder,
        published=is_published(location),
        audit=read_run_file(location, "audit.json"),
        sky=Sky.of(partitions or (), [record.partition for record in records] if partitions else ()),
        repeated_ids=count_repeated(location),
        now=now,
    )


def describe_plain(location: str) -> str:
    """Say what a finished output of plain files holds, of a table without positions; "" where it is none."""
    # The record is written last.
    found = read_run_file(location, "run.json")
    if not found or not is_plain(location):
        return ""
    return (
        f"finished: {found['rows']:,} rows in plain files, {found['estimated']:,} with a redshift; the table had no "
        "positions, and so it is no catalogue on the sky"
    )


def format_status(status: RunStatus) -> str:
    """Lay the state of a run out for reading, a line each thing."""
    owner = status.owner
    lines = [
        ("run", f"{owner.get('run')} ({owner.get('estimator')}, {owner.get('survey')})"),
        ("catalogue", status.location),
        ("state", f"{status.state}{_describe_holder(status)}"),
        ("partitions", _describe_partitions(status)),
        ("pace", _describe_pace(status)),
        ("rows", _describe_rows(status)),
        ("set aside", _describe_problems(status.problems)),
        ("stage seconds", ", ".join(f"{name} {value:,.1f}" for name, value in status.stage_seconds.items()) or "none"),
        ("last partition", _describe_last(status)),
        ("audit", _describe_audit(status.audit)),
    ]
    if status.repeated_ids:
        lines.append(("repeated ids", f"{status.repeated_ids:,}, kept and listed in run/{REPEATED_IDS}"))
    return "\n".join(f"{name + ':':16s}{text}" for name, text in lines)


def format_sky(status: RunStatus, width: int = 72) -> str:
    """Draw the sky as it fills up in lines of text, with what the letters mean; "" where it is not known."""
    if not status.sky.shares:
        return ""
    view = View.around(status.sky.shares).describe()
    return f"{draw_text(status.sky, width)}\n█ done, ░▒▓ in part, · to do: {view}"


def _describe_holder(status: RunStatus) -> str:
    holder = status.holder
    if holder is None:
        return "" if status.state == "finished" else ": nobody is at work on it; start the job again to go on"
    who = f"process {holder.process} on {holder.host}"
    if holder.alive:
        return f": {who}"
    seen = f"last sign of life {_ago(status.now - holder.beat)} by its host's clock"
    return f": its {who}, {seen}, is dead; start the job again to go on"


def _describe_partitions(status: RunStatus) -> str:
    if status.total is None:
        return f"{status.done:,} done, of an unknown number (the source catalogue cannot be read)"
    # Of a source catalogue without a partition all is done.
    share = status.done / status.total if status.total else 1.0
    return f"{status.done:,} of {status.total:,} done ({share:.0%}), {status.total - status.done:,} to do"


def _describe_rows(status: RunStatus) -> str:
    share = f" ({status.estimated / status.rows:.2%})" if status.rows else ""
    return f"{status.rows:,}, with a redshift: {status.estimated:,}{share}"


def _describe_problems(problems: list[dict[str, str | int]]) -> str:
    if not problems:
        return "nothing"
    # Those that cost most rows, since a tile that cannot be read matters more than a source.
    costly = sorted(problems, key=lambda problem: -int(problem["rows"]))[:_SHOWN]
    told = [f"\n    {each['subject']} ({each['stage']}, {each['rows']} rows): {each['error']}" for each in costly]
    return f"{len(problems):,} tiles or rows{''.join(told)}"


def _measure_pace(recent: list[tuple[float, int]]) -> tuple[float, float]:
    """Return galaxies and partitions a second, of times [s] and rows of partitions."""
    times = sorted(recent)
    seconds = times[-1][0] - times[0][0] if times else 0.0
    # The first began before the time that is looked at. Stores tell whole seconds.
    if seconds <= 0:
        return nan, nan
    return sum(rows for _, rows in times[1:]) / seconds, (len(times) - 1) / seconds


def _describe_pace(status: RunStatus) -> str:
    if isnan(status.partitions_per_second):
        return "not known: fewer than two partitions in the last ten minutes"
    told = f"{status.galaxies_per_second:,.0f} galaxies/s in the last ten minutes"
    if status.total is None or status.state != "running":
        return told
    return f"{told}, about {format_duration((status.total - status.done) / status.partitions_per_second)} left"


def _describe_last(status: RunStatus) -> str:
    if not status.last_done:
        return "none yet"
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(status.last_done))
    return f"{when}, {_ago(status.now - status.last_done)}; {status.recent:,} in the last ten minutes"


def _describe_audit(audit: JsonObject) -> str:
    if not audit:
        return "not made"
    return "clean" if audit.get("clean") else f"{len(audit.get('findings', []))} findings, see run/audit.json"


def _ago(seconds: float) -> str:
    # Never before 0, which another host's clock may give.
    return f"{format_duration(seconds)} ago"


def _list_source_partitions(sources: str) -> set[Partition] | None:
    try:
        return set(list_source_partitions(sources))
    # Status is asked for where things are broken, and tells the rest.
    except (PhotozError, OSError):
        return None
