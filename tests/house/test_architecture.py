"""The rules of the house: who imports whom, and where a heavy library may appear."""

import ast
from pathlib import Path

import pytest

import cluster

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = {"photoz": {"ray", "dask", "distributed", "cluster", "jobs", "kubernetes"}, "cluster": {"jobs"}}
PURE = ("cutouts", "photometry", "metrics", "content", "pdf")
READERS = {"photoz/pdf/read.py"}  # modules of a pure package whose purpose is to read
NO_INPUT_OUTPUT = {"fsspec", "zarr", "pyarrow", "astropy.io", "astropy", "pathlib", "os"}
TORCH_FOLDERS = ("estimators", "training", "inference.py")


def list_modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def find_imports(file: Path) -> set[str]:
    """Return the dotted names a module imports, and each of their parents."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names | {name.split(".")[0] for name in names}


@pytest.mark.parametrize("package", ["photoz", "cluster"])
def test_imports_run_one_way(package: str) -> None:
    strays = {str(file.relative_to(ROOT)): find_imports(file) & FORBIDDEN[package] for file in list_modules(package)}
    assert {name: found for name, found in strays.items() if found} == {}


def test_pure_modules_do_no_input_or_output() -> None:
    files = [
        file
        for file in list_modules("photoz")
        if file.relative_to(ROOT / "photoz").parts[0].split(".")[0] in PURE
        and file.relative_to(ROOT).as_posix() not in READERS
    ]
    assert files
    strays = {file.name: find_imports(file) & NO_INPUT_OUTPUT for file in files}
    assert {name: found for name, found in strays.items() if found} == {}


def test_torch_stays_with_the_networks() -> None:
    strays = [
        str(file.relative_to(ROOT))
        for file in list_modules("photoz")
        if "torch" in find_imports(file) and file.relative_to(ROOT / "photoz").parts[0] not in TORCH_FOLDERS
    ]
    assert strays == []


def test_schema_imports_nothing_of_ours() -> None:
    assert not {name for name in find_imports(ROOT / "photoz" / "schema.py") if name.startswith("photoz")}


def test_no_import_cycles() -> None:
    modules = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for package in ("photoz", "cluster")
        for file in list_modules(package)
    }
    # A package's parent is imported with it; that is no dependency of ours to follow.
    graph = {
        name: {found for found in find_imports(file) & modules.keys() if not name.startswith(f"{found}.")} - {name}
        for name, file in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"import cycle: {' -> '.join([*path, name])}"
        if name not in done:
            for needed in graph[name]:
                if not needed.startswith("photoz.estimators") or name != "photoz.estimators":
                    visit(needed, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_cluster_is_our_package() -> None:
    # PyPI has a distribution named `cluster` that installs a top-level package of that name.
    assert Path(cluster.__file__).is_relative_to(ROOT)
