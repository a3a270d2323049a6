"""What a row becomes: every record has the columns of its statement as fields, by the database's own word."""

import ast
import gc
import importlib
import pkgutil
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from psycopg import pq

import sql
from sql.connection import Connection
from sql.pipeline import _plan
from sql.queries import Query, load, part
from tests.integration.conftest import Connect

_SQL = Path(sql.__file__).parent


def _queries_of_records() -> list[Query[Any]]:
    """Find what modules of sql/ and the demos have bound to a record when they were loaded."""
    for module in pkgutil.walk_packages([str(_SQL)], "sql."):
        importlib.import_module(module.name)
    for name in ("demos.invariants", "demos.log_request"):
        importlib.import_module(name)
    found = [each for each in gc.get_objects() if type(each) is Query and each.record is not None]
    return list({(query.name, str(query.record)): query for query in found}.values())


def _columns(connection: Connection, query: Query[Any]) -> list[str]:
    plan = _plan(query)
    connection.pgconn.prepare(b"", plan.text)
    described = connection.pgconn.describe_prepared(b"")
    assert described.status == pq.ExecStatus.COMMAND_OK, (query.name, described.error_message)
    return [(described.fname(column) or b"").decode() for column in range(described.nfields)]


def _differences(connection: Connection, query: Query[Any]) -> list[str]:
    columns, record = _columns(connection, query), query.record
    fields = list(getattr(record, "_fields", ()))
    if fields:
        return [] if columns == fields else [f"{query.name}: {columns} are not {record}'s {fields}"]
    if record is dict:
        named = len(set(columns)) == len(columns) and "?column?" not in columns
        return [] if named else [f"{query.name}: not every column has a name of its own: {columns}"]
    return [] if record is tuple or len(columns) == 1 else [f"{query.name}: {columns} for one {record}"]


def test_every_record_has_the_columns_of_its_statement_as_fields(connect: Connect) -> None:
    connection = connect()
    queries = _queries_of_records()
    assert len(queries) > 50
    assert [each for query in queries for each in _differences(connection, query)] == []


class _Swapped(NamedTuple):
    available: int
    slot: int


@pytest.mark.parametrize("record", [_Swapped, int])
def test_a_record_with_other_fields_is_found(connect: Connect, record: type) -> None:
    query: Query[Any] = load("stock")["read_stock"].of(record)
    assert len(_differences(connect(), query)) == 1


def test_records_are_said_when_a_module_is_loaded() -> None:
    """What is bound inside a function would not be found above."""
    inside = []
    for path in _SQL.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                inside += [
                    f"{path.name}:{call.lineno}"
                    for call in ast.walk(function)
                    if isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Attribute)
                    and call.func.attr == "of"
                ]
    assert inside == [f"sweep_orphans.py:{line}" for line in _lines_of_orphans()]


def _lines_of_orphans() -> list[int]:
    # The statement is made from a template for each reference, and its only column is an id.
    lines = (_SQL / "transactions" / "sweep_orphans.py").read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, start=1) if ".of(UUID)" in line]


def test_a_part_of_a_row_is_taken_by_name() -> None:
    row = {"slot": 1, "other": "x", "available": 2}
    assert part(_Swapped, row) == _Swapped(available=2, slot=1)
    assert row == {"other": "x"}
    with pytest.raises(KeyError, match="available"):
        part(_Swapped, {"slot": UUID(int=1)})
