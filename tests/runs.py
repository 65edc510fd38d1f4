"""What tests of whole runs share: changed settings, tiny surveys of many partitions, and counting rows in and out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from conftest import save_untrained
from ingested import ingest_every, partition
from tiny_survey import TinySurvey, make_catalogue, make_config, write_catalogue, write_survey

from photoz.catalogue.hats import PRIMARY, Partition, finish_catalogue, list_partitions, read_partition, write_partition
from photoz.settings import config_to_dict
from photoz.settings.config import Config, convert_config
from photoz.storage import use_options


def change(config: Config, **changes: object) -> Config:
    """Return the settings with ``section__key=value`` replaced."""
    values = config_to_dict(config)
    for path, value in changes.items():
        section, _, key = path.partition("__")
        values[section][key] = value
    return convert_config(msgspec.json.decode(msgspec.json.encode(values)))


def read_all(location: str) -> pa.Table:
    """Read a catalogue's rows in the order of its partitions."""
    return pa.concat_tables([read_partition(location, part) for part in list_partitions(location)])


def assert_same_rows(found: pa.Table, expected: pa.Table) -> None:
    """Assert equality to the bit, NaN equal to NaN (which Arrow's own comparison denies)."""
    assert found.schema.equals(expected.schema, check_metadata=True), f"{found.schema}\n{expected.schema}"
    for name in expected.column_names:
        np.testing.assert_array_equal(_to_numpy(found[name]), _to_numpy(expected[name]), err_msg=name)


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Return a column's values, those of lists one after another."""
    lists = pa.types.is_nested(column.type)
    return np.asarray((pa.chunked_array([c.flatten() for c in column.chunks]) if lists else column).to_numpy())


@dataclass(frozen=True)
class ManyPartitions:
    """An ingested survey of tiny tiles, about a partition each, with untrained estimators."""

    folder: Path
    config: Config
    object_ids: frozenset[str]


def write_toml(config: Config, file: Path) -> None:
    """Write the settings that tests change as a job script reads them."""
    values = config_to_dict(config)
    sections = {name: values[name] for name in ("run", "locations", "sources", "engine", "inference", "tiles")}
    sections |= {f"storage.{name}": options for name, options in values["storage"].items()}
    lines = []
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {msgspec.json.encode(value).decode()}" for key, value in section.items())]
    file.write_text("\n".join(lines))


FAR_APART = tuple(f"{ra + 45 * (dec == 0.5):.1f}_{dec}" for dec in (42.0, 0.5, -42.0) for ra in (45.0, 135.0, 225.0))
"""Tiles in nine of HEALPix's twelve base pixels: they never share a partition, however many rows one may hold."""


def name_tiles(count: int) -> tuple[str, ...]:
    """Name tiles half a degree apart: with 12 rows a partition at most, each gets its own."""
    return tuple(f"{180 + number / 2:.1f}_-0.5" for number in range(count))


def make_survey(
    folder: Path, names: tuple[str, ...], *, counts: dict[str, int] | None = None, **sections: Any
) -> ManyPartitions:
    """Ingest tiles of 12 sources, 9 of them bright; ``counts`` by tile where it differs."""
    survey = write_survey(folder, names, shape=(64, 64), count=12)
    for name, count in (counts or {}).items():
        survey.catalogues[name] = make_catalogue(name, count, width_deg=0.003, seed=count)
        write_catalogue(survey.path(name, "ugriZYJHKs_cat"), survey.catalogues[name])
    config = make_ready(folder, **sections)
    return ManyPartitions(folder, config, list_bright(survey))


def list_bright(survey: TinySurvey) -> frozenset[str]:
    """List the ids of the sources that are bright enough, 0.03 mag of calibration and 0.1 of extinction considered."""
    tables = survey.catalogues.values()
    return frozenset(str(row["ID"]) for table in tables for row in table if row["MAG_AUTO"] + 0.03 - 0.1 < 20.0)


def make_ready(folder: Path, **sections: Any) -> Config:
    """Ingest and partition what lies in the folder, and save untrained estimators."""
    values: dict[str, Any] = {
        "sources": {"rows_per_partition": 12, "highest_order": 8},
        "engine": {"name": "serial"},
        "inference": {"batch_size": 16},
    }
    for section, settings in sections.items():
        values[section] = {**values.get(section, {}), **settings}
    config = make_config(folder, **values)
    use_options(config.storage_options)
    problems = [outcome.problem for outcome in ingest_every(config)]
    assert not any(problems), problems
    partition(config)
    for name in ("hybrid", "photometry"):
        save_untrained(config, name)
    return config


def add_empty_partition(config: Config, partition: Partition) -> None:
    """Add a partition without rows to the source catalogue."""
    location = config.locations.sources
    parts = list_partitions(location)
    empty = read_partition(location, parts[0]).slice(0, 0)
    write_partition(f"{location}/{PRIMARY}", partition, empty)
    rows = [(part, len(read_partition(location, part))) for part in [*parts, partition]]
    finish_catalogue(location, rows, info={})
