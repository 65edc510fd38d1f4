"""The pages of the site: none is missing from it, no link leads nowhere, and its lists are whole."""

import re
from pathlib import Path

import pytest

from photoz.estimators.registry import CLASSES
from photoz.schema import PDF_COLUMNS, Flag

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(DOCS.glob("*.md")),
    *sorted((DOCS / "benchmarks").glob("*.md")),
    *sorted((DOCS / "notebooks").glob("*")),
]
TEXT = {path: path.read_text(encoding="utf-8") for path in [*PAGES, ROOT / "README.md"] if path.suffix == ".md"}


def list_entries(page: Path) -> list[Path]:
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", TEXT[page], flags=re.DOTALL)
    names = [line for block in blocks for line in block.splitlines() if line and not line.startswith(":")]
    return [
        next(found for end in (".md", ".ipynb") if (found := page.parent / f"{name}{end}").exists()) for name in names
    ]


def find_page(place: Path) -> Path:
    return next(path for path in (place.with_name(f"{place.name}{end}") for end in (".md", ".ipynb")) if path.exists())


def make_anchor(heading: str) -> str:
    """Name a heading as GitHub and MyST do."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading.lower())).strip().replace(" ", "-")


def test_every_page_stands_in_the_contents_once() -> None:
    there, left = [DOCS / "index.md"], [DOCS / "index.md"]
    while left:
        page = left.pop()
        found = list_entries(page) if page.suffix == ".md" else []
        there += found
        left += found
    assert sorted(there) == sorted(PAGES)


@pytest.mark.parametrize("page", TEXT, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", TEXT[page], flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:)([^)\s]*)\)", text)
    lost = []
    for link in links:
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.M) if anchor else []
        if not target.exists() or (anchor and anchor not in map(make_anchor, headings)):
            lost.append(link)
    assert lost == []


def test_the_lists_of_flags_columns_and_estimators_are_whole() -> None:
    flags = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", TEXT[DOCS / "catalogue.md"], flags=re.M))
    assert {int(bit): name for bit, name in flags.items()} == {flag.value: flag.name for flag in Flag}
    for name in PDF_COLUMNS:
        assert f"_{name}`" in TEXT[DOCS / "pdf.md"]
    rows = "\n".join(re.findall(r"^\| (`.*?) \|", TEXT[DOCS / "estimators.md"], flags=re.M))
    assert set(re.findall(r"`([\w-]+)`", rows)) == set(CLASSES)


def test_every_picture_has_its_command_on_its_page() -> None:
    for page, text in TEXT.items():
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
            assert (page.parent / picture).exists()
            assert re.search(r"(python|make) ", text), f"{page} does not say what makes {picture}"


def test_the_picture_of_the_readme_is_small() -> None:
    assert (DOCS / "readme.png").stat().st_size < 300_000
