"""The pages under docs/ are all listed, what they link to is there, and their tables can be read."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.documents import PAGES, ROOT, prose
from tests.unit.test_words import texts

DOCS = ROOT / "docs"
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]*)\)")
_LONGEST_CELL = 200


def links(page: Path) -> list[tuple[str, str]]:
    """Give where a page's links lead: a file, or "" for the page itself, and a heading's address or ""."""
    found = (link.partition("#") for link in _LINK.findall(prose(page)))
    return [(file, anchor) for file, _, anchor in found]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Give the addresses of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return frozenset(re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings)


def long_cells(text: str) -> list[str]:
    """Give the cells of a text's tables that are longer than anybody reads in a table."""
    rows = (re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in text.splitlines() if line[:1] == "|")
    return [cell.strip() for row in rows for cell in row if len(cell.strip()) > _LONGEST_CELL]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    missing = []
    for file, anchor in links(page):
        target = (page.parent / file) if file else page
        found = target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors(target))
        missing += [] if found else [f"{file}#{anchor}"]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_cell_of_a_table_is_short(page: Path) -> None:
    assert long_cells(prose(page)) == [], "say it in a sentence below the table, under a heading or in a list"


def test_a_long_cell_is_found() -> None:
    assert long_cells("| a | b |\n|---|---|\n| short \\| still | " + "x" * 201 + " |") == ["x" * 201]
    assert long_cells("| a |\n|---|\n| " + "x" * 200 + " |\n" + "y" * 300) == []


def crowded(text: str) -> list[str]:
    """Give the sentences of a text with five figures or more; names of code and HTTP's statuses are none."""
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-|#]|\d+\.) )", text)
    sentences = [
        sentence
        for paragraph in paragraphs
        if not paragraph.lstrip().startswith(("|", "#"))
        for sentence in re.split(r"(?<=[.!?;:])\s+", paragraph.replace("\n", " "))
    ]
    no_figure = r"`[^`]*`|\]\([^)]*\)|\b\d{4}-\d\d-\d\d\b|\bOC\d+|\b[45]\d\d\b|\b40001\b"
    return [
        sentence
        for sentence in sentences
        if len(re.findall(r"(?<![\w.])\d[\d,.]*\b", re.sub(no_figure, "", sentence))) >= 5
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_sentence_is_a_heap_of_figures(page: Path) -> None:
    assert crowded(prose(page)) == [], "five figures say nothing: make a table or a list of them"


def test_a_heap_of_figures_is_found() -> None:
    heap = "The build takes 4 s, deploying 7 s, 1,000 customers 0.5 s, 20 users 3 s."
    assert crowded(f"One.\n\n{heap} Two of 2.") == [heap]
    assert crowded("400 to 405, 413, 415 and 422 are about `1 2 3 4 5`.\n\n| 1 2 3 4 5 |") == []


@pytest.mark.parametrize("folder", [DOCS, DOCS / "decisions"], ids=lambda folder: folder.name)
def test_every_page_is_listed(folder: Path) -> None:
    listed = {file for file, _ in links(folder / "README.md")}

    assert {page.name for page in folder.glob("*.md")} - {"README.md"} <= listed


def test_decisions_have_numbers_of_their_own() -> None:
    numbers = [page.name[:4] for page in (DOCS / "decisions").glob("0*.md")]

    assert len(set(numbers)) == len(numbers)
    for page in (DOCS / "decisions").glob("0*.md"):
        assert page.read_text(encoding="utf-8").startswith(f"# {int(page.name[:4])}. ")


def named_files(text: str) -> Iterator[str]:
    """Give the files of this repository that a text names, from its root on; `*` stands for anything."""
    folders = "|".join(sorted({re.escape(name.partition("/")[0]) for name in texts() if "/" in name}))
    ends = "py|sql|yaml|yml|md|json|js|html|css|csv|txt|toml|svg|png"
    yield from re.findall(rf"(?<![\w./<$-])((?:{folders})/[\w./*-]*\w\.(?:{ends}))\b", text)


#: Files that are named and not there: those of examples, in docs/extend.md and in tests.
_EXAMPLES = re.compile(r"count_refund|CountRefund|measure_regions|/(?:x|a|b|c|no_such)\.")


def test_a_file_that_anything_names_is_there() -> None:
    """In pages, comments and messages."""
    missing = [
        f"{name}: {named}"
        for name, text in texts().items()
        if name != "tests/unit/test_pages_of_docs.py"
        for named in named_files(text)
        if not (any(ROOT.glob(named)) or any((ROOT / name).parent.glob(named)) or _EXAMPLES.search(named))
    ]
    assert missing == [], "it was renamed or is gone"


def test_a_file_that_is_not_there_is_found() -> None:
    text = "see domain/events.py, `tests/*/test_x.py` and .local/dev/x.py, ../docs/README.md, sql/queries"
    assert [*named_files(text)] == ["domain/events.py", "tests/*/test_x.py"]


def named_tests(text: str) -> list[str]:
    """Give what a text names of tests: files, and `file::test` of one."""
    return re.findall(r"`(tests/[\w./]+(?:::\w+)?)`", text)


@cache
def names_of_tests() -> frozenset[str]:
    """Give the names of all tests."""
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    return frozenset(name for text in files for name in re.findall(r"def (test_\w+)\(", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_test_that_a_page_names_is_there(page: Path) -> None:
    missing = []
    for named in named_tests(page.read_text(encoding="utf-8")):
        file, _, test = named.partition("::")
        found = (ROOT / file).exists() and (not test or f"def {test}(" in (ROOT / file).read_text("utf-8"))
        missing += [] if found else [named]
    missing += set(re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))) - names_of_tests()

    assert missing == [], "it was renamed or is gone: name the test that holds the claim now"


def test_each_claim_of_security_names_its_tests() -> None:
    page = prose(DOCS / "security.md").partition("\n## What is left open")[0]
    claims = [part for part in page.split("\n\n") if part.startswith("**")]
    # What checks the templates is the check itself.
    unproven = [claim for claim in claims if not named_tests(claim) and "`make check`" not in claim]

    assert len(claims) > 15
    assert unproven == [], "end the claim with `Test: path::name`, of a test that fails without it"
