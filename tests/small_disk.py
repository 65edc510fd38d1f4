"""A disk that fills up."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from object_store import ENDPOINT


class SmallDisk:
    """64 MiB of memory mounted as a disk: hats-import keeps some 10 for a sky of order 8.

    Parameters
    ----------
    folder : pathlib.Path
        Where it is mounted.
    """

    SIZE = 64 << 20

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def leave(self, size: int) -> None:
        """Fill it, but for so many bytes."""
        self.make_room()
        free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_bsize
        self._ballast.write_bytes(bytes(free - size))

    def make_room(self) -> None:
        """Remove what fills it."""
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Mount a small disk for the time of the test."""
    if ENDPOINT:
        pytest.skip("a bucket has no disk that a test could fill")
    if os.geteuid() != 0:
        pytest.skip("only root may mount the small disk that is to fill up")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SmallDisk.SIZE}", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"mounting the small disk that is to fill up is refused: {mounted.stderr}")
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
