"""A location is a name, never a pattern: whole runs in folders whose names are patterns that match a neighbour."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from fault_places import NAMES, Place, find_files
from runs import change, list_bright, read_all
from tiny_survey import make_config, write_survey

from cluster.audit import audit_catalogue
from cluster.inference.run import infer_catalogue
from cluster.ingest import ingest_survey
from cluster.training.photometric import train_photometric
from cluster.training.set import build_training_set
from photoz.settings.config import Config
from photoz.storage import (
    exists,
    find_filesystem,
    join,
    list_folder,
    move,
    open_atomic,
    remove,
    use_options,
    write_json,
)
from photoz.storage import find_files as find_within

PAIRS = {
    "brackets": ("run1", "run[1]"),
    "question": ("runA", "run?"),
    "star": ("run-of-old", "run*"),
    "braces": ("run,b", "run{,}b"),
    "all": ("1 * {x} # 50%20 ü,", "[1] * {x} # 50%20 ü,"),
    "once more": ("a * {x} # 50%20 ü,", "? * {x} # 50%20 ü,"),
}


def run_all(folder: Path, place: str, tile: str, **sections: Any) -> frozenset[str]:
    """Go from survey files to an audited catalogue, all locations within one place; return the expected ids."""
    survey = write_survey(folder, (tile,), shape=(64, 64), count=40)
    # What a run writes has an odd name of its own as well.
    locations = {name: join(place, f"{name} +ü:1%2F'") for name in NAMES} | {"survey": join(place, "survey")}
    config = make_config(folder, locations=locations, engine={"name": "serial"}, **sections)
    use_options(config.storage_options)
    write_spectra(survey.folder / "gkvScienceCatv02.fits", survey.catalogues[tile])
    # The survey's own files lie there, too.
    for file in survey.folder.iterdir():
        with open_atomic(join(place, "survey", file.name)) as copy:
            copy.write(file.read_bytes())
    assert ingest_survey(config) == 0
    build_training_set(config)
    config = change(config, training__estimator="knn", inference__estimator="knn")
    train_photometric(config)
    infer_catalogue(config)
    check_catalogue(config, list_bright(survey))
    return list_bright(survey)


def write_spectra(file: Path, catalogue: Table) -> None:
    table = Table({"RAcen": catalogue["RAJ2000"], "Deccen": catalogue["DECJ2000"]})
    table["Z"], table["NQ"], table["duplicate"] = np.linspace(0.05, 0.5, len(table)), 4, 0
    table.write(file)


def check_catalogue(config: Config, ids: frozenset[str]) -> None:
    assert set(read_all(config.locations.catalogue)["object_id"].to_pylist()) == ids
    report = audit_catalogue(config)
    assert report.clean, report.findings


def read_bytes(place: str) -> dict[str, bytes]:
    filesystem, _ = find_filesystem(place)
    return {name: filesystem.cat_file(find_filesystem(name)[1]) for name in find_files(place)}


def run_beside(folder: Path, base: str, pair: tuple[str, str], **sections: Any) -> None:
    first, second = (join(base, name) for name in pair)
    run_all(folder / "first", first, "180.0_-0.5", **sections)
    before = read_bytes(first)
    assert before
    run_all(folder / "second", second, "10.0_-0.5", **sections)
    assert read_bytes(first) == before


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_run_beside_one_that_its_name_would_match(tmp_path: Path, pair: tuple[str, str]) -> None:
    run_beside(tmp_path / "surveys", str(tmp_path), pair)


@pytest.fixture(scope="module")
def bucket_and_endpoint() -> Any:
    pytest.importorskip("moto.server", reason="the server of the object store: pip install 'photoz[test]'")
    from object_store import make_bucket, open_store

    with open_store() as endpoint, make_bucket(endpoint) as bucket:
        yield bucket, endpoint


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_the_same_in_an_object_store(
    bucket_and_endpoint: tuple[str, str], tmp_path: Path, pair: tuple[str, str]
) -> None:
    bucket, endpoint = bucket_and_endpoint
    run_beside(tmp_path, bucket, pair, **{"storage": Place(bucket, endpoint).settle("")["storage"]})


@pytest.mark.slow
def test_a_name_that_no_name_matches_in_an_object_store(bucket_and_endpoint: tuple[str, str], tmp_path: Path) -> None:
    """Without a neighbour that fsspec could find, and take for the one that is meant."""
    bucket, endpoint = bucket_and_endpoint
    sections = {"storage": Place(bucket, endpoint).settle("")["storage"]}
    run_all(tmp_path, join(bucket, "alone [v2]"), "180.0_-0.5", **sections)


@pytest.fixture(params=["disk", "store"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path)
    bucket, endpoint = request.getfixturevalue("bucket_and_endpoint")
    use_options(make_config(tmp_path, **{"storage": Place(bucket, endpoint).settle("")["storage"]}).storage_options)
    return join(bucket, tmp_path.name)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_listing_moving_and_removing_take_names_for_names(base: str, pair: tuple[str, str]) -> None:
    neighbour, folder = (join(base, name) for name in pair)
    for place in (neighbour, folder):
        write_json(join(place, "a.json"), place)
        write_json(join(place, "below", pair[1], "b.json"), place)
    assert list_folder(folder, "*.json") == [join(folder, "a.json")]
    assert list_folder(folder) == [join(folder, "a.json"), join(folder, "below")]
    assert find_within(folder, "*/b.json") == [f"below/{pair[1]}/b.json"]
    filesystem, path = find_filesystem(folder)
    move(filesystem, f"{path}/a.json", f"{path}/c.json")
    assert find_within(folder) == [f"below/{pair[1]}/b.json", "c.json"]
    with open_atomic(join(folder, pair[1])) as file:
        file.write(b"1")
    remove(join(folder, pair[1]))
    remove(join(folder, "below"))
    assert find_within(folder) == ["c.json"]
    remove(folder)
    assert not exists(folder)
    assert find_within(neighbour) == ["a.json", f"below/{pair[1]}/b.json"]
