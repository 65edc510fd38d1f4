"""The notebooks run as they stand, from the first cell to the last, and are stored without outputs."""

import os
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks are read by nbformat: pip install 'photoz[test]'")
nbclient = pytest.importorskip("nbclient", reason="notebooks are run by nbclient: pip install 'photoz[test]'")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel be this Python, with this checkout."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    # Whatever kernel a user has installed under the notebook's name is of another environment.
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["catalogue", "images", "table"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    run = [cell["id"] for cell in book.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]
    assert run == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.create_kernel_manager()
    assert client.km is not None
    # Not what a kernel's file names: the Python that runs the tests.
    client.km.kernel_spec.argv[0] = sys.executable
    client.execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
