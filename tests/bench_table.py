"""The one table of ``make bench``: stage, ours, reference, ratio, target, met or not; and levers tried and rejected."""

import math
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import matplotlib
import pytest
import torch

_HEADINGS = ("stage", "ours", "reference", "ratio", "target", "met")
_LIBRARIES = ("torch", "ray", "dask", "zarr", "numpy", "pyarrow", "astropy")


@dataclass(frozen=True)
class Line:
    """One measured stage.

    Parameters
    ----------
    stage, unit : str
    ours : float
    reference : float
        Measured in the same run, in the same unit; NaN: there is none.
    against : str
        What the reference is.
    target : float
        NaN: none.
    of : {"ratio", "ours"}
        What the target is set for.
    sense : {"least", "most"}
        Whether the target is a lower or an upper limit.
    """

    stage: str
    ours: float
    unit: str
    reference: float = math.nan
    against: str = ""
    target: float = math.nan
    of: Literal["ratio", "ours"] = "ratio"
    sense: Literal["least", "most"] = "least"

    @property
    def ratio(self) -> float:
        """Ours over the reference."""
        return self.ours / self.reference

    @property
    def reached(self) -> float:
        """What was reached over its target: 1 or more is met, also of upper limits."""
        value = self.ratio if self.of == "ratio" else self.ours
        return value / self.target if self.sense == "least" else self.target / value

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the line as text, in the order of the headings."""
        reference = "" if math.isnan(self.reference) else f"{_digits(self.reference)} {self.against}"
        ratio = "" if math.isnan(self.ratio) else _digits(self.ratio)
        sign = {"least": "≥", "most": "≤"}[self.sense]
        target = f"{sign} {_digits(self.target)}{' ' + self.unit if self.of == 'ours' else ' (ratio)'}"
        if math.isnan(self.target):
            target = ""
        met = "" if math.isnan(self.reached) else "met" if self.reached >= 1 else "not met"
        return (self.stage, f"{_digits(self.ours)} {self.unit}", reference, ratio, target, met)


@dataclass
class Table:
    """What the benchmarks of one run found."""

    lines: list[Line] = field(default_factory=list)
    rejected: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, stage: str, ours: float, unit: str, **rest: Any) -> None:
        """Add a line and, as a whole run takes long, print it; ``rest`` as in `Line`."""
        self.lines.append(Line(stage, ours, unit, **rest))
        print("\n" + "  ".join(cell for cell in self.lines[-1].cells if cell), flush=True)

    def reject(self, lever: str, figure: str, reason: str) -> None:
        """Note a lever that was measured in this run and is not used."""
        self.rejected.append((lever, figure, reason))

    def note(self, text: str) -> None:
        """Add a sentence under the table."""
        self.notes.append(text)


def side_by_side(
    ways: Mapping[str, Callable[[], Any]], *, rounds: int = 3, reduce: Callable[[Iterable[float]], float] = min
) -> dict[str, float]:
    """Time several ways of doing one thing in turn, so that they meet the same disturbances; seconds of each.

    Every way is run once before for what is done once only.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    return {name: reduce(values) for name, values in seconds.items()}


_TABLE = pytest.StashKey[Table]()


@pytest.fixture
def bench_table(request: pytest.FixtureRequest, benchmark: Any) -> Table:
    """Give the table of this run; as it asks for ``benchmark``, a test with it is off by default."""
    benchmark.disabled = True  # timed side by side here
    return request.config.stash.setdefault(_TABLE, Table())


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the folder of the report."""
    parser.addoption("--bench-report", default="", help="folder that gets <date>-<hardware>.md and a plot")


def pytest_configure(config: pytest.Config) -> None:
    """Silence what tests with a table do on purpose."""
    config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table, and write the report if a whole run was asked to."""
    table = config.stash.get(_TABLE, None)
    if table is None:
        return
    cells = [_HEADINGS, *(line.cells for line in table.lines)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADINGS))]
    terminalreporter.section("benchmarks")
    for row in cells:
        terminalreporter.write_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    folder = config.getoption("--bench-report")
    if folder and not config.getoption("keyword"):
        terminalreporter.write_line(f"report: {write_report(table, Path(folder))}")


def write_report(table: Table, folder: Path) -> Path:
    """Write ``<date>-<hardware>.md`` and its plot; return the former."""
    name = f"{datetime.now(UTC):%Y-%m-%d}-{_slug(describe_hardware())}"
    text = "\n\n".join(
        part
        for part in (
            f"# Benchmarks on {describe_hardware()}",
            f"`make bench` of {datetime.now(UTC):%Y-%m-%d}, commit {_find_commit()}, "
            + f"Python {platform.python_version()}, "
            + ", ".join(f"{library} {version(library)}" for library in _LIBRARIES)
            + ". Ours and reference of a line were measured in turn in one run; the best of each counts.",
            _write_table(_HEADINGS, [line.cells for line in table.lines]),
            f"![What was reached, relative to its target]({name}.png)",
            *table.notes,
            "## Tried and not used" if table.rejected else "",
            _write_table(("lever", "figure", "why not"), table.rejected) if table.rejected else "",
        )
        if part
    )
    (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    plot_table(table, folder / f"{name}.png")
    return folder / f"{name}.md"


def plot_table(table: Table, path: Path) -> None:
    """Plot what was reached relative to its target, a bar a line that has one."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = [line for line in table.lines if not math.isnan(line.reached)][::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.9 + 0.3 * len(lines)), layout="constrained")
    colours = ["#2a7f62" if line.reached >= 1 else "#c2571a" for line in lines]
    bars = axes.barh([line.stage for line in lines], [line.reached for line in lines], color=colours)
    axes.bar_label(bars, [f"{line.reached:.2g}" for line in lines], padding=3, fontsize=8)
    axes.axvline(1, color="0.2", linewidth=1)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_xlabel("reached / target (above 1: met)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def describe_hardware() -> str:
    """Describe processor, cores and, where there is one, the GPU."""
    cpu = _find_cpu()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{cpu}, {torch.get_num_threads()} cores{gpu}"


def _find_cpu() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _find_commit() -> str:
    result = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _write_table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ("---",) * len(headings), *rows))


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
