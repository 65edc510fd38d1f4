"""What an institution asks of a package agrees with itself: version, licence, citation, hooks, dependencies, guides."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PATHS = r"[`(]((?:photoz|cluster|jobs|tests|docs|deploy|\.)[\w.-]*/[\w./-]+|[A-Z]+\.md|pyproject\.toml)[`)]"


def test_the_hooks_are_what_ci_runs() -> None:
    commands = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("make ")]
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in repo["hooks"]] == commands


def test_the_version_of_the_changelog_and_of_the_images_is_the_packages() -> None:
    version = PROJECT["version"]
    first = re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first.group(1) == version
    files = [file for file in (ROOT / "deploy").rglob("*") if file.suffix in {".yaml", ".md", ""} and file.is_file()]
    tags = re.findall(r"photoz:(\d[\d.]*)-c", "".join(file.read_text() for file in files))
    assert set(tags) == {version}


def test_the_citation_names_what_the_package_says() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]
    assert citation["title"] == PROJECT["name"]
    # One place alone tells the version.
    assert "version" not in citation
    assert PROJECT["authors"][0]["name"] in (ROOT / "LICENSE").read_text()


def test_every_package_that_is_imported_is_declared() -> None:
    known = packages_distributions()
    required = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    # With the names of their own extras: `dask[distributed]` brings distributed.
    named = [re.split("[>=;]", each)[0] for part in required for each in part]
    declared = {normalize(name) for each in named for name in re.findall(r"[A-Za-z][\w.-]*", each)}
    missing = {
        f"{file.relative_to(ROOT)}: {module}"
        for package in ("photoz", "cluster")
        for file in (ROOT / package).rglob("*.py")
        for module in find_modules(file)
        # What is not installed here is an extra that the tests do without.
        if module in known and not {normalize(name) for name in known[module]} & declared
    }
    assert missing == set()


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def find_modules(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"photoz", "cluster"}


def test_the_paths_and_targets_that_the_guide_gives_exist() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(PATHS, guide)
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)", guide)) <= set(targets)
