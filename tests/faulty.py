"""Faults that workers bring upon themselves: the plan they are sent installs them in the process that unpickles it.

Nothing of this is in the product. A `FaultyPlan` is a `cluster.inference.plan.Plan`; Ray and Dask pickle it to their
workers, and its ``__setstate__`` patches the modules of photoz there, never in the process that made it.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pytest

import cluster.inference.run
import cluster.inference.stages
import photoz.catalogue.hats
import photoz.estimators.registry
import photoz.ingest.staging
import photoz.ingest.tile
import photoz.inputs
from cluster.inference.plan import Plan
from photoz.estimators import Estimates, Inputs
from photoz.estimators.networks.hybrid import HybridEstimator
from photoz.ingest.outcome import TileOutcome
from photoz.settings.config import Config
from photoz.survey.files import TileFiles
from photoz.tiles import TileWriter


class Fault(Protocol):
    """Something that goes wrong in a process."""

    def install(self) -> None:
        """Make it go wrong in this process from now on."""


@dataclass(frozen=True)
class FaultyPlan(Plan):
    """A plan that brings faults along."""

    faults: tuple[Fault, ...] = ()
    made_by: int = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if os.getpid() != self.made_by:
            for fault in self.faults:
                fault.install()


def inject(patch: pytest.MonkeyPatch, *faults: Fault) -> None:
    """Have the runs started from here on bring these faults to their workers."""
    plan_run = cluster.inference.run.plan_run

    def plan_faulty(config: Config) -> FaultyPlan:
        plan = plan_run(config)
        values = {field.name: getattr(plan, field.name) for field in fields(Plan)}
        return FaultyPlan(**values, faults=faults, made_by=os.getpid())

    patch.setattr(cluster.inference.run, "plan_run", plan_faulty)


@dataclass(frozen=True)
class Die:
    """Kill the process with SIGKILL in the middle of a stage, ``times`` times in all processes together."""

    stage: str
    folder: str
    times: int = 1

    def install(self) -> None:
        match self.stage:
            case "read":
                _wrap(photoz.inputs, "open_tile", lambda real: self._die_before(real))
            case "estimate":
                _wrap(cluster.inference.stages, "estimate_rows", lambda real: self._die_before(real))
            case "write":
                _wrap(photoz.catalogue.hats, "open_atomic", lambda real: self._die_inside(real))
            case "tile":  # its pixels are there, but not yet that they are all
                _wrap(TileWriter, "finish", lambda real: self._die_before(real))
            case "staging":
                _wrap(photoz.ingest.staging.pq, "write_table", lambda real: self._die_before(real))

    @property
    def happened(self) -> int:
        """How many processes have died of it."""
        return len(list(Path(self.folder).glob(f"{self.stage}-*")))

    def _claim(self) -> bool:
        for number in range(self.times):
            try:
                (Path(self.folder) / f"{self.stage}-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False

    def _die_before(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any, **options: Any) -> Any:
            if self._claim():
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return dying

    def _die_inside(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def dying(location: str) -> Iterator[IO[bytes]]:
            with real(location) as file:
                if "Npix" in location and self._claim():
                    file.write(b"PAR1 and no more")
                    file.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
                yield file

        return dying


def ingest_faulty(config: Config, tile: TileFiles, *, fault: Fault) -> TileOutcome:
    """Ingest a tile in a process that something goes wrong in."""
    fault.install()
    return photoz.ingest.tile.ingest_tile(config, tile)


@dataclass(frozen=True)
class SlowDown:
    """Make every partition's estimate take longer, so that something can happen to a run in its middle."""

    seconds: float

    def install(self) -> None:
        def slow(real: Callable[..., Any]) -> Callable[..., Any]:
            def wait(*args: Any, **options: Any) -> Any:
                time.sleep(self.seconds)
                return real(*args, **options)

            return wait

        _wrap(cluster.inference.stages, "estimate_rows", slow)


@dataclass(frozen=True)
class DieOf:
    """Kill every process that is about to estimate the rows of a tile."""

    tile: str

    def install(self) -> None:
        def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
            def die(rows: pa.Table, *args: Any, **options: Any) -> Any:
                if self.tile in rows["tile"].to_pylist():
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(rows, *args, **options)

            return die

        _wrap(cluster.inference.stages, "estimate_rows", deadly)


@dataclass(frozen=True)
class FullDisk:
    """Refuse every partition's file, as a full disk does."""

    def install(self) -> None:
        def refuse(_: Callable[..., Any]) -> Callable[..., Any]:
            def raising(*args: Any, **options: Any) -> Any:
                raise OSError("No space left on device")

            return raising

        _wrap(cluster.inference.stages, "write_partition", refuse)


@dataclass(frozen=True)
class Misspelled:
    """Raise once what only an error in the program raises, in writing the partition that holds rows of a tile."""

    tile: str
    folder: str

    def install(self) -> None:
        _wrap(cluster.inference.stages, "write_partition", self.wrap)

    def wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the function that writes."""

        def write(folder: str, partition: Any, rows: pa.Table) -> Any:
            # Once alone, of all processes: workers of a cluster that others use, too, keep what is installed in them.
            marker = Path(self.folder) / "raised"
            if self.tile in rows["tile"].to_pylist() and not marker.exists():
                marker.touch()
                raise KeyError("z_fot")
            return real(folder, partition, rows)

        return write


class PoisonedEstimator(HybridEstimator):
    """Raises, as a whole batch, when a galaxy in it is brighter than `LIMIT` in its third band."""

    LIMIT = 14.0

    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        if (inputs.magnitudes.magnitudes_NF[:, 2] < self.LIMIT).any():
            raise ZeroDivisionError("a galaxy without distance")
        return super().estimate(inputs, batch_size=batch_size)


@dataclass(frozen=True)
class Poison:
    """Put `PoisonedEstimator` in the place of the network."""

    def install(self) -> None:
        photoz.estimators.registry.CLASSES["hybrid"] = "faulty:PoisonedEstimator"


def find_poisoned(magnitudes_N: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tell the rows that `PoisonedEstimator` cannot stand by their magnitude in its third band."""
    return np.asarray(magnitudes_N < PoisonedEstimator.LIMIT)


def _wrap(module: Any, name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Wrap a module's function, once a process."""
    real = getattr(module, name)
    if not hasattr(real, "wraps_fault"):
        wrapped = wrapper(real)
        wrapped.wraps_fault = True  # type: ignore[attr-defined]
        setattr(module, name, wrapped)
