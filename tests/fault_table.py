"""The table of the faults that were really done: what came in, what came out."""

from dataclasses import dataclass
from typing import Any

import pytest
from runs import change, read_all

from cluster.audit import audit_catalogue
from photoz.settings.config import Config

_HEADINGS = ("fault", "times", "rows in", "rows out", "duplicates", "lost", "audit")


@dataclass
class Line:
    """Sums over the runs that had one fault."""

    fault: str
    times: int = 0
    rows_in: int = 0
    rows_out: int = 0
    duplicates: int = 0
    lost: int = 0
    findings: int = 0

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the line as text, in the order of the headings."""
        numbers = (self.times, self.rows_in, self.rows_out, self.duplicates, self.lost)
        return (self.fault, *map(str, numbers), f"{self.findings} findings" if self.findings else "clean")


_LINES = pytest.StashKey[dict[str, Line]]()


class Tally:
    """Counts rows in and out after a fault."""

    def __init__(self, lines: dict[str, Line]) -> None:
        self._lines = lines

    def check(self, fault: str, config: Config, expected: frozenset[str], *, times: int = 1) -> None:
        """Compare a finished catalogue's ids with those that went in, audit it, and note both in the table."""
        found = read_all(config.locations.catalogue)["object_id"].to_pylist()
        report: dict[str, Any] = audit_catalogue(change(config, engine__name="serial"))
        line = self._lines.setdefault(fault, Line(fault))
        line.times += times
        line.rows_in += len(expected)
        line.rows_out += len(found)
        line.duplicates += len(found) - len(set(found))
        line.lost += len(expected - set(found))
        line.findings += len(report.findings)
        assert len(found) == len(set(found)), "rows came out twice"
        assert set(found) == expected
        assert report.clean, report.findings


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Give the table that is printed at the end of the tests."""
    return Tally(request.config.stash.setdefault(_LINES, {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table."""
    lines = config.stash.get(_LINES, {})
    if not lines:
        return
    cells = [_HEADINGS, *(line.cells for line in lines.values())]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADINGS))]
    terminalreporter.section("faults")
    for row in cells:
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        terminalreporter.write_line("  ".join([row[0].ljust(widths[0]), *rest]))
