"""The arrows between the folders run one way, and SQL is written in one place."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What each folder may import beside the standard library and itself.
MAY_IMPORT: dict[str, set[str]] = {
    "domain": {"pydantic", "pydantic_core"},
    "sql": {"domain", "psycopg", "botocore"},
    "events": {"domain", "boto3", "botocore"},
    "handlers": {
        *("domain", "sql", "events"),
        *("pydantic", "pydantic_core", "typing_extensions", "boto3", "botocore", "aws_lambda_powertools"),
    },
    "operations": {"domain", "sql", "events", "psycopg", "boto3", "botocore", "rich"},
}

# Folders that may use all others and every development tool, and which of each other they may use.
WORKSHOPS: dict[str, set[str]] = {
    "local_dsql": set(),
    "tools": {"local_dsql"},
    "api": {"tools", "local_dsql"},
    "local": {"api", "tools", "local_dsql"},
    "demos": {"local", "tools", "local_dsql"},
    "bench": {"demos", "local", "tools", "local_dsql"},
}

FOLDERS = {*MAY_IMPORT, *WORKSHOPS, "tests"}

# file -> what it may import beyond its folder, with the reason
EXCEPTIONS: dict[str, set[str]] = {
    # The edge answers 503 when the database is out of reach, whichever statement found that out.
    "handlers/edge/http.py": {"psycopg"},
    # A shop is seeded with the sample that the local Region shows.
    "operations/seed.py": {"local"},
    # How every command begins and ends; nothing of these two is deployed.
    "operations/__main__.py": {"local_dsql"},
    "operations/command.py": {"local_dsql"},
    "operations/region_command.py": {"local_dsql"},
    "events/contracts.py": {"local_dsql"},
}

# The clock, randomness and the environment are passed into domain/.
IMPURE_MODULES = {"os", "time", "random", "secrets", "socket", "subprocess", "threading", "logging", "urllib"}
IMPURE_NAMES = {"uuid1", "uuid4", "now", "utcnow", "today", "environ", "getenv", "urandom", "open", "print"}

# Statements, not words: a text that begins like one.
SQL_TEXT = re.compile(
    r"""(?isx) \A \s* (
        select \b .* \b from \b | select \s+ ( \d | \* ) | insert \s+ into \b | delete \s+ from \b
        | update \s+ [\w.{}]+ ( \s+ \w+ )? \s+ set \b | merge \s+ into \b | with \s+ \w+ \s+ as \s* \(
        | truncate \s+ \w | ( create | alter | drop ) \s+ ( table | index | view | role | schema | unique ) \b
        | ( grant | revoke ) \s+ \w+ .* \b on \b | call \s+ \w+\. )"""
)
SQL_FREE_FOLDERS = ["domain", "sql", "events", "handlers", "operations"]


def python_files(*folders: str) -> list[str]:
    return sorted(
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if path.is_file()
    )


def imports(tree: ast.AST, typing_only: bool = False) -> Iterator[tuple[str, bool]]:
    """Give each imported module with whether a type checker alone sees the import."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield ("." * node.level + (node.module or ""), typing_only)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from (each for part in node.body for each in imports(ast.Module([part], []), True))
            yield from (each for part in node.orelse for each in imports(ast.Module([part], []), typing_only))
        else:
            yield from imports(node, typing_only)


def wrong_imports(file: str, source: str) -> list[str]:
    folder = file.split("/")[0]
    wrong = []
    for module, typing_only in imports(ast.parse(source)):
        top = module.split(".")[0]
        if top == folder or (top in sys.stdlib_module_names and top not in FOLDERS):
            continue
        if folder in WORKSHOPS:
            allowed = top in WORKSHOPS[folder] or top not in {*WORKSHOPS, "tests", ""}
        else:
            allowed = top in MAY_IMPORT[folder] | EXCEPTIONS.get(file, set())
            allowed = allowed or (typing_only and top.startswith("mypy_boto3_"))
        if not allowed:
            wrong.append(module)
    return wrong


def impurities(source: str) -> list[str]:
    """Give what a module of domain/ takes from its surroundings in place of being given it."""
    tree = ast.parse(source)
    found = [module for module, _ in imports(tree) if module.split(".")[0] in IMPURE_MODULES]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            found += [name] if name in IMPURE_NAMES else []
        elif isinstance(node, ast.Attribute) and node.attr == "environ":
            found.append(node.attr)
        elif isinstance(node, ast.keyword) and node.arg == "default_factory":
            # A factory is called without a call being written.
            factory = ast.unparse(node.value).split(".")[-1]
            found += [factory] if factory in IMPURE_NAMES else []
    return found


def sql_texts(source: str) -> list[str]:
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        text
        for node in ast.walk(tree)
        if id(node) not in docstrings and (text := text_of(node)) and SQL_TEXT.match(text)
    ]


def text_of(node: ast.AST) -> str:
    """Give the text that a node writes down, with {} for what is filled in; "" for other nodes."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "{}" for part in node.values)
    value = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
    return (
        value.decode(errors="replace")
        if isinstance(value, bytes)
        else value
        if isinstance(value, str)
        else ""
    )


@pytest.mark.parametrize("file", python_files(*MAY_IMPORT, *WORKSHOPS))
def test_a_module_imports_only_what_its_folder_may(file: str) -> None:
    assert wrong_imports(file, (ROOT / file).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("file", python_files("domain"))
def test_a_rule_is_given_the_clock_chance_and_its_surroundings(file: str) -> None:
    assert impurities((ROOT / file).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("file", python_files(*SQL_FREE_FOLDERS))
def test_no_statement_is_written_inside_python(file: str) -> None:
    assert sql_texts((ROOT / file).read_text(encoding="utf-8")) == []


def unneeded(sources: dict[str, str]) -> list[str]:
    """Give what sql/ defines and names of its statements that stand nowhere else in what serves the shop."""
    words = Counter(word for text in sources.values() for word in re.findall(r"\w+", text))
    found = []
    for file, source in sources.items():
        if file.startswith("sql/") and file.endswith(".py"):
            defined = {
                node.name
                for node in ast.walk(ast.parse(source))
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("__")
            }
            found += [f"{file}: {name}" for name in defined if words[name] == 1]
        elif file.startswith("sql/queries/"):
            named = re.findall(r"^-- name: (\w+)", source, re.MULTILINE)
            # What a story reads is put together of its names: "order" is one of them.
            found += [f"{file}: {name}" for name in named if words[name] == 1 and "_story_" not in name]
    return sorted(found)


def test_sql_holds_what_the_shop_needs_and_no_more() -> None:
    """What demos, tests and benchmarks alone use stands with them."""
    folders = ("domain", "sql", "events", "handlers", "operations", "local")
    files = [*python_files(*folders), *(str(p.relative_to(ROOT)) for p in ROOT.glob("sql/queries/**/*.sql"))]
    assert unneeded({file: (ROOT / file).read_text(encoding="utf-8") for file in files}) == []


def test_what_nobody_needs_of_sql_is_found() -> None:
    sources = {
        "sql/a.py": "def used(): ...\ndef unused(): ...\nload('x')['read_x']",
        "sql/queries/x.sql": "-- name: read_x\nselect 1\n-- name: read_y\nselect 2",
        "handlers/a.py": "from sql.a import used",
    }
    assert unneeded(sources) == ["sql/a.py: unused", "sql/queries/x.sql: read_y"]


def test_every_exception_is_still_needed() -> None:
    for file, modules in EXCEPTIONS.items():
        used = {module.split(".")[0] for module, _ in imports(ast.parse((ROOT / file).read_text("utf-8")))}
        assert modules <= used


# --- The rules themselves: a planted violation each, and a neighbour that is fine

PLANTED_IMPORTS = [
    ("domain/x.py", "import boto3", "import json"),
    ("domain/x.py", "from aws_lambda_powertools import Logger", "from pydantic import BaseModel"),
    ("domain/x.py", "def f():\n    import psycopg", "def f():\n    import decimal"),
    ("domain/x.py", "from sql.queries import load", "from domain.checkout import PricedCartLine"),
    ("domain/x.py", "import events.publish", "import domain.events"),
    ("sql/x.py", "from events.publish import publish", "from domain.events import Envelope"),
    ("sql/x.py", "import boto3", "import botocore.auth"),
    ("sql/x.py", "from handlers.edge import settings", "from sql.connection import Database"),
    ("sql/x.py", "import aws_lambda_powertools", "import psycopg"),
    ("events/x.py", "from sql.outbox import enqueue", "from domain.outbox import backoff"),
    ("events/x.py", "import psycopg", "import boto3"),
    ("events/x.py", "from aws_lambda_powertools import Logger", "import logging"),
    ("events/x.py", "from handlers import relay", "from events import relay"),
    ("handlers/x.py", "import psycopg", "from sql.errors import Fault"),
    ("handlers/x.py", "import requests", "import urllib.request"),
    ("handlers/x.py", "from local.region import LocalRegion", "from events.publish import publish"),
    ("handlers/x.py", "import bench.shop", "import boto3"),
    ("handlers/x.py", "from tests.bus import Bus", "from handlers.edge import http"),
    (
        "handlers/x.py",
        "import mypy_boto3_sesv2",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mypy_boto3_sesv2",
    ),
    ("handlers/edge/x.py", "import psycopg", "import sql.errors"),
    ("local/x.py", "from bench.shop import Shop", "from sql.migrate import migrate"),
    ("local/x.py", "from tests.conftest import x", "import pglast"),
    ("bench/x.py", "import tests", "from local_dsql.postgres import EmbeddedPostgres"),
    ("sql/x.py", "from ..domain import checkout", "from sql import errors"),
]


@pytest.mark.parametrize(("file", "wrong", "_right"), PLANTED_IMPORTS)
def test_an_import_against_the_arrows_is_found(file: str, wrong: str, _right: str) -> None:
    assert len(wrong_imports(file, wrong)) == 1


@pytest.mark.parametrize(("file", "_wrong", "right"), PLANTED_IMPORTS)
def test_an_import_along_the_arrows_is_fine(file: str, _wrong: str, right: str) -> None:
    assert wrong_imports(file, right) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import time",
        "from random import uniform",
        "import secrets",
        "from uuid import uuid4\nuuid4()",
        "import uuid\nuuid.uuid4()",
        "from datetime import datetime, UTC\ndatetime.now(UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
        "from uuid import uuid4\nx = Field(default_factory=uuid4)",
    ],
)
def test_a_rule_that_takes_from_its_surroundings_is_found(source: str) -> None:
    assert impurities(source) != []


def test_a_rule_that_is_given_what_it_needs_is_fine() -> None:
    assert (
        impurities("from datetime import datetime\ndef rule(now: datetime) -> datetime:\n    return now")
        == []
    )


@pytest.mark.parametrize(
    "source",
    [
        "x = 'select id from xpoints.orders'",
        "x = b'SELECT 1'",
        "x = f'select {y} from t'",
        "x = '''\n  insert into t values (1)'''",
        "x = 'update xpoints.orders o set status = 1'",
        "x = 'delete from t'",
        "x = 'with a as (select 1) select * from a'",
        "x = 'create table t (id int)'",
        "x = 'grant select on t to x'",
        "x = 'call sys.wait_for_job(1)'",
    ],
)
def test_a_statement_inside_python_is_found(source: str) -> None:
    assert len(sql_texts(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "'select a from b'",
        "def f():\n    'Delete from the cart what was ordered.'",
        "x = 'selected items'",
        "x = 'update the order and try again'",
        "x = 'with regards'",
        "x = b'COMMIT'",
    ],
)
def test_words_that_are_no_statement_are_fine(source: str) -> None:
    assert sql_texts(source) == []
