"""Nobody waits for an idle client, whoever of the two comes first; and nothing is looked for meanwhile."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from local_dsql.cluster import LocalDsql
from tests.local_dsql.conftest import Connect, Connection

UPDATE = "update t set v = v + 1 where id = 1"
CHANGE = "alter table t add column w int"


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def behind(server: LocalDsql, database: str) -> Iterator[Connection]:
    """A session of the PostgreSQL behind, which waits for locks and has others wait for its own."""
    with psycopg.connect(server.postgres.conninfo(database)) as session:
        yield session


@pytest.mark.parametrize("statement", [UPDATE, CHANGE])
@pytest.mark.parametrize("first", [UPDATE, "select v from t"])
def test_who_comes_while_the_other_is_idle_does_not_wait(
    connect: Connect, threads: ThreadPoolExecutor, first: str, statement: str
) -> None:
    idle, comes = _two_of_a_table(connect)
    idle.execute("begin")
    idle.execute(first.encode())
    _is_done(threads.submit(comes.execute, statement.encode()), idle)


@pytest.mark.parametrize("statement", [UPDATE, CHANGE])
@pytest.mark.parametrize("first", [UPDATE, "select v from t"])
def test_who_waits_already_goes_on_when_the_other_becomes_idle(
    connect: Connect, threads: ThreadPoolExecutor, behind: Connection, first: str, statement: str
) -> None:
    idle, waits = _two_of_a_table(connect)
    behind.execute("lock table other")
    idle.execute("begin")

    def one_batch() -> None:
        with idle.pipeline():
            idle.execute(first.encode())
            idle.execute("select * from other")

    batch = threads.submit(one_batch)
    _wait_for_waiting(behind, 1)
    done = threads.submit(waits.execute, statement.encode())
    if (first, statement) != ("select v from t", UPDATE):
        _wait_for_waiting(behind, 2)
    behind.rollback()
    batch.result(20)
    _is_done(done, idle)


def _two_of_a_table(connect: Connect) -> tuple[Connection, Connection]:
    maker = connect()
    maker.execute("create table t (id int primary key, v int)")
    maker.execute("create table other (id int primary key)")
    maker.execute("insert into t values (1, 0)")
    one, other = connect(), connect()
    # What the statement means is known by then, and its batches take the short way.
    for session in (one, other):
        session.execute(UPDATE)
    return one, other


def _wait_for_waiting(behind: Connection, count: int) -> None:
    waiting = "select count(distinct pid) from pg_locks where not granted"
    while (behind.execute(waiting).fetchone() or [0])[0] < count:
        pass


def _is_done(statement: Future[Any], idle: Connection) -> None:
    try:
        statement.result(20)
    finally:
        idle.close()  # whoever waits for it all the same goes on then
