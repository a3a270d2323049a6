"""The pages under docs/ are all listed, and what they link to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]+)")

PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob(".github/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = _LINK.findall(page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("folder", [DOCS, DOCS / "decisions"], ids=lambda folder: folder.name)
def test_every_page_is_listed(folder: Path) -> None:
    listed = set(_LINK.findall((folder / "README.md").read_text(encoding="utf-8")))

    assert {page.name for page in folder.glob("*.md")} - {"README.md"} <= listed


def test_decisions_have_numbers_of_their_own() -> None:
    numbers = [page.name[:4] for page in (DOCS / "decisions").glob("0*.md")]

    assert len(set(numbers)) == len(numbers)
    for page in (DOCS / "decisions").glob("0*.md"):
        assert page.read_text(encoding="utf-8").startswith(f"# {int(page.name[:4])}. ")
