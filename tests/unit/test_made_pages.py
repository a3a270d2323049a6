"""docs/configuration.md and docs/schema.md are what the code says; nothing that can be set is left out."""

import re
from pathlib import Path

import pytest

from sql.migrate import DIRECTORY
from tools import pages
from tools.template import ROOT, template

_SEARCHED = (
    *(
        "api",
        "bench",
        "demos",
        "domain",
        "events",
        "handlers",
        "local",
        "local_dsql",
        "operations",
        "sql",
        "tools",
    ),
)


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_a_page_is_what_the_code_makes(page: Path) -> None:
    assert page.read_text("utf-8") == pages.PAGES[page](), "run: .local/dev/bin/python -m tools.pages"


def test_every_variable_of_the_environment_is_on_the_page_of_configuration() -> None:
    read = set()
    for folder in _SEARCHED:
        for path in (ROOT / folder).rglob("*.py"):
            read |= set(
                re.findall(
                    r'environ(?:ment)?(?:\.get\(|\[|\.setdefault\(|\.pop\()\s*"([A-Z_]+)"',
                    path.read_text("utf-8"),
                )
            )
    known = {*pages.OF_COMMANDS, *pages.INTERNAL, *pages.environment_of_functions()}

    assert len(read) > 10
    assert read - known == set(), "say what it is for in OF_COMMANDS of tools/pages.py"


def test_everything_that_make_is_given_is_on_the_page() -> None:
    asked = set(re.findall(r"\$\(([A-Z_]+)\)|\$\((?:or|if) \$\(([A-Z_]+)\)", (ROOT / "Makefile").read_text()))
    names = {name for found in asked for name in found if name}

    unknown = names - {*pages.OF_MAKE, *pages.OF_MAKEFILE, *pages.INTERNAL}
    assert unknown == set(), (
        "say what it is for in OF_MAKE of tools/pages.py, or that it is the Makefile's own"
    )


def test_every_parameter_says_what_it_is_for() -> None:
    for file in ("template.yaml", "cluster.yaml"):
        parameters = template(file)["Parameters"]
        assert [name for name, given in parameters.items() if not given.get("Description")] == []


def test_the_picture_of_the_schema_has_every_table_and_its_comment() -> None:
    created = set(
        re.findall(
            r"create table (?:if not exists )?xpoints\.(\w+)",
            "".join(path.read_text("utf-8") for path in DIRECTORY.glob("*.sql")),
        )
    )
    tables = pages.tables()

    assert set(tables) == created
    assert [name for name, table in tables.items() if not table.comment] == [], "say above it what it holds"
    assert [name for name, table in tables.items() if not set(table.key) <= set(table.columns)] == []
    picture = pages.schema().partition("```mermaid\n")[2].partition("```")[0]
    assert set(re.findall(r"^    (\w+) \{$", picture, re.M)) == created


def test_every_command_with_options_is_on_the_page() -> None:
    text = pages.CONFIGURATION.read_text("utf-8")

    for module in ("operations", "local", "demos.demo", "tests.chaos", "tools.dsql_check", "local_dsql"):
        assert module in pages.commands()
        assert re.search(rf"^### .*\b{re.escape(module)}\b", text, re.M)
    assert "`--since" in text, "of a command below a command"
