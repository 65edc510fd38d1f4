"""A survey's catalogue with odd columns, from its file to an audited catalogue: refused in words, or every row told."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from fuzzed import NO_ERRORS, NO_MAGNITUDES, NO_POSITIONS, go_on, spoil
from hypothesis import strategies as st
from ingested import find_survey, partition
from runs import read_all
from tiny_survey import BANDS, TinySurvey, make_catalogue, write_catalogue, write_survey

import photoz
from cluster.audit import audit_catalogue
from cluster.inference.run import infer_catalogue
from photoz.errors import CatalogueError
from photoz.ingest.staging import staged_location
from photoz.ingest.tile import ingest_tile
from photoz.schema import Flag
from photoz.settings import config_to_dict
from photoz.settings.config import Config, convert_config

TILE = "180.0_-0.5"
KINDS = ("float32", "float32", "float64", "int16", "int32", "str", "bool", "masked", "complex", "pair")
UNITS = ("", "", "", "deg", "rad", "mag", "hours", "Jy", "arcsec", "no unit", "mag(AB)")
IDENTIFIERS = (
    "text",
    "text",
    "int64",
    "uint64",
    "double",
    "rounded",
    "nan",
    "blank",
    "padded",
    "doubled",
    "tnull",
    "bool",
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave out what is told of each of a thousand tables."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> TinySurvey:
    """A survey whose galaxies can be estimated, and a model of such."""
    folder = tmp_path_factory.mktemp("fuzz")
    survey = write_survey(folder, (TILE,), shape=(48, 48), count=12)
    rng = np.random.default_rng(1)
    columns: dict[str, Any] = {"z_spec": rng.uniform(0.02, 0.8, 300)}
    for place, band in enumerate(BANDS):
        columns[f"mag_{band}"] = 20 + 1.5 * columns["z_spec"] - place * columns["z_spec"] + rng.normal(0, 0.3, 300)
        columns[f"magerr_{band}"] = np.full(300, 0.03)
    photoz.fit(columns, BANDS, estimator="knn").save(f"{survey.config.locations.models}/knn")
    return survey


@st.composite
def draw_catalogues(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what is done with a catalogue's columns; `change` does it."""
    columns = ["RAJ2000", "DECJ2000", "MAG_AUTO", "MAGERR_AUTO", "SG_FLAG", "MASK", "CLASS_STAR", "EXTINCTION_r"]
    columns += [f"{kind}_{band}" for kind in ("MAG_GAAP", "MAGERR_GAAP", "EXTINCTION") for band in ("g", "Ks")]
    return {
        "seed": draw(st.integers(0, 2**32 - 1)),
        "count": draw(st.integers(0, 60)),
        "kinds": draw(st.dictionaries(st.sampled_from(columns), st.sampled_from(KINDS), max_size=2)),
        "units": draw(st.dictionaries(st.sampled_from(columns), st.sampled_from(UNITS), max_size=2)),
        "ids": draw(st.sampled_from(IDENTIFIERS)),
        "share": draw(st.sampled_from((0.0, 0.1, 0.4))),
        "settings": draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "magnitudes_dereddened": st.booleans(),
                    "mag_auto_dereddened": st.booleans(),
                    "mag_auto_offset_sign": st.sampled_from((-1, 0, 1)),
                    "not_detected": st.sampled_from((99.0, 35.0, 0.0)),
                    "not_observed": st.sampled_from((-99.0, -999.0)),
                },
            )
        ),
        "offset": draw(st.sampled_from((0.03, 0.03, 0.03, -99.0, 1e30, "n/a", True))),
        "whole": draw(st.sampled_from((False, False, False, True))),
    }


def change(drawn: dict[str, Any]) -> tuple[Table, np.ndarray, np.ndarray]:
    """Make the catalogue; also which rows are hopeless, and which have no identifier."""
    rng, count = np.random.default_rng(drawn["seed"]), drawn["count"]
    table = make_catalogue(TILE, max(count, 3), width_deg=0.002, seed=1)[:count]
    hopeless_N = rng.random(count) < drawn["share"]
    for band in BANDS:
        for kind, bad in (("MAG_GAAP", NO_MAGNITUDES), ("MAGERR_GAAP", NO_ERRORS)):
            spoil(rng, table[f"{kind}_{band}"], bad, hopeless_N | (rng.random(count) < drawn["share"] / 4))
    spoil(rng, table["RAJ2000"], NO_POSITIONS, rng.random(count) < drawn["share"] / 4)
    spoil(rng, table["MAG_AUTO"], NO_MAGNITUDES, rng.random(count) < drawn["share"] / 4)
    for name, kind in drawn["kinds"].items():
        table[name] = make_kind(np.asarray(table[name]), kind)
    for name, unit in drawn["units"].items():
        table[name].unit = unit or None
    nameless_N = name_sources(table, drawn["ids"])
    return table, hopeless_N, nameless_N


def make_kind(values_N: np.ndarray, kind: str) -> Any:
    known_N = np.isfinite(values_N) & (np.abs(values_N) < 30_000)
    whole_N = np.rint(np.where(known_N, values_N, 0))
    match kind:
        case "int16" | "int32":
            return MaskedColumn(whole_N.astype(kind), mask=~known_N, fill_value=-999)
        case "masked":
            return MaskedColumn(whole_N.astype(np.int32), mask=np.arange(len(values_N)) % 3 == 0, fill_value=-1)
        case "str":
            return np.array([f"{value:.3f}" for value in values_N], "U12")
        case "bool":
            return whole_N > 0
        case "complex":
            return values_N.astype(np.complex64)
        case "pair":
            return np.stack([values_N, values_N], axis=1)
    with np.errstate(over="ignore"):
        return values_N.astype(kind)


def name_sources(table: Table, kind: str) -> np.ndarray:
    count = len(table)
    some_N, none_N = np.arange(count) % 5 == 3, np.zeros(count, bool)
    match kind:
        case "int64":
            table["ID"] = 2**60 + np.arange(count)
        case "uint64":
            table["ID"] = np.arange(count).astype(np.uint64) + np.uint64(2**63)
        case "double":
            table["ID"] = np.arange(count) + 1000.0
        case "rounded":
            table["ID"] = 2.0**53 + 2 * np.arange(count)
        case "nan":
            table["ID"] = np.where(some_N, np.nan, np.arange(count) + 1000.0)
            return some_N
        case "blank":
            table["ID"] = np.where(some_N, "  ", table["ID"])
            return some_N
        case "padded":
            table["ID"] = np.char.add(np.asarray(table["ID"]).astype("U30"), "  ")
        case "doubled":
            table["ID"] = np.where(some_N, "J1", table["ID"])
        case "tnull":
            table["ID"] = MaskedColumn(np.arange(count) + 1000, mask=some_N, fill_value=-1)
            return some_N
        case "bool":
            table["ID"] = some_N
    return none_N


def test_catalogues_to_audited_ones(survey: TinySurvey) -> None:
    (tile,) = find_survey(survey.config)
    path = survey.path(TILE, "ugriZYJHKs_cat")

    def run(drawn: dict[str, Any]) -> None:
        table, hopeless_N, nameless_N = change(drawn)
        write_catalogue(path, table, dict.fromkeys("UGRI", drawn["offset"]))
        config = settle(survey.config, drawn)
        for place in (config.locations.sources, f"{config.locations.sources}_staging", config.locations.catalogue):
            shutil.rmtree(place, ignore_errors=True)
        outcome = ingest_tile(config, tile)
        if outcome.parts["catalogue"].status == "failed":
            assert outcome.problem
            assert not Path(staged_location(config.locations.sources, tile.name)).exists()
            return
        assert outcome.sum_counts("sources") + outcome.sum_counts("rejected") <= len(table)
        if drawn["whole"]:
            names = [str(name).strip().removesuffix(".0") for name in np.asarray(table["ID"]).tolist()]
            named = {name for name, nameless in zip(names, nameless_N, strict=True) if not nameless}
            hopeless = {name for name, is_so in zip(names, hopeless_N, strict=True) if is_so}
            audit(config, outcome.sum_counts("sources"), named, hopeless if len(named) == len(table) else set())

    go_on(draw_catalogues(), run, rounds=4)


def settle(config: Config, drawn: dict[str, Any]) -> Config:
    values = msgspec.json.decode(msgspec.json.encode(config_to_dict(config)))
    values["survey"] |= drawn["settings"]
    values["engine"] |= {"name": "serial", "retries": 0}
    values["inference"]["estimator"] = "knn"
    values["sources"]["margin_arcsec"] = 0.0
    return convert_config(values)


def audit(config: Config, sources: int, named: set[str], hopeless: set[str]) -> None:
    """Go on to a catalogue of all staged rows, each under an identifier that the survey's catalogue has."""
    if not sources:
        with pytest.raises(CatalogueError, match="no source is selected"):
            partition(config)
        return
    partition(config)
    infer_catalogue(config)
    report = audit_catalogue(config)
    assert {finding.check for finding in report.findings} <= {"duplicate ids"}
    assert report.rows == sources
    rows = read_all(config.locations.catalogue)
    assert set(rows["object_id"].to_pylist()) <= named
    lost_N = np.isnan(rows["z_phot"].to_numpy())
    assert ((rows["flags"].to_numpy()[lost_N] & Flag.ESTIMATE_FAILED) != 0).all()
    assert lost_N[np.isin(rows["object_id"].to_pylist(), sorted(hopeless))].all()
