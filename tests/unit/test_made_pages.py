"""docs/configuration.md and docs/schema.md are what the code says; nothing that can be set is left out."""

import ast
import re
from pathlib import Path

import pytest

from sql.migrate import DIRECTORY
from tools import pages
from tools.bundle import handler_module
from tools.template import ROOT, started_by, template

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


def metrics_of(module: Path) -> list[str]:
    return pages.emitted(ast.parse(module.read_text("utf-8")))


def test_every_metric_is_on_a_page() -> None:
    scheduled = {ROOT / f"{handler_module(name).replace('.', '/')}.py" for name in started_by("ScheduleV2")}
    page = (ROOT / "docs" / "observability.md").read_text("utf-8")
    said = " ".join(re.findall(r"`[^`]+`", page.partition("\n## Metrics\n")[2].partition("\n## ")[0]))
    assert all(metrics_of(module) for module in scheduled), "docs/configuration.md has these"
    others = set((ROOT / "handlers").rglob("*.py")) - scheduled
    names = {name for module in others for name in metrics_of(module)}
    assert len(names) > 10
    unsaid = [n for n in names if not re.search(re.escape(n).replace("<what>", r"[\w<>]+"), said)]
    assert unsaid == [], "it has a place in docs/observability.md"


def test_metrics_are_found_however_they_are_emitted() -> None:
    source = """
figures = {"OutboxDepth": 1}
for name, value in figures.items():
    metrics().add_metric(name, "Count", value)
sink.add_metric(f"Expired_{expiry.name}", "Count", 1)
sink.add_metric("A" if first else "B", "Count", 1)
findings = Findings[str]("OrphansReported")
_count("InternalErrors")
"""
    assert set(pages.emitted(ast.parse(source))) == {
        *("OutboxDepth", "Expired_<what>", "A", "B", "OrphansReported", "InternalErrors")
    }


def test_every_command_with_options_is_on_the_page() -> None:
    text = pages.CONFIGURATION.read_text("utf-8")

    for module in ("operations", "local", "demos.demo", "tests.chaos", "tools.dsql_check", "local_dsql"):
        assert module in pages.commands()
        assert re.search(rf"^### .*\b{re.escape(module)}\b", text, re.M)
    assert "`--since" in text, "of a command below a command"
