"""The page of a run under way."""

import re

from photoz.catalogue.hats import Partition
from photoz.report.live import Live, render_live

PARTITIONS = [Partition(4, pixel) for pixel in range(100, 140)]


def render(state: str = "running", refresh: int = 10, **more: object) -> str:
    return render_live(Live("dr4 <b>", state, PARTITIONS, PARTITIONS[:10], now=0.0, **more), refresh=refresh)  # type: ignore[arg-type]


def test_a_page_tells_how_far_the_run_is_and_needs_no_other_file() -> None:
    page = render(left="about 5 minutes left", facts=[("Speed", "2,400 galaxies/s")])
    assert "10 of 40 partitions done, about 5 minutes left" in page
    assert '<progress max="40" value="10">' in page
    assert "2,400 galaxies/s" in page
    assert "1970-01-01 00:00:00 UTC" in page
    assert '<meta http-equiv="refresh" content="10">' in page
    assert not re.findall(r'(?:src|href)="', page)
    assert 'class="done4"' in page
    # A name is the user's text.
    assert "<b>" not in page
    assert "dr4 &lt;b&gt;" in page


def test_a_finished_page_is_not_asked_for_again() -> None:
    assert "refresh" not in render("finished", refresh=0)


def test_what_was_set_aside_is_told_the_costliest_first() -> None:
    problems = [
        {"subject": f"tile {n}", "stage": "read", "rows": n, "error": "no such file"} for n in (3, 1000, *([1] * 50))
    ]
    page = render(problems=problems)
    assert page.index("tile 1000") < page.index("tile 3")
    assert "1,000" in page
    assert page.count("no such file") == 20
