"""What real clusters answered, asked of this server: every statement, with its words and rows."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local_dsql.cluster import LocalDsql
from tests.local_dsql.conftest import Connection, fresh_database

RECORDED = json.loads((Path(__file__).parents[1] / "dsql_answers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def prepared_database(server: LocalDsql) -> Iterator[str]:
    for name in fresh_database(server):
        with psycopg.connect(server.conninfo(name), autocommit=True) as connection:
            for statement in RECORDED["setup"]:
                connection.execute(statement)
        yield name


def answer(connection: Connection, statement: str) -> tuple[str, list[list[Any]] | None]:
    """Give command tags or SQLSTATE and message, as recorded, and the rows as texts."""
    try:
        cursor = connection.execute(statement.encode(), prepare=False)
    except psycopg.Error as error:
        return f"{error.sqlstate} {error.diag.message_primary}", None
    tags, rows = [], None
    while True:
        tags.append(cursor.statusmessage or "")
        result = cursor.pgresult
        if result is not None and cursor.description:
            rows = [
                [
                    value.decode() if (value := result.get_value(row, column)) is not None else None
                    for column in range(result.nfields)
                ]
                for row in range(result.ntuples)
            ]
        if not cursor.nextset():
            return "+".join(tags), rows


def test_every_recorded_statement_has_the_recorded_answer(server: LocalDsql, prepared_database: str) -> None:
    """In one go, as they were recorded: later cases read what earlier ones wrote."""
    wrong: list[tuple[Any, ...]] = []
    with psycopg.connect(server.conninfo(prepared_database), autocommit=True) as connection:
        for case in RECORDED["cases"]:
            for step in case["steps"]:
                given, rows = answer(connection, step["sql"])
                if given != step["answer"]:
                    wrong.append((case["name"], step["sql"], given, step["answer"]))
                elif "rows" in step and rows != step["rows"]:
                    wrong.append((case["name"], step["sql"], rows, step["rows"]))
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                connection.execute("rollback")
    assert not wrong
    assert sum(len(case["steps"]) for case in RECORDED["cases"]) > 180


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["as recorded", "the other way round"])
@pytest.mark.parametrize("conflict", RECORDED["conflicts"], ids=lambda conflict: conflict["name"])
def test_recorded_conflicts(server: LocalDsql, conflict: dict[str, Any], order: tuple[int, int]) -> None:
    for name in fresh_database(server):
        with ExitStack() as opened:

            def connect(name: str = name, opened: ExitStack = opened) -> Connection:
                return opened.enter_context(psycopg.connect(server.conninfo(name), autocommit=True))

            setup = connect()
            for statement in RECORDED["setup"]:
                setup.execute(statement)
            sessions = [connect(), connect()]
            for each in order:
                sessions[each].execute("begin")
            given = {each: answer(sessions[each], conflict["statements"][each])[0] for each in order}
            ends = [answer(sessions[each], "commit")[0] for each in order]
    assert [given[0], given[1]] == conflict["answers"]
    assert [end.startswith("40001") and "(OC000)" in end for end in ends].count(True) == conflict["losers"]
    assert ends[0] == "COMMIT"
