"""What the kit measured and what it left out; how long its parts may take; the JSON and the table."""

import json
import math
import os
import platform
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

# What a way of computing raises where a card, a driver or a compiler does not have it: torch's own, out of memory and
# those of torch.compile are RuntimeErrors; Triton or a C compiler may be missing.
FAILURES = (RuntimeError, OSError, ImportError, NotImplementedError)
TARGETS = {
    "hybrid, galaxies/s with p(z)": ("least", 100_000.0),
    "hybrid, share of the time that the GPU works when fed": ("least", 0.9),
    "hybrid, seconds of an epoch in bfloat16": ("most", 20.0),
}
"""On one H100 or H200."""


class OutOfTimeError(BaseException):
    """A part has had its time. No Exception, so that a library that catches those does not swallow it."""


@dataclass(frozen=True)
class Line:
    """One figure.

    Parameters
    ----------
    part, what, unit : str
    value : float
    note : str
    memory_mib : float
        [MiB] that the device held at most meanwhile; without a GPU, that the process has held so far.
    target : str
        Of `TARGETS`; "": none.
    """

    part: str
    what: str
    value: float
    unit: str
    note: str = ""
    memory_mib: float = 0.0
    target: str = ""


@dataclass(frozen=True)
class Step:
    """Something to measure: what it is called when it is left out, and what gives its lines."""

    what: str
    measure: Callable[[], Iterable[Line]]


@dataclass
class Record:
    """All figures of a run, written anew after each part, so that a run that is killed leaves the others.

    Parameters
    ----------
    folder : Path
    device : torch.device
    scale : float
        Of the sizes.
    seconds : float
        That all parts may take.
    """

    folder: Path
    device: torch.device
    scale: float
    seconds: float
    lines: list[Line] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """[s] left of the whole."""
        return self.seconds - (time.monotonic() - self.started)

    def leave_out(self, part: str, what: str, why: str) -> None:
        """Note what was not measured."""
        self.left_out.append({"part": part, "what": what, "why": why})
        print(f"left out: {part}: {what}: {why}", flush=True)

    def run(self, part: str, seconds: float, steps: Iterator[Step]) -> None:
        """Measure a part's steps, each as long as there is time for the longest so far; then write all figures."""
        until = time.monotonic() + min(seconds, self.left)
        longest, step = 0.0, Step("all of it", lambda: ())
        try:
            with stop_after(until - time.monotonic()):
                for step in steps:
                    begun = time.monotonic()
                    if begun + longest > until:
                        self.leave_out(part, step.what, f"no time left of the part's {seconds:.0f} s")
                        continue
                    self._measure(part, step)
                    longest = max(longest, time.monotonic() - begun)
        except OutOfTimeError:
            self.leave_out(part, f"{step.what} and what follows", f"stopped after the part's {seconds:.0f} s")
        except FAILURES as error:
            self.leave_out(part, f"{step.what} and what follows", describe(error))
        self.write()

    def _measure(self, part: str, step: Step) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            for line in step.measure():
                self.add(line)
        except FAILURES as error:
            self.leave_out(part, step.what, describe(error))

    def add(self, line: Line) -> None:
        """Add a figure and, as a run may be killed, print it; one that is not finite is left out."""
        if not math.isfinite(line.value):
            self.leave_out(line.part, line.what, f"{line.value} {line.unit} is no figure")
            return
        self.lines.append(Line(**{**asdict(line), "memory_mib": round(measure_memory(self.device), 1)}))
        print(f"{line.part}: {line.what}: {line.value:.4g} {line.unit}  {line.note}", flush=True)

    def write(self) -> None:
        """Write ``gpu.json`` and ``gpu.md``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        found = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": describe_machine(self.device),
            "scale": self.scale,
            "seconds": round(time.monotonic() - self.started, 1),
            "lines": [asdict(line) for line in self.lines],
            "targets": self.judge(),
            "left_out": self.left_out,
        }
        (self.folder / "gpu.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (self.folder / "gpu.md").write_text(make_page(found), encoding="utf-8")

    def judge(self) -> list[dict[str, Any]]:
        """Compare the figures with the targets; a target that nothing was measured for has no value."""
        found = []
        for what, (sense, target) in TARGETS.items():
            values = [line.value for line in self.lines if line.target == what]
            best = (max if sense == "least" else min)(values, default=None)
            met = best is not None and (best >= target if sense == "least" else best <= target)
            found.append({"what": what, "sense": sense, "target": target, "value": best, "met": met})
        return found


@contextmanager
def stop_after(seconds: float) -> Iterator[None]:
    """Raise `OutOfTimeError` in the block after some seconds, as soon as Python is at work again."""

    def stop(*_: object) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def describe(error: BaseException) -> str:
    """Describe what was raised in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def measure_memory(device: torch.device) -> float:
    """Measure the memory held at most [MiB]: the GPU's since it was last reset, or this process's so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def describe_machine(device: torch.device) -> dict[str, str]:
    """Describe the processors and the software."""
    found = {"python": platform.python_version(), "torch": torch.__version__, "numpy": version("numpy")}
    found |= {"cpu": find_cpu(), "cpus": str(len(os.sched_getaffinity(0))), "threads": str(torch.get_num_threads())}
    found |= {"commit": find_commit(), "gpu": "none"}
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": about.name,
            "gpu_memory_mib": f"{about.total_memory / 2**20:.0f}",
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
        }
    return found


def find_cpu() -> str:
    """Find the processor's name, as far as it tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def find_commit() -> str:
    """Find the commit that is measured; unknown in a copy without its history."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def make_page(found: dict[str, Any]) -> str:
    """Make the page: machine, targets, a table a part, what was left out."""
    machine = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
    how = f"Sizes times {found['scale']:g}; {found['seconds']} s in all."
    parts = [f"# The GPU kit, {found['date']}", f"{machine}. {how}"]
    rows = [
        (
            target["what"],
            f"at {target['sense']} {target['target']:,g}",
            "not measured" if target["value"] is None else format_value(target["value"]),
            "met" if target["met"] else "not met",
        )
        for target in found["targets"]
    ]
    parts.append(make_table(("target on one H100 or H200", "", "measured", ""), rows))
    for name in dict.fromkeys(line["part"] for line in found["lines"]):
        rows = [make_row(line) for line in found["lines"] if line["part"] == name]
        parts += [f"## {name}", make_table(("what", "figure", "memory", "note"), rows)]
    if found["left_out"]:
        rows = [(each["part"], each["what"], each["why"]) for each in found["left_out"]]
        parts += ["## Left out", make_table(("part", "what", "why"), rows)]
    return "\n\n".join(parts) + "\n"


def make_row(line: dict[str, Any]) -> tuple[str, ...]:
    """Make a row of a part's table."""
    figure = f"{format_value(line['value'])} {line['unit']}"
    return line["what"], figure, f"{line['memory_mib']:,.0f} MiB", line["note"]


def make_table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Make a table of Markdown."""
    cells = [headings, ("---",) * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in cells)


def format_value(value: float) -> str:
    """Format a figure with three digits or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
