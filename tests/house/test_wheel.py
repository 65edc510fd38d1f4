"""Wheel and source distribution carry what the program reads beside its code, and work where there is no checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = {".css", ".html", ".json", ".pyi", ".toml", ".typed"}
BESIDE = ["CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml"]
pytestmark = pytest.mark.slow


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return str(done.stdout)


def list_package_files() -> set[str]:
    return {
        file.relative_to(ROOT).as_posix()
        for package in ("photoz", "cluster")
        for file in (ROOT / package).rglob("*")
        if file.suffix in {".py", *DATA}
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution from a copy: setuptools leaves its files in the folder that it builds."""
    folder = tmp_path_factory.mktemp("sdist")
    for name in ("photoz", "cluster", "tests"):
        shutil.copytree(ROOT / name, folder / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE:
        shutil.copy(ROOT / name, folder / "copy")
    build = "import sys, setuptools.build_meta as backend; backend.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, folder, cwd=folder / "copy")
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it of the source distribution, as pip does of one that it downloads."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, source)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install it in an environment of its own, which has nothing else; return the folder of its programs.

    What photoz needs is found in the environment that the tests run in, by a path that comes after its own packages: as
    if pip had installed it, without the network. An editable photoz there is not found by it.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    run(sys.executable, "-m", "pip", "--python", folder, "install", "--quiet", "--no-deps", "--no-index", wheel)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def test_the_source_distribution_holds_the_packages_and_what_tells_of_them(source: Path) -> None:
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*list_package_files(), *BESIDE} <= names
    assert not [name for name in names if name.startswith("tests")]


def test_the_wheel_holds_all_files_of_both_packages_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == list_package_files()
    assert {"cluster/commands/dr4.toml", "photoz/report/page.html", "photoz/py.typed", "cluster/py.typed"} <= names


def test_the_wheel_tells_its_licence_and_its_extras(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
        assert any(each.endswith("licenses/LICENSE") for each in archive.namelist())
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert {"demo", "frame", "lsdb", "qp", "rail", "store"} <= set(metadata.get_all("Provides-Extra"))
    assert "Typing :: Typed" in metadata.get_all("Classifier")


@pytest.fixture
def options(tmp_path: Path) -> dict[str, object]:
    """Neither the checkout nor settings of whoever runs the tests."""
    left_out = ("PHOTOZ_CONFIG", "PYTHONPATH")
    return {"cwd": tmp_path, "env": {name: value for name, value in os.environ.items() if name not in left_out}}


def test_it_works_without_a_checkout(wheel: Path, installed: Path, tmp_path: Path, options: dict[str, object]) -> None:
    version = wheel.name.split("-")[1]
    for command in ([installed / "photoz"], [installed / "python", "-m", "photoz"]):
        assert run(*command, "--version", **options) == f"photoz {version}\n"
        settings = json.loads(run(*command, "infer", "--dry-run", **options))
        assert settings["locations"]["catalogue"] == f"{tmp_path}/data/dr4/catalogue"
    found = run(
        installed / "python", "-c", "import cluster, photoz; print(cluster.__file__, photoz.__file__)", **options
    )
    assert all(Path(file).is_relative_to(installed.parent) for file in found.split())


def test_surveys_files_are_found_without_a_checkout(installed: Path, options: dict[str, object]) -> None:
    code = "from photoz.tables import load_survey; print(load_survey('des_y6_gold').name, load_survey('sdss').name)"
    assert run(installed / "python", "-c", code, **options) == "DES Y6 Gold SDSS DR17\n"


def test_a_first_result_in_another_folder(installed: Path, tmp_path: Path, options: dict[str, object]) -> None:
    """Real galaxies, from nothing to a report, and on the way no line that is not ours."""
    command = [str(installed / "photoz"), "first"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr[-3000:]
    smad = re.search(r"^SMAD\(dz\) +([\d.]+)", done.stdout, re.MULTILINE)
    assert smad is not None
    assert 0.008 < float(smad.group(1)) < 0.016
    told = dict(re.findall(r"^(model|catalogue|page|report): (\S+)", done.stdout, re.MULTILINE))
    assert told.keys() == {"model", "catalogue", "page", "report"}
    assert all(Path(path).exists() for path in told.values())
    assert "<html" in Path(told["report"]).read_text()
    assert [
        line for line in done.stderr.splitlines() if not re.match(r"[\d:]{8} (\w+ )?(photoz|cluster)\.", line)
    ] == []
    assert len((done.stdout + done.stderr).splitlines()) < 80
    assert "cluster.telemetry" in (tmp_path / "data" / "first" / "redshifts.log").read_text()
