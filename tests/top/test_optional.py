"""What needs a package that is not there says which, and the extra of pyproject.toml that brings it."""

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from photoz.errors import MissingPackageError, PhotozError
from photoz.estimators.photometric.boosted import import_lightgbm
from photoz.estimators.photometric.template import load_package
from photoz.optional import needs
from photoz.pdf.ensembles import import_qp
from photoz.survey.frame.detection import load_sep

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
USES = re.findall(
    r'needs\("[^"]+", "([^"]+)"(?:, extra="(\w+)")?\)', "".join(f.read_text() for f in (ROOT / "photoz").rglob("*.py"))
)


def name_packages(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[>=;]", each)[0] for each in requirements}


@pytest.mark.parametrize(("packages", "extra"), USES)
def test_what_is_named_is_brought(packages: str, extra: str) -> None:
    always = name_packages(PROJECT["dependencies"])
    brought = name_packages(PROJECT["optional-dependencies"][extra]) if extra else set()
    assert set(packages.split(" and ")) <= always | brought | {"no-such-package"}


@pytest.mark.parametrize(
    ("use", "module", "remedy"),
    [
        (load_sep, "sep", "photoz[frame]"),
        (import_qp, "qp", "photoz[qp]"),
        (import_lightgbm, "lightgbm", "photoz"),
        (lambda: load_package("desc_bpz"), "desc_bpz", "photoz"),
    ],
)
def test_a_lack_is_told_in_one_line(
    use: Callable[[], object], module: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=rf"pip install '{re.escape(remedy)}' \(.*{module}") as raised:
        use()
    # Of both families: commands tell it in a line, and who catches ImportError catches it.
    assert isinstance(raised.value, PhotozError)
    assert isinstance(raised.value, ImportError)


def test_other_errors_of_the_block_pass() -> None:
    with pytest.raises(ZeroDivisionError), needs("a", "b"):
        1 // 0  # noqa: B018
