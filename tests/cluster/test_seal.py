"""Checksums of many files, made on the engine: what is missing or another's is found."""

from pathlib import Path

import pytest

from cluster.engines.serial import SerialEngine
from cluster.seal import compute_checksums, find_changed
from photoz.settings.engine import EngineSettings
from photoz.storage import StorageOptions, compute_checksum

COUNT = 250  # more than go into one task


@pytest.fixture
def engine() -> SerialEngine:
    return SerialEngine(EngineSettings(name="serial", retries=0), StorageOptions())


@pytest.fixture
def names(tmp_path: Path) -> list[str]:
    (tmp_path / "a[1]").mkdir()
    names = [f"a[1]/{number}.bin" for number in range(COUNT)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(bytes([number]) * number)
    return names


def test_every_file_has_its_checksum(engine: SerialEngine, names: list[str], tmp_path: Path) -> None:
    found = compute_checksums(engine, str(tmp_path), names)
    assert found == {name: compute_checksum(str(tmp_path / name)) for name in names}
    assert find_changed(engine, str(tmp_path), found) == []


def test_what_is_missing_or_anothers_is_found(engine: SerialEngine, names: list[str], tmp_path: Path) -> None:
    sealed = compute_checksums(engine, str(tmp_path), names)
    (tmp_path / names[7]).unlink()
    (tmp_path / names[201]).write_bytes(b"another's")
    (tmp_path / "a[1]" / "new.bin").write_bytes(b"of nobody's concern")
    assert find_changed(engine, str(tmp_path), sealed) == [names[7], names[201]]


def test_nothing_is_sealed_of_nothing(engine: SerialEngine, tmp_path: Path) -> None:
    assert compute_checksums(engine, str(tmp_path), []) == {}
    assert find_changed(engine, str(tmp_path), {}) == []
