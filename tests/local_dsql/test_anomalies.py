"""Known anomalies of isolation, and what locks do: two or three sessions, statement by statement.

The anomalies are those of Martin Kleppmann's Hermitage, with the outcome that Marc Brooker found on DSQL
(github.com/marcbrooker/hermitage, dsql.md). A step is a session, a statement and, where it matters, the rows;
`LOSES` stands where another transaction has committed first.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import psycopg
import pytest

from local_dsql.cluster import LocalDsql
from tests.local_dsql.conftest import Connection, fresh_database

LOSES: Final = "OC000"
Step = tuple[int, str] | tuple[int, str, Any]

ALL = "select id, value from test order by id"
TWO = [(1, 10), (2, 20)]


def put(value: int, row: int) -> str:
    return f"update test set value = {value} where id = {row}"


def lock(row: int, mode: str = "update") -> str:
    return f"select * from test where id = {row} for {mode}"


BOTH_BEGIN: list[Step] = [(1, "begin"), (2, "begin")]

CASES: dict[str, list[Step]] = {
    "dirty write (G0)": [
        (1, put(11, 1)),
        (2, put(12, 1)),
        (1, put(21, 2)),
        (1, "commit"),
        (1, ALL, [(1, 11), (2, 21)]),
        (2, put(22, 2)),
        (2, "commit", LOSES),
        (3, ALL, [(1, 11), (2, 21)]),
    ],
    "aborted read (G1a)": [
        (1, put(101, 1)),
        (2, ALL, TWO),
        (1, "rollback"),
        (2, ALL, TWO),
        (2, "commit"),
    ],
    "intermediate read (G1b)": [
        (1, put(101, 1)),
        (2, ALL, TWO),
        (1, put(11, 1)),
        (1, "commit"),
        (2, ALL, TWO),
        (2, "commit"),
    ],
    "circular information flow (G1c)": [
        (1, put(11, 1)),
        (2, put(22, 2)),
        (1, "select value from test where id = 2", [(20,)]),
        (2, "select value from test where id = 1", [(10,)]),
        (1, "commit"),
        (2, "commit"),
    ],
    "observed transaction vanishes (OTV)": [
        (1, put(11, 1)),
        (1, put(19, 2)),
        (2, put(12, 1)),
        (1, "commit"),
        (3, "begin"),
        (3, "select value from test where id = 1", [(11,)]),
        (2, put(18, 2)),
        (3, "select value from test where id = 2", [(19,)]),
        (2, "commit", LOSES),
        (3, ALL, [(1, 11), (2, 19)]),
        (3, "commit"),
    ],
    "predicate-many-preceders (PMP)": [
        (1, "select * from test where value = 30", []),
        (2, "insert into test values (3, 30)"),
        (2, "commit"),
        (1, "select * from test where value % 3 = 0", []),
        (1, "commit"),
    ],
    "predicate-many-preceders, writing": [
        (1, "update test set value = value + 10"),
        (2, "delete from test where value = 20"),
        (1, "commit"),
        (2, "commit", LOSES),
    ],
    "lost update (P4)": [
        (1, ALL),
        (2, ALL),
        (1, put(11, 1)),
        (2, put(11, 1)),
        (1, "commit"),
        (2, "commit", LOSES),
    ],
    "read skew (G-single)": [
        (1, "select value from test where id = 1", [(10,)]),
        (2, put(12, 1)),
        (2, put(18, 2)),
        (2, "commit"),
        (1, "select value from test where id = 2", [(20,)]),
        (1, "commit"),
    ],
    "read skew, by a predicate": [
        (1, "select * from test where value % 5 = 0", TWO),
        (2, "update test set value = 12 where value = 10"),
        (2, "commit"),
        (1, "select * from test where value % 3 = 0", []),
        (1, "commit"),
    ],
    "read skew, writing": [
        (1, ALL, TWO),
        (2, put(12, 1)),
        (2, put(18, 2)),
        (2, "commit"),
        (1, "delete from test where value = 20"),
        (1, "commit", LOSES),
    ],
    "write skew is possible (G2-item)": [
        (1, ALL),
        (2, ALL),
        (1, put(11, 1)),
        (2, put(21, 2)),
        (1, "commit"),
        (2, "commit"),
    ],
    "write skew is prevented by FOR UPDATE": [
        (1, lock(2)),
        (2, lock(1)),
        (1, put(11, 1)),
        (2, put(21, 2)),
        (1, "commit"),
        (2, "commit", LOSES),
    ],
    "anti-dependency cycle is possible (G2)": [
        (1, "select * from test where value % 3 = 0", []),
        (2, "select * from test where value % 3 = 0", []),
        (1, "insert into test values (3, 30)"),
        (2, "insert into test values (4, 42)"),
        (1, "commit"),
        (2, "commit"),
        (3, "select * from test where value % 3 = 0 order by id", [(3, 30), (4, 42)]),
    ],
    "two locks of a row": [
        (1, lock(1)),
        (2, lock(1)),
        (1, "insert into test values (5, 1)"),
        (2, "insert into test values (6, 1)"),
        (1, "commit"),
        (2, "commit", LOSES),
    ],
    "two locks of a row and nothing else": [
        (1, lock(1)),
        (2, lock(1)),
        (1, "commit"),
        (2, "commit", LOSES),
    ],
    "a lock, then a write": [
        (1, lock(1)),
        (2, put(5, 1)),
        (1, "commit"),
        (2, "commit", LOSES),
    ],
    "a write, then a lock": [
        (1, put(5, 1)),
        (2, lock(1), [(1, 10)]),
        (1, "commit"),
        (2, "commit", LOSES),
    ],
    "a lock, then a write after its commit": [
        (2, ALL, TWO),
        (1, lock(1)),
        (1, "commit"),
        (2, put(5, 1)),
        (2, "commit", LOSES),
    ],
    "a lock, and a write of another row": [
        (1, lock(1)),
        (2, put(5, 2)),
        (1, "commit"),
        (2, "commit"),
    ],
    "a lock that is given up": [
        (1, lock(1)),
        (2, put(5, 1)),
        (1, "rollback"),
        (2, "commit"),
    ],
    "a lock of no row": [
        (1, lock(7), []),
        (2, "insert into test values (7, 7)"),
        (1, "commit"),
        (2, "commit"),
    ],
    "a key share, then a delete": [
        (1, lock(1, "key share")),
        (2, "delete from test where id = 1"),
        (1, "commit"),
        (2, "commit", LOSES),
    ],
    "a delete, then a key share": [
        (2, "delete from test where id = 1"),
        (1, lock(1, "key share"), [(1, 10)]),
        (2, "commit"),
        (1, "commit", LOSES),
    ],
    "a key share, then an update of its key": [
        (1, lock(1, "key share")),
        (2, "update test set id = 9 where id = 1"),
        (1, "commit"),
        (2, "commit", LOSES),
    ],
    "a key share and an update of another column": [
        (1, lock(1, "key share")),
        (2, put(5, 1)),
        (1, "commit"),
        (2, "commit"),
    ],
    "an update of another column and a key share": [
        (2, put(5, 1)),
        (1, lock(1, "key share"), [(1, 10)]),
        (2, "commit"),
        (1, "commit"),
    ],
    "a key share and a lock": [
        (1, lock(1, "key share")),
        (2, lock(1)),
        (1, "commit"),
        (2, "commit", LOSES),
    ],
    "two key shares": [
        (1, lock(1, "key share")),
        (2, lock(1, "key share")),
        (1, "commit"),
        (2, "commit"),
    ],
    "SKIP LOCKED skips nothing": [
        (1, lock(1)),
        (2, "select * from test order by id for update skip locked", TWO),
        (1, "commit"),
        (2, "commit", LOSES),
    ],
    "NOWAIT refuses nothing": [
        (1, lock(1)),
        (2, "select * from test where id = 1 for update nowait", [(1, 10)]),
        (2, "commit"),
        (1, "commit", LOSES),
    ],
    "a lock as an older transaction sees rows that came later": [
        (2, ALL, TWO),
        (3, "insert into test values (3, 30)"),
        (1, "rollback"),
        (1, "begin"),
        (1, lock(3), [(3, 30)]),
        (1, "commit"),
        (2, put(5, 1)),
        (2, "commit"),
    ],
    "two inserts of one key": [
        (1, "insert into test values (3, 1)"),
        (2, "insert into test values (3, 2)"),
        (1, "commit"),
        (2, ALL, [*TWO, (3, 2)]),
        (2, "commit", LOSES),
    ],
    "two inserts of one key, the second after the first's commit": [
        (2, ALL, TWO),
        (1, "insert into test values (3, 1)"),
        (1, "commit"),
        (2, "insert into test values (3, 2) returning value", [(2,)]),
        (2, "commit", LOSES),
    ],
    "an insert of a key that another has deleted": [
        (1, "delete from test where id = 1"),
        (1, "commit"),
        (2, "insert into test values (1, 1)", "23505"),
        (2, "rollback"),
    ],
    "an insert of a key that is given up": [
        (1, "insert into test values (3, 1)"),
        (2, "insert into test values (3, 2)"),
        (1, "rollback"),
        (2, "commit"),
        (3, ALL, [*TWO, (3, 2)]),
    ],
    "DO NOTHING over a key that another has deleted": [
        (1, "delete from test where id = 1"),
        (1, "commit"),
        (2, "insert into test values (1, 1) on conflict (id) do nothing returning id", []),
        (2, "commit"),
    ],
    "DO UPDATE of a row that another has inserted": [
        (2, ALL, TWO),
        (1, "insert into test values (3, 1)"),
        (1, "commit"),
        (
            2,
            "insert into test values (3, 2) on conflict (id) do update set value = 99 returning value",
            [(2,)],
        ),
        (2, "commit", LOSES),
    ],
    "a doomed transaction goes on": [
        (1, put(11, 1)),
        (1, "commit"),
        (2, "update test set value = value + 5 where id = 1 returning value", [(15,)]),
        (2, "insert into test values (3, 30) on conflict (id) do nothing returning id", [(3,)]),
        (
            2,
            "insert into test select id + 10, value from test where id <= 2 returning id, value",
            [(11, 15), (12, 20)],
        ),
        (2, "delete from test where id = 2 returning value", [(20,)]),
        (2, ALL, [(1, 15), (3, 30), (11, 15), (12, 20)]),
        (2, "select count(*), sum(t.value) from test t join test u using (id)", [(4, 80)]),
        (
            2,
            "update test t set value = u.value from test u where u.id = 11 and t.id = 12 returning t.value",
            [(15,)],
        ),
        (2, "with gone as (delete from test where id > 10 returning id) select count(*) from gone", [(2,)]),
        (2, "insert into test values (3, 31)", "23505"),
        (2, "rollback"),
        (3, ALL, [(1, 11), (2, 20)]),
    ],
}


def outcome(session: Connection, statement: str) -> Any:
    try:
        cursor = session.execute(statement.encode())
    except psycopg.Error as error:
        return LOSES if error.sqlstate == "40001" and "(OC000)" in str(error) else error.sqlstate
    return sorted(cursor.fetchall()) if cursor.description else None


@pytest.fixture(scope="module")
def sessions(server: LocalDsql) -> Iterator[dict[int, Connection]]:
    """Three sessions that know the table; session 0 prepares it for the next case."""
    for name in fresh_database(server):
        with ExitStack() as opened:
            connections = {
                number: opened.enter_context(psycopg.connect(server.conninfo(name), autocommit=True))
                for number in range(4)
            }
            connections[0].execute("create table test (id int primary key, value int)")
            for number in (1, 2, 3):
                # A session that was open before learns of a new table by an OC001.
                assert outcome(connections[number], ALL) == "40001"
            yield connections


@pytest.mark.parametrize("name", CASES)
def test_case(sessions: dict[int, Connection], name: str) -> None:
    for number in (1, 2, 3):
        sessions[number].execute("rollback")
    sessions[0].execute("delete from test")
    sessions[0].execute("insert into test values (1, 10), (2, 20)")
    for number, step in enumerate([*BOTH_BEGIN, *CASES[name]]):
        session, statement, *rest = step
        given = outcome(sessions[session], statement)
        wanted = rest[0] if rest else None
        if wanted is None:
            assert not isinstance(given, str), (number, step, given)
        else:
            assert given == wanted, (number, step, given)
