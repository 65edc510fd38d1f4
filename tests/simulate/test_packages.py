"""A simulated survey without the packages that it needs says which, and how to get them."""

import importlib
import sys

import pytest


@pytest.mark.parametrize("name", ["galsim", "kcorrect"])
def test_a_lack_is_told_with_the_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "photoz.simulate.packages", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"needs galsim and kcorrect: pip install 'photoz\[demo\]' \(.*{name}"):
        importlib.import_module("photoz.simulate.packages")


def test_with_both_it_is_imported_and_gives_nothing_of_its_own() -> None:
    pytest.importorskip("galsim")
    pytest.importorskip("kcorrect")
    module = importlib.import_module("photoz.simulate.packages")
    assert [name for name in vars(module) if not name.startswith("_")] == []
