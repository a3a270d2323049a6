"""DDL: one statement a transaction, asynchronous jobs, and OC001 for whoever knows the schema of before."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg
import pytest

from local_dsql.cluster import LocalDsql
from tests.local_dsql.conftest import Connect, Connection


def failure(session: Connection, statement: str) -> str:
    """Give SQLSTATE and message of a statement that fails; empty for one that does not."""
    try:
        session.execute(statement.encode())
    except psycopg.Error as error:
        return f"{error.sqlstate} {error.diag.message_primary}"
    return ""


OC001 = "40001 schema has been updated by another transaction (OC001)"


@pytest.fixture
def maker(connect: Connect) -> Connection:
    """A session that has made two tables."""
    session = connect()
    session.execute("create table t (id int primary key, v int)")
    session.execute("create table other (id int primary key, v int)")
    return session


@pytest.mark.parametrize(
    "change",
    [
        "alter table t add column w int",
        "alter table t alter column v drop not null",
        "create index async on t (v)",
        "grant select on t to reader",
        "revoke select on t from reader",
        "alter table t rename column v to w",
        "comment on table t is 'x'",
    ],
)
@pytest.mark.parametrize(
    "statement", ["select id from t", "insert into t (id) values (7) on conflict do nothing", "delete from t"]
)
def test_a_change_is_told_once_to_an_idle_session_and_the_retry_passes(
    connect: Connect, maker: Connection, change: str, statement: str
) -> None:
    maker.execute("create role reader")
    try:
        idle = connect()
        maker.execute(change.encode())
        assert failure(idle, "select * from other") == ""
        assert failure(idle, statement) == OC001
        assert failure(idle, statement) == ""
        assert failure(maker, statement) == ""
    finally:
        maker.execute("revoke all on t from reader")
        maker.execute("drop role reader")


def test_a_new_session_knows_the_schema(connect: Connect, maker: Connection) -> None:
    maker.execute("alter table t add column w int")
    assert failure(connect(), "select w from t") == ""


def test_a_new_table_is_news_to_open_sessions(connect: Connect, maker: Connection) -> None:
    idle = connect()
    maker.execute("create table fresh (id int)")
    assert failure(idle, "select * from fresh") == OC001
    assert failure(idle, "select * from fresh") == ""


def test_a_view_is_changed_with_its_table(connect: Connect, maker: Connection) -> None:
    maker.execute("create view v as select id from t")
    idle = connect()
    assert failure(idle, "insert into t values (1, 1)") == ""
    maker.execute("alter table t add column w int")
    assert failure(idle, "select * from v") == OC001


def test_a_change_meanwhile_fails_a_writing_transaction_at_commit(
    connect: Connect, maker: Connection
) -> None:
    writer, reader = connect(), connect()
    for session in (writer, reader):
        session.execute("begin")
    writer.execute("insert into t values (1, 1)")
    reader.execute("select * from t")
    maker.execute("alter table t add column w int")
    assert failure(writer, "commit") == OC001
    assert failure(reader, "commit") == ""
    assert failure(writer, "insert into t values (1, 1)") == ""


def test_a_change_meanwhile_fails_the_next_statement(connect: Connect, maker: Connection) -> None:
    session = connect()
    session.execute("begin")
    session.execute("select * from t")
    maker.execute("alter table t add column w int")
    assert failure(session, "select * from other") == ""
    assert failure(session, "select * from t") == OC001
    assert failure(session, "select 1").startswith("25P02")
    session.execute("rollback")
    assert failure(session, "select * from t") == ""


@pytest.mark.parametrize(
    "change",
    [
        "create table if not exists race_{} (id int)",
        "create index async if not exists race_{} on t (v)",
        "grant select on t to racer",
    ],
)
def test_two_changes_of_the_same_at_once_are_a_changed_schema(
    connect: Connect, maker: Connection, change: str
) -> None:
    """PostgreSQL tells of its catalogue here: a duplicate key, a tuple that was concurrently updated."""
    sessions = [connect(), connect()]
    start = Barrier(len(sessions))

    def make(session: Connection) -> set[str]:
        said = set()
        for number in range(20):
            start.wait()
            said.add(failure(session, change.format(number)))
        return said

    maker.execute("create role racer")
    try:
        with ThreadPoolExecutor(len(sessions)) as pool:
            said = set().union(*pool.map(make, sessions))
    finally:
        cleaner = connect()
        cleaner.execute("revoke all on t from racer")
        cleaner.execute("drop role racer")
    assert said == {"", OC001}


def test_ddl_waits_for_nobody(connect: Connect, maker: Connection) -> None:
    """Neither for a reader, nor for a writer, nor for a doomed transaction."""
    reader, writer, doomed = connect(), connect(), connect()
    for session in (reader, writer, doomed):
        session.execute("begin")
    reader.execute("select * from t")
    writer.execute("insert into t values (1, 1)")
    maker.execute("insert into t values (2, 2)")
    doomed.execute("insert into t values (2, 3)")
    maker.execute("alter table t add column w int")
    assert failure(reader, "commit") == ""
    assert failure(writer, "commit") == OC001
    assert failure(doomed, "commit") in (OC001, "40001 change conflicts with another transaction (OC000)")


def test_a_change_that_is_rolled_back_is_told_to_nobody(connect: Connect, maker: Connection) -> None:
    idle = connect()
    maker.execute("begin")
    maker.execute("alter table t add column w int")
    assert failure(idle, "select * from t") == ""
    maker.execute("rollback")
    assert failure(idle, "insert into t values (1, 1)") == ""


TWO_DDL = "0A000 multiple ddl statements not supported in a transaction"
MIXED = "0A000 ddl and dml are not supported in the same transaction"


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("create table a (id int)", "create table b (id int)", TWO_DDL),
        ("create table a (id int)", "grant select on t to public", TWO_DDL),
        ("create table a (id int)", "insert into t values (1, 1)", MIXED),
        ("insert into t values (1, 1)", "create table a (id int)", MIXED),
        ("select * from t for update", "create table a (id int)", MIXED),
        ("select * from t", "create table a (id int)", ""),
        ("create table a (id int)", "select * from t", ""),
    ],
)
def test_one_ddl_statement_a_transaction_and_no_dml(
    maker: Connection, first: str, second: str, words: str
) -> None:
    maker.execute("begin")
    maker.execute(first.encode())
    assert failure(maker, second) == words
    maker.execute("rollback")
    assert failure(maker, f"{first}; {second}") == words


# --- Jobs ------------------------------------------------------------------------------------------------


def job_of(session: Connection, statement: str) -> str:
    row = session.execute(statement.encode()).fetchone()
    assert row is not None
    return str(row[0])


def status(session: Connection, job: str) -> Any:
    row = session.execute("select status, details from sys.jobs where job_id = %s", [job]).fetchone()
    assert row is not None
    return row


def is_valid(session: Connection, index: str) -> bool:
    row = session.execute(
        "select indisvalid from pg_index where indexrelid = %s::regclass", [index]
    ).fetchone()
    assert row is not None
    return bool(row[0])


def test_an_index_is_built_by_a_job_that_can_be_waited_for(maker: Connection) -> None:
    job = job_of(maker, "create index async by_v on t (v)")
    assert len(job) == 26
    assert status(maker, job)[0] == "submitted"
    assert not is_valid(maker, "by_v")
    maker.execute("call sys.wait_for_job(%s)", [job])
    assert status(maker, job)[0] == "completed"
    assert is_valid(maker, "by_v")


def test_a_unique_index_over_doubles_fails_in_its_job(maker: Connection) -> None:
    maker.execute("insert into t values (1, 5), (2, 5)")
    job = job_of(maker, "create unique index async by_v on t (v)")
    maker.execute("call sys.wait_for_job(%s)", [job])
    assert status(maker, job) == ("failed", "Found duplicate key while validating index for UCVs")
    # The name is taken until somebody drops it, and there is nothing to wait for.
    valid = "select indisvalid from pg_index where indexrelid = 'by_v'::regclass"
    assert maker.execute(valid).fetchall() == [(False,)]
    assert maker.execute("create unique index async if not exists by_v on t (v)").fetchall() == []
    maker.execute("drop index by_v")
    maker.execute("delete from t where id = 2")
    again = job_of(maker, "create unique index async by_v on t (v)")
    maker.execute("call sys.wait_for_job(%s)", [again])
    assert maker.execute(valid).fetchall() == [(True,)]


def test_a_constraint_is_validated_by_a_job(maker: Connection) -> None:
    maker.execute("insert into t values (1, 5)")
    maker.execute("alter table t add constraint small check (v < 10) not valid")
    job = job_of(maker, "alter table async t validate constraint small")
    maker.execute("call sys.wait_for_job(%s)", [job])
    assert status(maker, job)[0] == "completed"
    maker.execute("alter table t add constraint smaller check (v < 3) not valid")
    job = job_of(maker, "alter table async t validate constraint smaller")
    assert status(maker, job)[0] == "failed"


@pytest.mark.parametrize(("job", "words"), [("nonsense", "22P02"), ("a" * 26, "22023")])
def test_waiting_for_an_unknown_job_fails(maker: Connection, job: str, words: str) -> None:
    assert failure(maker, f"call sys.wait_for_job('{job}')").startswith(words)


def test_a_job_in_a_transaction_starts_with_its_commit(connect: Connect, maker: Connection) -> None:
    maker.execute("begin")
    job = job_of(maker, "create index async by_v on t (v)")
    # Somebody who waits for the table has it given back, and the job keeps its id.
    assert failure(connect(), "insert into t values (9, 9)") == ""
    maker.execute("commit")
    maker.execute("call sys.wait_for_job(%s)", [job])
    assert is_valid(maker, "by_v")


def test_an_index_waits_neither_for_a_transaction_that_has_lost_nor_for_one_that_cannot_be_run_again(
    connect: Connect, maker: Connection
) -> None:
    """Both hold PostgreSQL's lock on the table, and keep it: they are told of the change instead."""
    maker.execute("insert into t values (1, 1), (2, 2)")
    maker.execute("create sequence numbers cache 65536")
    lost, pinned = connect(), connect()
    lost.execute("begin")
    lost.execute("select * from t where id = 1")
    maker.execute("update t set v = 5 where id = 1")
    lost.execute("update t set v = 6 where id = 1")
    pinned.execute("begin")
    pinned.execute("insert into t values (3, nextval('numbers'))")
    job = job_of(maker, "create index async by_v on t (v)")
    maker.execute("call sys.wait_for_job(%s)", [job])
    assert is_valid(maker, "by_v")
    for session in (lost, pinned):
        assert failure(session, "select v from t where id = 1") == OC001
        session.execute("rollback")
    assert maker.execute("select v from t order by id").fetchall() == [(5,), (2,)]


def test_role_links_are_listed(server: LocalDsql, maker: Connection) -> None:
    maker.execute("create role linked with login")
    try:
        cursor = maker.execute("aws iam grant linked to 'arn:aws:iam::1:role/x'")
        assert cursor.statusmessage == "AWS IAM GRANT"
        rows = maker.execute("select pg_role_name, arn from sys.iam_pg_role_mappings").fetchall()
        assert rows == [("linked", "arn:aws:iam::1:role/x")]
        maker.execute("aws iam revoke linked from 'arn:aws:iam::1:role/x'")
        assert maker.execute("select * from sys.iam_pg_role_mappings").fetchall() == []
        assert failure(maker, "aws iam grant nobody to 'x'") == '42704 role "nobody" does not exist'
    finally:
        maker.execute("drop role linked")
