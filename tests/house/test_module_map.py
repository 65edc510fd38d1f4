"""The page that says what lies where is true: all rooms are on it, imports run down it, the paths it names exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "module-map.md").read_text()
ROOMS = re.findall(r"^\| `((?:photoz|cluster|jobs)[\w.]*)` \|", PAGE, flags=re.MULTILINE)


def list_modules() -> dict[str, Path]:
    files = [file for package in ("photoz", "cluster", "jobs") for file in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def find_room(module: str) -> str:
    parts = module.split(".")
    return "jobs" if parts[0] == "jobs" else ".".join(parts[:2])


def find_imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_stands_on_the_page_once() -> None:
    there = {find_room(module) for module in list_modules()} - {"photoz", "cluster"}
    assert sorted(ROOMS) == sorted(there)


def test_imports_run_down_the_page() -> None:
    modules = list_modules()
    place = {room: number for number, room in enumerate(ROOMS)}
    upwards = [
        f"{module} imports {found}"
        for module, file in modules.items()
        if module not in ("photoz", "cluster")
        for found in find_imports(file)
        if found in modules
        and found not in ("photoz", "cluster")
        and not found.endswith(".settings")
        # The root of the settings gathers the sections, which only declare.
        and module != "photoz.settings.config"
        if place[find_room(found)] < place[find_room(module)]
    ]
    assert upwards == []


def test_the_paths_it_names_exist() -> None:
    paths = re.findall(r"`((?:photoz|cluster|jobs|tests|docs|deploy)/[\w./]*)`", PAGE)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
