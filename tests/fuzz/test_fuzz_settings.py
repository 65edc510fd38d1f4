"""Settings, surveys' files and cuts of any content: taken, or refused by an error of ours."""

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pyarrow as pa
from fuzzed import go_on
from hypothesis import strategies as st

from photoz.comparison.settings import Comparison
from photoz.errors import PhotozError
from photoz.settings import config_to_dict, convert_settings, load_settings
from photoz.settings.config import Config
from photoz.tables.convert import convert
from photoz.tables.cuts import apply_cut
from photoz.tables.load import list_surveys, load_survey, make_survey, parse_survey
from photoz.training.settings import Fit

KINDS = (Config, Comparison, Fit)
WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ("", "~", "$NOWHERE/a", "${", "s3://", "file://", "a::b", "{band}", "{ra}_{dec}", "{x}", "[", "*", "1e3", "nan")
    ),
    st.sampled_from(("https://a:b@c", "//", "\0", "\n", "AB", "flux", "mag", "deg", "knn", "serial")),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)


def list_paths(kind: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """List the names of all settings of a structure, its sections' too."""
    found = []
    for field in msgspec.structs.fields(kind):
        path = (*before, field.name)
        inner = [each for each in (field.type, *get_args(field.type)) if isinstance(each, type)]
        structs = [each for each in inner if issubclass(each, msgspec.Struct)]
        found += [deep for each in structs for deep in list_paths(each, path)] if structs else [path]
    return found


PATHS = {kind: list_paths(kind) for kind in KINDS}


@st.composite
def draw_settings(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    """Draw settings of which some have another value, or there are others."""
    kind = draw(st.sampled_from(KINDS))
    values: dict[str, Any] = {}
    if kind is Config:
        locations = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
        values = {"run": {"name": "x"}, "locations": dict.fromkeys(locations, "place")}
    for path in draw(st.lists(st.sampled_from(PATHS[kind]) | st.tuples(WORDS, WORDS), max_size=4)):
        section = values
        for name in path[:-1]:
            section = section.setdefault(name, {}) if isinstance(section, dict) else {}
        if isinstance(section, dict):
            section[path[-1]] = draw(VALUES)
    return kind, values


def convert_any(example: tuple[Any, dict[str, Any]]) -> None:
    kind, values = example
    try:
        settings = convert_settings(kind, values)
    except PhotozError:
        return
    # What is recorded gives the same settings again.
    recorded = json.dumps(config_to_dict(settings))
    again = json.dumps(config_to_dict(convert_settings(kind, json.loads(recorded))))
    # NaN as text, which is equal to itself.
    assert json.loads(again, parse_constant=str) == json.loads(recorded, parse_constant=str)


def test_settings_of_any_content() -> None:
    go_on(draw_settings(), convert_any, rounds=20, share=0.3)


def test_files_and_overrides_of_any_content(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"

    def load(example: tuple[Any, str, list[str]]) -> None:
        kind, text, overrides = example
        file.write_text(text, encoding="utf-8")
        try:
            load_settings(kind, str(file), overrides)
        except PhotozError:
            return

    lines = st.lists(st.tuples(WORDS, VALUES).map(lambda pair: f"{pair[0]} = {pair[1]!r}") | st.just("[run]") | WORDS)
    overrides = st.tuples(st.sampled_from(PATHS[Config]).map(".".join) | WORDS, WORDS).map("=".join)
    go_on(
        st.tuples(st.sampled_from(KINDS), lines.map("\n".join), st.lists(overrides, max_size=3)),
        load,
        rounds=30,
        share=0.3,
    )


PARTS = st.sampled_from(
    (
        "f", "flags", "text", "`a b`", "nobody", "1", "-2.5", "1e400", "'a'", "True", "None", "[1, 2]", "['a']", "(",
        ")", "and", "or", "not", "in", "==", "<", ">=", "&", "|", "~", "<<", ">>", "+", "**", "/", "%", "abs(",
        "log10(", "isnull(", "eval(", "lambda", ",", ".",
    )
)  # fmt: skip
COLUMNS = {
    "f": pa.array([1.5, np.nan, None, -np.inf]),
    "flags": pa.array([0, 4, None, 2**63 - 1]),
    "text": pa.array(["a", "", None, "b"]),
    "a b": pa.array([2**64 - 1, 0, None, 1], pa.uint64()),
}


def cut_any(parts: list[str]) -> None:
    text = " ".join(parts)
    try:
        kept = apply_cut(text, COLUMNS)
    except PhotozError:
        return
    assert (len(kept), kept.null_count) == (4, 0)


def test_cuts_of_any_content() -> None:
    go_on(st.lists(PARTS, max_size=9) | WORDS.map(lambda text: [text]), cut_any, rounds=60, share=0.2)


@st.composite
def draw_surveys(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a survey's file that photoz has, with other values in it."""
    values = json.loads(msgspec.json.encode(load_survey(draw(st.sampled_from(list_surveys())))))
    for name in draw(st.lists(st.sampled_from(sorted(values)), max_size=3)):
        inner = values[name]
        target = inner[0] if isinstance(inner, list) and inner and isinstance(inner[0], dict) else inner
        if isinstance(target, dict) and target and draw(st.booleans()):
            target[draw(st.sampled_from(sorted(target)))] = draw(
                VALUES | st.sampled_from(("f", "{band}", "flux", "mag", 1.0))
            )
        else:
            values[name] = draw(VALUES)
    return values


def survey_any(values: dict[str, Any]) -> None:
    numbers = pa.array([1.0, 20.0, np.nan])
    try:
        survey = make_survey(values)
        columns = dict.fromkeys(("f", "RA", "DEC", "ra", "dec", "z_spec"), numbers) | {"ID": pa.array(["a", "b", "c"])}
        columns |= {column: numbers for band in survey.bands for column in (f"mag_{band}", f"flux_{band}")}
        convert(pa.table(columns), survey)
    except PhotozError:
        return


def test_surveys_of_any_content() -> None:
    go_on(draw_surveys(), survey_any, rounds=40, share=0.3)


def parse_any(content: bytes) -> None:
    try:
        parse_survey(content, "x.toml")
    except PhotozError:
        return


def test_files_of_surveys_of_any_bytes() -> None:
    known = (Path(__file__).parents[2] / "photoz" / "surveys" / "plain.toml").read_bytes()

    def change(pair: tuple[int, bytes]) -> bytes:
        place = pair[0] % len(known)
        return known[:place] + pair[1] + known[place + len(pair[1]) :]

    go_on(
        st.tuples(st.integers(0, 10_000), st.binary(max_size=6)).map(change) | st.binary(),
        parse_any,
        rounds=45,
        share=0.1,
    )
