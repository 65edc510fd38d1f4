"""The page of a run under way: how far it is, how fast, what was set aside, and the sky filling up."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from photoz.catalogue.hats import Partition
from photoz.report.sky import Sky, View, draw_svg
from photoz.report.template import render_template

_SHOWN = 20  # of what was set aside, those that cost most rows


@dataclass(frozen=True)
class Live:
    """What is known of a run at one moment.

    Parameters
    ----------
    name : str
        Of the run.
    state : str
        "running", "finished", or whatever else has become of it.
    partitions, done : collection of Partition
        All, and those of them that are done.
    left : str
        Time that is left, in words; "" where it is not known.
    facts : sequence of (str, str)
        Label and value of what else there is to tell.
    problems : sequence of mapping
        Tiles and rows set aside, as in ``run/failures.parquet``.
    now : float
        [s since 1970]
    """

    name: str
    state: str
    partitions: Collection[Partition]
    done: Collection[Partition]
    left: str = ""
    facts: Sequence[tuple[str, str]] = ()
    problems: Sequence[Mapping[str, str | int]] = ()
    now: float = field(default_factory=time.time)


def render_live(live: Live, *, refresh: int = 0) -> str:
    """Render the page, which needs no other file.

    Parameters
    ----------
    live : Live
    refresh : int
        [s] after which a browser asks for it again; 0: never.
    """
    sky = Sky.of(live.partitions, live.done)
    return render_template(
        "photoz.report",
        template="live.html",
        name=live.name,
        state=live.state,
        done=len(live.done),
        total=len(live.partitions),
        left=live.left,
        facts=live.facts,
        # Markup, or its tags would be escaped like the user's text; it holds none of that.
        sky=Markup(draw_svg(sky)),
        view=View.around(sky.shares).describe(),
        problems=sorted(live.problems, key=lambda problem: -int(problem["rows"]))[:_SHOWN],
        written=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(live.now)),
        refresh=refresh,
    )


def format_duration(seconds: float) -> str:
    """Format a duration for reading.

    >>> [format_duration(seconds) for seconds in (-1, 75, 5400, 100000, 1000000)]
    ['0 s', '75 s', '90 minutes', '28 hours', '12 days']
    """
    for unit, length, least in (("days", 86400, 3), ("hours", 3600, 2), ("minutes", 60, 2)):
        # From twice a unit on: 89 minutes told in hours would be 1.
        if seconds >= least * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
