"""What the fuzz shares: tests that go on for as long as they are told, and tables as nobody should write them.

Rounds have seeds of their own, 1, 2, ...: each test runs its own number of them, the same examples on any machine, a
minute of two idle cores in all. ``PHOTOZ_FUZZ_SECONDS`` instead says how long all of it goes on, an hour with ``make
test-fuzz``: as far as the machine gets.
"""

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("PHOTOZ_FUZZ_SECONDS", "0")) / 8
"""[s] that a test goes on whose share is 1, of which there are seven, and more with less; a round that is begun is
ended. 0: each runs its number of rounds, since a check must not depend on how fast its machine is."""
_EXAMPLES = 10  # of a round


def go_on(strategy: st.SearchStrategy[Any], check: Callable[[Any], None], *, rounds: int, share: float = 1.0) -> None:
    """Check examples, ``rounds`` of ten or until the time is over, and print how many there were."""
    done, end = 0, time.monotonic() + SECONDS * share

    def count(example: Any) -> None:
        nonlocal done
        done += 1
        check(example)

    for number in itertools.count(1):
        # Without a database of earlier failures: what is tried depends on the seed alone.
        quiet = settings(max_examples=_EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        seed(number)(quiet(given(strategy)(count)))()
        if time.monotonic() > end if SECONDS else number >= rounds:
            break
    print(f"fuzz: {check.__name__}: {done} examples, {number} rounds")


BANDS = "ugriz"
NO_MAGNITUDES = (
    np.nan,
    np.inf,
    -np.inf,
    99.0,
    -99.0,
    98.9,
    99.9,
    -999.0,
    -9999.0,
    -9.999995e8,
    1e20,
    98.0,
    0.0,
    4.0,
    41.0,
)
NO_FLUXES = (np.nan, np.inf, -np.inf, 1e30, -1e30, -3.4e38, 0.0, -5.0)
NO_ERRORS = (np.nan, np.inf, 0.0, -1.0, 99.0, -99.0, 1e-50, 10.0, 1e9, -999.0)
NO_REDSHIFTS = (np.nan, np.inf, -1.0, -9.0, -99.0, 99.0, 9999.0, 45_000.0)
NO_POSITIONS = (np.nan, np.inf, -999.0, 400.0, 1e30)
NUMBERS = (
    "double",
    "double",
    "float",
    "halffloat",
    "int",
    "short",
    "text",
    "decimal",
    "dictionary",
    "null",
    "bool",
    "list",
)
"""Types of columns; the usual one more often."""
IDENTIFIERS = (
    "int64", "int64", "uint64", "text", "large", "view", "dictionary", "blank", "nulls", "doubled", "double", "rounded",
    "float", "decimal", "fraction", "binary", "bool", "time", "list", "none", "absent",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Odd:
    """A table of N rows, and what is known of it.

    Parameters
    ----------
    table : pyarrow.Table
    hopeless_N : ndarray of bool
        Rows of which no band was measured.
    nameless_N, unplaced_N : ndarray of bool
        Rows without an identifier, and without a position.
    kinds : dict of str to str
        Column -> what was done with it.
    """

    table: pa.Table
    hopeless_N: npt.NDArray[np.bool_]
    nameless_N: npt.NDArray[np.bool_]
    unplaced_N: npt.NDArray[np.bool_]
    kinds: dict[str, str]

    def __repr__(self) -> str:
        return f"Odd({len(self.table)} rows, {self.kinds})"


@st.composite
def draw_tables(
    draw: st.DrawFn, *, tame: bool = False, placed: bool = False, bands: str = BANDS, least: int = 30
) -> Odd:
    """Draw a plain table whose colours follow the redshift, and of which some columns are not what they should be.

    ``tame``: types that hold numbers alone, and identifiers that are some; ``placed``: with positions.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(least, 90))
    hopeless_N = rng.random(count) < draw(st.sampled_from((0.0, 0.1, 0.3)))
    z_N, base_N = rng.uniform(0.02, 0.9, count), rng.normal(20.5, 0.8, count)
    kinds: dict[str, str] = {}
    columns: dict[str, Any] = {}
    numbers = NUMBERS[:3] if tame else NUMBERS
    odd = st.booleans() if tame else st.sampled_from((False, False, False, True))

    def add(name: str, values_N: npt.NDArray[Any], kind: str) -> None:
        columns[name], kinds[name] = make_column(values_N, kind), kind

    flux = draw(st.booleans())
    for place, band in enumerate(bands):
        magnitudes_N = base_N + 1.5 * z_N - 2.0 * z_N * place / len(bands) + rng.normal(0, 0.02, count)
        values_N = 3631e9 * 10 ** (-0.4 * magnitudes_N) if flux else magnitudes_N
        errors_N = 0.03 * np.abs(values_N) if flux else np.full(count, 0.03)
        bad = NO_FLUXES if flux else NO_MAGNITUDES
        spoil(rng, values_N, bad, hopeless_N)
        spoil(rng, values_N, bad, rng.random(count) < draw(st.sampled_from((0.0, 0.0, 0.2, 0.6))))
        spoil(rng, errors_N, NO_ERRORS, rng.random(count) < draw(st.sampled_from((0.0, 0.0, 0.3, 1.0))))
        name, error = ("flux", "fluxerr") if flux else ("mag", "magerr")
        add(f"{name}_{band}", values_N, draw(st.sampled_from(numbers)) if draw(odd) else "double")
        add(f"{error}_{band}", errors_N, draw(st.sampled_from(numbers)) if draw(odd) else "double")
    spoil(
        rng, z_N, NO_REDSHIFTS, rng.random(count) < draw(st.sampled_from((0.0, 0.2, 1.0) if not tame else (0.0, 0.2)))
    )
    add("z_spec", z_N, draw(st.sampled_from(numbers)) if draw(odd) else "double")
    unplaced_N = np.zeros(count, bool)
    if placed or draw(st.booleans()):
        unplaced_N = rng.random(count) < draw(st.sampled_from((0.0, 0.2)))
        for name, centre in (("ra", 53.0), ("dec", -28.0)):
            places_N = centre + rng.uniform(-1, 1, count)
            spoil(rng, places_N, NO_POSITIONS, unplaced_N)
            add(name, places_N, "double" if placed else draw(st.sampled_from(numbers)) if draw(odd) else "double")
    kinds["object_id"] = draw(
        st.sampled_from(
            ("int64", "uint64", "text", "large", "dictionary", "blank", "nulls", "doubled") if tame else IDENTIFIERS
        )
    )
    ids, nameless_N = make_identifiers(count, kinds["object_id"], rng)
    if ids is not None:
        columns["object_id"] = ids
    if draw(st.booleans()):
        columns["notes"] = pa.array([[{"a": 1.0}]] * count)
    return Odd(pa.table(columns), hopeless_N, nameless_N, unplaced_N, kinds)


def spoil(
    rng: np.random.Generator, values_N: npt.NDArray[Any], bad: tuple[float, ...], rows_N: npt.NDArray[np.bool_]
) -> None:
    """Put values that are none into some rows."""
    values_N[rows_N] = rng.choice(np.array(bad), int(rows_N.sum()))


def make_column(values_N: npt.NDArray[Any], kind: str) -> pa.Array:
    """Make a column of numbers in another type; what it cannot hold is null."""
    known_N = np.isfinite(values_N) & (np.abs(values_N) < 30_000)
    whole_N = np.where(known_N, np.rint(np.where(known_N, values_N, 0)), 0)
    text = [f"{value:.4f}" if known else None for value, known in zip(values_N, known_N, strict=True)]
    match kind:
        case "double":
            return pa.array(values_N)
        case "float":
            with np.errstate(over="ignore"):
                return pa.array(values_N.astype(np.float32))
        case "halffloat":
            with np.errstate(over="ignore"):
                return pa.array(values_N.astype(np.float16))
        case "int":
            return pa.array(whole_N.astype(np.int64), mask=~known_N)
        case "short":
            return pa.array(whole_N.astype(np.int16), mask=~known_N)
        case "text":
            return pa.array(text, pa.string())
        case "decimal":
            return pa.array(text, pa.string()).cast(pa.decimal128(12, 4))
        case "dictionary":
            # pandas has no category for NaN.
            return pa.array(values_N, from_pandas=True).dictionary_encode()
        case "null":
            return pa.nulls(len(values_N))
        case "bool":
            return pa.array(whole_N > 0)
    return pa.array([[value] for value in values_N])


def make_identifiers(count: int, kind: str, rng: np.random.Generator) -> tuple[pa.Array | None, npt.NDArray[np.bool_]]:
    """Make identifiers of a kind, and tell which rows have none."""
    numbers_N = 2**60 + rng.permutation(count)
    text = [f"J{number:06d}" for number in range(count)]
    some_N, none_N = np.arange(count) % 7 == 3, np.zeros(count, bool)
    match kind:
        case "int64":
            return pa.array(numbers_N), none_N
        case "uint64":
            return pa.array(numbers_N.astype(np.uint64) + np.uint64(2**63)), none_N
        case "text":
            return pa.array(text), none_N
        case "large":
            return pa.array(text, pa.large_string()), none_N
        case "view":
            # From a Parquet file; Arrow itself cannot filter them.
            return pa.array(text, pa.string_view()), none_N
        case "dictionary":
            return pa.array(text).dictionary_encode(), none_N
        case "blank":
            return pa.array([" " if some else name for some, name in zip(some_N, text, strict=True)]), some_N
        case "nulls":
            return pa.array(text, mask=some_N), some_N
        case "doubled":
            return pa.array([text[0] if some else name for some, name in zip(some_N, text, strict=True)]), none_N
        case "double":
            return pa.array(np.where(some_N, np.nan, np.arange(count, dtype=float))), some_N
        case "rounded":
            return pa.array(numbers_N.astype(float)), none_N
        case "float":
            return pa.array(np.arange(count, dtype=np.float32)), none_N
        case "decimal":
            return pa.array(numbers_N).cast(pa.decimal128(20, 0)), none_N
        case "fraction":
            return pa.array(np.arange(count) + 0.5), none_N
        case "binary":
            return pa.array([b"\xff" + name.encode() for name in text]), none_N
        case "bool":
            return pa.array(some_N), none_N
        case "time":
            return pa.array(np.arange(count).astype("datetime64[s]")), none_N
        case "list":
            return pa.array([[name] for name in text]), none_N
        case "none":
            return pa.nulls(count), ~none_N
    return None, none_N
