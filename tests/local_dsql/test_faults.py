"""What goes wrong by chance: as the real thing would look, and with nothing written that should not be."""

import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local_dsql.__main__ import main
from local_dsql.cluster import LocalDsql
from local_dsql.faults import DONE_NEVERTHELESS
from tests.local_dsql.conftest import Connection

#: Above 0, so that the first of each kind meets it, and never met by chance.
FIRST = 1e-300

CONFLICT = "change conflicts with another transaction (OC000)"
CHANGED = "schema has been updated by another transaction (OC001)"

Faulty = Callable[..., Connection]


@pytest.fixture
def faulty(server: LocalDsql, directory: Path, database: str) -> Iterator[Faulty]:
    """Sessions at a server before the same PostgreSQL on which some things go wrong."""
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        connection.execute("create table t (id int primary key, v text)")
    with ExitStack() as opened:

        def open_session(**faults: float) -> Connection:
            running = opened.enter_context(
                LocalDsql(directory, postgres=server.postgres, tls=False, any_database=True, faults=faults)
            )
            return opened.enter_context(psycopg.connect(running.conninfo(database), autocommit=True))

        yield open_session


def rows(session: Connection) -> list[tuple[Any, ...]]:
    return session.execute("select id, v from t order by id").fetchall()


@contextmanager
def refused(sqlstate: str, words: str) -> Iterator[None]:
    with pytest.raises(psycopg.Error) as caught:
        yield
    assert caught.value.sqlstate == sqlstate
    assert caught.value.diag.message_primary == words


def test_the_first_commit_of_each_kind_of_transaction_meets_a_conflict_and_leaves_nothing(
    faulty: Faulty,
) -> None:
    session = faulty(conflicts=FIRST)

    def insert(number: int) -> None:
        session.execute("begin")
        session.execute("select count(*) from t")
        session.execute("insert into t values (%s, 'a')", [number])
        session.execute("commit")

    with refused("40001", CONFLICT):
        insert(1)
    assert session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert rows(session) == []
    insert(1)
    insert(2)
    assert rows(session) == [(1, "a"), (2, "a")]
    # Another kind: told by its statements, not by their values.
    session.execute("begin")
    session.execute("update t set v = 'b' where id = 1")
    with refused("40001", CONFLICT):
        session.execute("commit")
    assert rows(session) == [(1, "a"), (2, "a")]


def test_outside_of_a_block_it_is_the_statement_that_says_so(faulty: Faulty) -> None:
    session = faulty(conflicts=FIRST)
    with refused("40001", CONFLICT):
        session.execute("insert into t values (1, 'a')")
    session.execute("insert into t values (1, 'a')")
    assert rows(session) == [(1, "a")]


def test_a_pipelined_transaction_meets_it_as_well(faulty: Faulty) -> None:
    session = faulty(conflicts=FIRST)

    def insert() -> None:
        with session.pipeline():
            session.execute("begin")
            session.execute("insert into t values (1, 'a')")
            session.execute("commit")

    with refused("40001", CONFLICT):
        insert()
    assert rows(session) == []
    insert()
    assert rows(session) == [(1, "a")]


def test_a_violated_constraint_is_told_before_chance_has_its_say(faulty: Faulty) -> None:
    session = faulty(conflicts=1.0)
    session.execute("begin")
    with pytest.raises(psycopg.errors.NotNullViolation):
        session.execute("insert into t values (null, 'a')")
    session.execute("rollback")


def test_a_failure_leaves_open_whether_it_was_done(faulty: Faulty) -> None:
    session = faulty(failures=1.0)
    done: dict[bool, int] = {}
    number = 0
    while len(done) < 2:
        number += 1
        session.execute("begin")
        session.execute("insert into t values (%s, 'a')", [number])
        with pytest.raises(psycopg.errors.InternalError_) as caught:
            session.execute("commit")
        assert caught.value.diag.message_primary == "server unavailable"
        was_done = caught.value.diag.message_hint == DONE_NEVERTHELESS
        assert ((number, "a") in rows(session)) == was_done
        done[was_done] = number
        assert session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_changed_schema_is_met_by_statements_on_tables_alone(faulty: Faulty) -> None:
    session = faulty(schema_changes=1.0)
    assert session.execute("select 1").fetchall() == [(1,)]
    with refused("40001", CHANGED):
        rows(session)
    session.execute("begin")
    with refused("40001", CHANGED):
        session.execute("insert into t values (1, 'a')")
    assert session.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
    session.execute("rollback")


def test_a_transaction_that_only_reads_is_left_alone(faulty: Faulty) -> None:
    session = faulty(conflicts=1.0, failures=1.0)
    session.execute("begin")
    assert rows(session) == []
    session.execute("commit")


@pytest.mark.parametrize("option", ["--conflicts", "--schema-changes", "--failures"])
@pytest.mark.parametrize("share", ["2", "-0.1", "nan", "often"])
def test_a_share_is_from_0_to_1(option: str, share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([f"{option}={share}"])
    assert caught.value.code == 2
    assert f"{share!r} is not a share from 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize("asks", [False, True], ids=["nothing", "something"])
def test_a_client_is_told_at_once_that_its_session_of_postgresql_was_ended(
    server: LocalDsql, database: str, asks: bool
) -> None:
    with psycopg.connect(server.postgres.conninfo(), autocommit=True) as superuser:
        for _ in range(8):  # what it asks comes before the end of the session, or after it
            with closing(psycopg.connect(server.conninfo(database), autocommit=True)) as session:
                pid = session.execute("select pg_backend_pid()").fetchall()[0][0]
                superuser.execute("select pg_terminate_backend(%s)", (pid,))
                if asks:
                    session.pgconn.send_query_params(b"select 1", [])
                    session.pgconn.flush()
                answered, _, _ = select.select([session.fileno()], [], [], 30)
                assert answered
