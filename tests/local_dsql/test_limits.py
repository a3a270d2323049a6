"""Limits: at the statement, at COMMIT, of time and of connections; most with less than DSQL gives."""

import base64
import contextlib
import random
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local_dsql.cluster import LocalDsql
from local_dsql.guard import StartError
from tests.local_dsql.conftest import Connect, Connection
from tests.local_dsql.test_schema_changes import failure

ROWS = "54000 transaction row limit exceeded"
SIZE = "54000 transaction size limit 10mb exceeded"


def before(server: LocalDsql, directory: Path, **limits: float) -> LocalDsql:
    """Give another server, to be entered, before the same PostgreSQL."""
    return LocalDsql(directory, postgres=server.postgres, tls=False, any_database=True, limits=limits)


@pytest.fixture(scope="module")
def small(server: LocalDsql, directory: Path) -> Iterator[LocalDsql]:
    """A second server before the same PostgreSQL, with small limits."""
    with before(server, directory, transaction_rows=5, transaction_bytes=100_000, connections=6) as running:
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


KEY = "54000 key size too large"


def test_a_key_of_1981_bytes_passes_and_one_byte_more_is_refused(connect: Connect) -> None:
    session = connect()
    session.execute("create table t (id text primary key)")
    for write in ("insert into t values (%s)", "insert into t values (%s) returning id"):
        for prepare in (False, True):
            session.execute("delete from t")
            session.execute(write, ["x" * 1_981], prepare=prepare)
            for count in (1_982, 2_500, 4_000, 100_000):
                with pytest.raises(psycopg.Error) as caught:
                    session.execute(write, ["x" * count], prepare=prepare)
                assert f"{caught.value.sqlstate} {caught.value.diag.message_primary}" == KEY
    assert refusal(session, "insert into t values (%s)", [text_of(4_000)]) == KEY
    assert failure(session, "update t set id = id || 'x'") == KEY
    assert failure(session, "insert into t select repeat('x', 2000)") == KEY
    session.execute("begin")
    session.execute("insert into t values ('y')")
    assert failure(session, "insert into t values ('x') on conflict (id) do nothing") == ""
    assert failure(session, "update t set id = repeat('y', 1982) where id = 'y'") == KEY
    assert failure(session, "select 1").startswith("25P02")
    session.execute("rollback")


#: Keys of one table, and how many bytes of `b` they take beside the other columns' 1,000 and 8.
KEYS = {
    "two columns": ("create table t (a text, b text, c int8, primary key (a, b))", 1_981 - 1_000 - 7),
    "unique": ("create table t (c int8 primary key, a text, b text, unique (a, b))", 1_981 - 1_008 - 14),
    "with the primary key's": ("create table t (a text primary key, b text unique, c int8)", 974),
    "the primary key once": ("create table t (a text primary key, b text, c int8, unique (b, a))", 974),
    "declared": ("create table t (a varchar(1100) primary key, b varchar(1100) unique, c int8)", 974),
}


@pytest.mark.parametrize(("create", "count"), KEYS.values(), ids=KEYS)
def test_a_key_is_all_its_columns_and_those_of_the_primary_key(
    connect: Connect, create: str, count: int
) -> None:
    session = connect()
    session.execute(create.encode())
    insert = "insert into t (a, b, c) values (%s, %s, 1)"
    assert refusal(session, insert, ["a" * 1_000, "b" * (count + 1)]) == KEY
    assert refusal(session, insert, ["a" * 1_000, "b" * count]) == ""
    assert failure(session, "update t set b = b || 'x'") == KEY
    assert failure(session, "update t set a = a || 'x'") == KEY
    assert failure(session, "update t set c = 2") == ""


def test_keys_of_an_index_that_comes_later_are_looked_at_too(connect: Connect) -> None:
    session = connect()
    session.execute("create table t (id int8 primary key, a text, b text, v text)")
    assert refusal(session, "insert into t values (1, %s, %s)", ["x" * 3_000, "x" * 3_000]) == ""
    session.execute("delete from t")
    session.execute("create index async on t (a)")
    session.execute("create index async on t (lower(b)) include (v)")
    for column, longest in (("a", 1_981 - 8 - 7), ("b", 1_981)):
        insert = f"insert into t (id, v, {column}) values (%s, repeat('v', 2000), %s)"
        assert refusal(session, insert, [len(column), "x" * longest]) == ""
        assert refusal(session, insert, [9, "x" * (longest + 1)]) == KEY
        session.execute("delete from t")
    session.execute("alter table t drop column b")
    assert refusal(session, "insert into t values (1, %s)", ["x" * 1_967]) == KEY
    session.execute("alter table t drop column a")
    assert refusal(session, "insert into t values (1, %s)", ["x" * 1_967]) == ""


def test_a_partial_index_has_no_key_of_other_rows(connect: Connect) -> None:
    session = connect()
    session.execute("create table t (id int8 primary key, a text, is_new bool)")
    session.execute("create index async on t (a) where is_new")
    insert = "insert into t values (%s, %s, %s)"
    assert refusal(session, insert, [1, "x" * 2_000, False]) == ""
    assert refusal(session, insert, [2, "x" * 2_000, None]) == ""
    assert refusal(session, insert, [3, "x" * 1_981, True]) == ""
    assert refusal(session, insert, [4, "x" * 1_982, True]) == KEY
    assert failure(session, "update t set is_new = true where id = 1") == KEY


def test_nobody_is_shown_what_looks_at_sizes(connect: Connect) -> None:
    session = connect()
    session.execute("create table t (a text primary key, b text)")
    seen = "select (select count(*) from information_schema.triggers), count(*) from pg_trigger"
    assert session.execute(f"{seen} where tgrelid = 't'::regclass and not tgisinternal").fetchone() == (0, 0)
    assert session.execute(f"{seen} where tgrelid = 't'::regclass").fetchone() == (0, 2)


def test_tables_of_a_directory_from_before_are_looked_at_too(server: LocalDsql, directory: Path) -> None:
    server.postgres.create_database("from_before", template="template0")
    with psycopg.connect(server.postgres.conninfo("from_before"), autocommit=True) as before:
        before.execute("create table t (a text primary key)")
    with (
        LocalDsql(directory, postgres=server.postgres, tls=False, any_database=True) as running,
        psycopg.connect(running.conninfo("from_before"), autocommit=True) as session,
    ):
        assert failure(session, "insert into t select repeat('x', 1981)") == ""
        assert failure(session, "insert into t select repeat('x', 1982)") == KEY
    server.postgres.drop_database("from_before")


def test_a_database_that_cannot_be_prepared_stops_the_start_and_says_why(
    server: LocalDsql, directory: Path
) -> None:
    server.postgres.create_database("odd", template="template0")
    with psycopg.connect(server.postgres.conninfo("odd"), autocommit=True) as before:
        before.execute("set allow_system_table_mods = on")
        before.execute("create schema pg_dsql")
        before.execute("create function pg_dsql.tables() returns int language sql as 'select 1'")
    try:
        with pytest.raises(StartError) as refused:
            LocalDsql(directory, postgres=server.postgres, tls=False).__enter__()
    finally:
        server.postgres.drop_database("odd")
    assert str(refused.value) == (
        "the local DSQL did not start: database odd cannot be prepared: "
        "cannot change return type of existing function. Give another directory."
    )


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


def test_a_small_statement_may_not_take_a_row_over_2_mib(wide: Connection) -> None:
    mib = 1024 * 1024
    row_limit = "54000 maximum row size exceeded"
    insert = "insert into wide (id, v, c) values (%s, %s, %s)"
    assert refusal(wide, insert, [1, text_of(mib), text_of(mib - 1_000)]) == ""
    update = "update wide set b = %s where id = 1"
    for block in (False, True):
        if block:
            wide.execute("begin")
        assert refusal(wide, update, [random.Random(1).randbytes(1_000)]) == row_limit
        wide.execute("rollback" if block else "select 1")
    assert refusal(wide, update, [random.Random(1).randbytes(900)]) == ""
    assert failure(wide, "update wide set b = b || b") == row_limit
    assert failure(wide, "update wide set id = 2") == ""


def test_nobody_is_told_how_sizes_are_looked_after(connect: Connect) -> None:
    connection, said = connect(), []
    connection.add_notice_handler(lambda notice: said.append(notice.message_primary))
    for statement in (
        "create table long (id text primary key, v text)",
        "alter table long add column w text",
        "create index async on long (v)",
        "alter table long rename to longer",
        "drop table longer",
    ):
        connection.execute(statement)
    assert said == []


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


def begin_and_write(session: Connection) -> None:
    """Begin a transaction and write in it; on a busy machine it may be too old before it has written."""
    for _ in range(20):
        session.execute("begin")
        if not failure(session, "insert into t values (1)"):
            return
        session.execute("rollback")
    pytest.fail("no transaction came as far as to write")


def test_a_transaction_grows_too_old(server: LocalDsql, directory: Path, database: str) -> None:
    words = "54000 transaction age limit of 300s exceeded"
    with (
        before(server, directory, transaction_age_s=1.0) as running,
        psycopg.connect(running.conninfo(database), autocommit=True) as session,
    ):
        session.execute("create table t (id int primary key)")
        for statement in ("select 1", "commit"):
            begin_and_write(session)
            time.sleep(1.1)
            assert failure(session, statement).startswith(words)
            session.execute("rollback")
        # One that is prepared is recognised by the layout of its batch, and let through without a look.
        prepared = "select id from t where id = %s"
        for _ in range(3):
            session.execute(prepared, [1], prepare=True)
        begin_and_write(session)
        time.sleep(1.1)
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="transaction age limit"):
            session.execute(prepared, [1], prepare=True)
        session.execute("rollback")
        assert session.execute("select count(*) from t").fetchone() == (0,)


def test_a_connection_ends_after_its_time_but_not_within_a_transaction(
    server: LocalDsql, directory: Path, database: str
) -> None:
    with (
        before(server, directory, connection_age_s=3.0) as running,
        psycopg.connect(running.conninfo(database), autocommit=True) as idle,
        psycopg.connect(running.conninfo(database), autocommit=True) as busy,
    ):
        busy.execute("begin")
        assert hears_something(idle)
        time.sleep(3.1)
        busy.execute("select 1")
        busy.execute("commit")
        assert hears_something(busy)
        for connection in (idle, busy):
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select 1")


def hears_something(connection: Connection) -> bool:
    """Wait until a server says something, or its connection ends, without having been asked."""
    return bool(select.select([connection], [], [], 60)[0])


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
