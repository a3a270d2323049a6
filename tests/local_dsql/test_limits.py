"""Limits: at the statement, at COMMIT, of time and of connections; most with less than DSQL gives."""

import base64
import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local_dsql.cluster import LocalDsql
from tests.local_dsql.conftest import Connect, Connection
from tests.local_dsql.test_schema_changes import failure

ROWS = "54000 transaction row limit exceeded"
SIZE = "54000 transaction size limit 10mb exceeded"


@pytest.fixture(scope="module")
def small(server: LocalDsql, directory: Path) -> Iterator[LocalDsql]:
    """A second server before the same PostgreSQL, with small limits."""
    limits = {
        "transaction_rows": 5,
        "transaction_bytes": 100_000,
        "transaction_age_s": 1.0,
        "connection_age_s": 3.0,
        "connections": 6,
    }
    with LocalDsql(
        directory, postgres=server.postgres, tls=False, any_database=True, limits=limits
    ) as running:
        yield running


@pytest.fixture
def session(small: LocalDsql, database: str) -> Iterator[Connection]:
    with psycopg.connect(small.conninfo(database), autocommit=True) as connection:
        connection.execute("create table t (id int primary key, v text)")
        connection.execute(
            "create table child (id int primary key, t_id int references t (id) on delete cascade)"
        )
        yield connection


WRITES = {
    "values": "insert into t values (1), (2), (3), (4), (5), (6)",
    "series": "insert into t select generate_series(1, 6)",
    "array": "insert into t select unnest('{1,2,3,4,5,6}'::int[])",
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("block", [False, True], ids=["autocommit", "block"])
def test_rows_are_limited_at_the_statement(session: Connection, write: str, block: bool) -> None:
    if block:
        session.execute("begin")
    assert failure(session, write) == ROWS
    if block:
        assert failure(session, "select 1").startswith("25P02")
        session.execute("rollback")
    assert session.execute("select count(*) from t").fetchone() == (0,)


def test_rows_add_up_over_the_statements_of_a_transaction(session: Connection) -> None:
    session.execute("begin")
    session.execute("insert into t values (1), (2), (3)")
    session.execute("update t set v = 'x' where id <= 2")
    assert failure(session, "delete from t where id = 3") == ROWS
    session.execute("rollback")


def test_rows_are_limited_in_a_batch_that_commits(session: Connection) -> None:
    batch = "begin; insert into t select generate_series(1, 4); update t set v = 'x'; commit"
    assert failure(session, batch) == ROWS
    session.execute("rollback")
    assert failure(session, "insert into t select generate_series(1, 4); update t set v = 'x'") == ROWS
    assert session.execute("select count(*) from t").fetchone() == (0,)


def test_rows_of_cascades_count(session: Connection) -> None:
    session.execute("insert into t values (1), (2)")
    for number in range(10):
        session.execute("insert into child values (%s, %s)", [number, 1 + number % 2])
    assert failure(session, "delete from t where id = 1") == ROWS
    session.execute("delete from child where id between 4 and 7")
    session.execute("delete from t where id = 1")
    assert session.execute("select count(*) from child").fetchone() == (3,)


def test_rows_of_a_with_clause_count(session: Connection) -> None:
    session.execute("insert into t values (1), (2), (3)")
    moved = "with gone as (delete from t returning id) insert into t select id + 10 from gone"
    assert failure(session, moved) == ROWS


def test_rows_of_a_copy_count(session: Connection) -> None:
    def copy() -> None:
        with session.cursor() as cursor, cursor.copy("copy t (id) from stdin") as rows:
            for number in range(6):
                rows.write_row((number,))

    with pytest.raises(psycopg.Error, match="transaction row limit exceeded"):
        copy()
    assert session.execute("select count(*) from t").fetchone() == (0,)


def test_the_limit_of_rows_is_that_of_dsql(connect: Connect) -> None:
    session = connect()
    session.execute("create table t (id int)")
    session.execute("insert into t select generate_series(1, 3000)")
    assert failure(session, "insert into t select generate_series(1, 3001)") == ROWS
    assert failure(session, "delete from t") == ""


@pytest.mark.parametrize(
    "write",
    ["insert into t values (1, '{}')", "insert into t values (1, repeat('x', 150000))"],
    ids=["given", "made by the statement"],
)
def test_bytes_are_limited_at_commit(session: Connection, write: str) -> None:
    write = write.replace("{}", "x" * 150_000)
    session.execute("begin")
    session.execute(write.encode())
    with pytest.raises(psycopg.Error) as caught:
        session.execute("commit")
    assert f"{caught.value.sqlstate} {caught.value.diag.message_primary}" == SIZE
    assert caught.value.diag.message_detail == "Current transaction size 1mb > 10mb"
    assert session.execute("select count(*) from t").fetchone() == (0,)


def test_a_key_that_is_too_large_is_told_so_in_the_words_of_dsql(connect: Connect) -> None:
    """Where PostgreSQL refuses it: from some 2,700 bytes on that do not compress."""
    session = connect()
    session.execute("create table t (id text primary key)")
    key = random.Random(1).randbytes(2_000).hex()
    for write in ("insert into t values (%s)", "insert into t values (%s) returning id"):
        with pytest.raises(psycopg.Error) as caught:
            session.execute(write, [key], prepare=True)
        assert (caught.value.sqlstate, caught.value.diag.message_primary) == ("54000", "key size too large")
    session.execute("insert into t values (%s)", [key[:1_900]])


def text_of(count: int) -> str:
    """Give as many characters that PostgreSQL cannot compress."""
    return base64.b64encode(random.Random(count).randbytes(count))[:count].decode()


@pytest.fixture
def wide(connect: Connect) -> Connection:
    session = connect()
    session.execute("create table wide (id int primary key, v text, b bytea, c varchar)")
    return session


def refusal(session: Connection, statement: str, values: Sequence[Any] | None = None) -> str:
    """Give SQLSTATE and message of a statement that fails; empty for one that does not."""
    try:
        session.execute(statement.encode(), values)
    except psycopg.Error as error:
        return f"{error.sqlstate} {error.diag.message_primary}"
    return ""


def too_large(kind: str) -> str:
    return f"54000 datatype limit greater than 1048576 bytes not supported for {kind}"


Storing = Callable[[Connection, int], str]


def _copied(session: Connection, count: int) -> str:
    try:
        with session.cursor() as cursor, cursor.copy("copy wide (id, v) from stdin") as rows:
            rows.write_row((1, text_of(count)))
    except psycopg.Error as error:
        return f"{error.sqlstate} {error.diag.message_primary}"
    return ""


def _in_two_halves(session: Connection, count: int) -> str:
    session.execute("insert into wide (id, v) values (1, %s)", [text_of(count - 1)])
    return failure(session, "update wide set v = v || 'x' where id = 1")


STORING: dict[str, tuple[str, Storing]] = {
    "a literal": ("text", lambda s, n: failure(s, f"insert into wide (id, v) values (1, '{text_of(n)}')")),
    "text": ("text", lambda s, n: refusal(s, "insert into wide (id, v) values (1, %s)", [text_of(n)])),
    "binary": ("text", lambda s, n: refusal(s, "insert into wide (id, v) values (1, %b)", [text_of(n)])),
    "bytes": (
        "bytea",
        lambda s, n: refusal(s, "insert into wide (id, b) values (1, %b)", [random.Random(n).randbytes(n)]),
    ),
    "with returning": (
        "varchar",
        lambda s, n: refusal(s, "insert into wide (id, c) values (1, %s) returning id", [text_of(n)]),
    ),
    "made of two": (
        "text",
        lambda s, n: refusal(
            s, "insert into wide (id, v) values (1, %s::text || %s)", [text_of(n // 2), text_of(n - n // 2)]
        ),
    ),
    "grown by an update": ("text", _in_two_halves),
    "copied": ("text", _copied),
}


@pytest.mark.parametrize(("kind", "store"), STORING.values(), ids=STORING)
@pytest.mark.parametrize("block", [False, True], ids=["autocommit", "block"])
def test_a_value_of_1_mib_passes_and_one_byte_more_is_refused(
    wide: Connection, kind: str, store: Storing, block: bool
) -> None:
    if block:
        wide.execute("begin")
    assert store(wide, 1024 * 1024) == ""
    wide.execute("commit" if block else "select 1")
    wide.execute("delete from wide")
    if block:
        wide.execute("begin")
    assert store(wide, 1024 * 1024 + 1) == too_large(kind)
    if block:
        assert failure(wide, "select 1").startswith("25P02")
        wide.execute("rollback")
    longest = "select coalesce(max(length(v)), 0) <= 1048576, max(length(b)), max(length(c)) from wide"
    assert wide.execute(longest).fetchone() == (True, None, None)


def test_what_compresses_counts_as_it_is_stored(wide: Connection) -> None:
    wide.execute("insert into wide (id, v) values (1, %s), (2, repeat('x', 3000000))", ["y" * 3_000_000])


def test_a_prepared_statement_is_looked_at_whenever_it_is_given_much(wide: Connection) -> None:
    insert = "insert into wide (id, v) values (%s, %s)"
    for count in (10, 11, 12):
        wide.execute(insert, [count, text_of(count)], prepare=True)
    with pytest.raises(psycopg.Error, match="datatype limit greater than"):
        wide.execute(insert, [13, text_of(1024 * 1024 + 1)], prepare=True)
    assert wide.execute("select count(*) from wide").fetchone() == (3,)


def test_a_row_of_2_mib_passes_and_one_byte_more_is_refused(wide: Connection) -> None:
    mib = 1024 * 1024
    insert = "insert into wide (id, v, c) values (%s, %s, %s)"
    row_limit = "54000 maximum row size exceeded"
    assert refusal(wide, insert, [1, text_of(mib), text_of(mib - 4)]) == ""
    assert refusal(wide, insert, [2, text_of(mib), text_of(mib - 3)]) == row_limit
    assert refusal(wide, insert, [2, text_of(mib - 100_000), text_of(mib)]) == ""
    update = "update wide set b = %s where id = 2"
    assert refusal(wide, update, [random.Random(1).randbytes(99_996)]) == ""
    assert refusal(wide, update, [random.Random(1).randbytes(99_997)]) == row_limit
    assert wide.execute("select id, length(b) from wide order by id").fetchall() == [(1, None), (2, 99_996)]


def test_a_query_has_so_much_memory(connect: Connect) -> None:
    sort = (
        "select count(*) from (select repeat(md5(g::text), 30) x from generate_series(1, {}) g "
        "order by 1 offset 0) s"
    )
    session = connect()
    assert failure(session, sort.format(1_000)) == ""
    words = "54000 query requires more than allowed temp space of 131072 KB to execute"
    assert failure(session, sort.format(160_000)) == words


def test_less_than_the_limit_of_bytes_passes(session: Connection) -> None:
    session.execute("begin")
    session.execute("insert into t values (1, %s)", ["x" * 60_000])
    session.execute("update t set v = repeat('y', 1000)")
    session.execute("commit")


def test_a_transaction_grows_too_old(session: Connection) -> None:
    session.execute("begin")
    session.execute("insert into t values (1)")
    time.sleep(1.1)
    assert failure(session, "select 1").startswith("54000 transaction age limit of 300s exceeded")
    session.execute("rollback")
    session.execute("begin")
    session.execute("insert into t values (1)")
    time.sleep(1.1)
    assert failure(session, "commit").startswith("54000 transaction age limit of 300s exceeded")
    assert session.execute("select count(*) from t").fetchone() == (0,)


def test_a_connection_ends_after_its_time_but_not_within_a_transaction(
    small: LocalDsql, database: str
) -> None:
    with psycopg.connect(small.conninfo(database), autocommit=True) as idle:
        busy = psycopg.connect(small.conninfo(database), autocommit=True)
        time.sleep(2.5)
        busy.execute("begin")
        time.sleep(0.8)
        busy.execute("select 1")
        busy.execute("commit")
        time.sleep(0.1)
        for connection in (idle, busy):
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select 1")


def test_connections_are_limited(small: LocalDsql, database: str) -> None:
    with ExitStack() as opened:
        for _ in range(6):
            opened.enter_context(psycopg.connect(small.conninfo(database)))
        with pytest.raises(psycopg.OperationalError, match="too many open connections"):
            psycopg.connect(small.conninfo(database))


def test_new_connections_are_limited_by_their_rate(server: LocalDsql, directory: Path) -> None:
    limits = {"connections_per_second": 0.1, "connection_burst": 3}
    with LocalDsql(directory, postgres=server.postgres, tls=False, limits=limits) as running:
        for _ in range(3):
            psycopg.connect(running.conninfo()).close()
        with pytest.raises(psycopg.OperationalError, match="rate exceeded"):
            psycopg.connect(running.conninfo())


def test_a_message_over_10_mib_closes_the_connection(connect: Connect) -> None:
    session = connect()
    assert session.execute("select length(%s::text)", ["x" * 9_000_000]).fetchone() == (9_000_000,)
    with pytest.raises(psycopg.OperationalError):
        session.execute("select length(%s::text)", ["x" * 11_000_000])


def test_garbage_closes_the_connection_and_nothing_else(server: LocalDsql) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\4", b"\xff" * 20, b"\0\0\0\x08\x04\xd2\x16\x2f"):
        with socket.create_connection((server.host, server.port)) as client, contextlib.suppress(OSError):
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
            client.settimeout(10)
            received: Any = client.recv(100)
            assert len(received) < 100
    psycopg.connect(server.conninfo()).close()
