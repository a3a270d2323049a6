"""The usual round of each driver: create, insert, query, change, commit, roll back."""

import asyncio
import json
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import pg8000.native  # type: ignore[import-untyped]
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from local_dsql.cluster import LocalDsql
from local_dsql.process import Settings, ready_file
from local_dsql.tls import Authority
from tests.local_dsql.conftest import Connect

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def session(connect: Connect) -> Any:
    opened = connect()
    opened.execute("create table t (id int primary key, v text, made timestamptz default clock_timestamp())")
    return opened


# --- psycopg -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("prepare", [False, True], ids=["unprepared", "prepared"])
def test_psycopg(session: Any, binary: bool, prepare: bool) -> None:
    cursor = session.cursor(binary=binary)
    with session.transaction():
        for number in range(3):
            cursor.execute("insert into t (id, v) values (%s, %s)", (number, "x"), prepare=prepare)
    cursor.execute("select id, v from t where id > %s order by id", (0,), prepare=prepare)
    assert cursor.fetchall() == [(1, "x"), (2, "x")]
    with session.transaction(force_rollback=True):
        cursor.execute("delete from t")
    assert cursor.execute("select count(*) from t").fetchone() == (3,)


def test_psycopg_pipelines(session: Any) -> None:
    with session.pipeline():
        session.execute("begin")
        given = [
            session.execute("insert into t (id) values (%s) returning id", (number,)) for number in range(10)
        ]
        session.execute("commit")
    assert [cursor.fetchone() for cursor in given] == [(number,) for number in range(10)]


def test_psycopg_syncs_within_one_write(session: Any) -> None:
    with session.pipeline() as pipeline:
        session.execute("begin")
        pipeline.sync()
        session.execute("insert into t (id) values (%s)", (1,))
        pipeline.sync()
        session.execute("commit")
    assert session.execute("select count(*) from t").fetchone() == (1,)


def test_psycopg_executemany_and_stream(session: Any) -> None:
    cursor = session.cursor()
    cursor.executemany("insert into t (id) values (%s) returning id", [(1,), (2,)], returning=True)
    assert cursor.fetchone() == (1,)
    assert [row[0] for row in session.cursor().stream("select id from t order by id")] == [1, 2]


@pytest.mark.parametrize("block", [False, True], ids=["autocommit", "block"])
def test_psycopg_copies(session: Any, block: bool) -> None:
    if block:
        session.execute("begin")
    with session.cursor() as cursor:
        with cursor.copy("copy t (id, v) from stdin") as copy:
            for number in range(5):
                copy.write_row((number, "x" * number))
        with cursor.copy("copy t (id, v) to stdout") as copy:
            assert len(list(copy.rows())) == 5
    if block:
        session.execute("commit")
    assert session.execute("select count(*) from t").fetchone() == (5,)


def test_a_copy_is_run_again_after_its_locks_were_given_up(session: Any, connect: Connect) -> None:
    other = connect()
    session.execute("begin")
    with session.cursor() as cursor, cursor.copy("copy t (id, v) from stdin") as copy:
        copy.write_row((1, "copied"))
    other.execute("insert into t (id, v) values (1, 'first')")  # waits for nobody
    assert session.execute("select v from t").fetchall() == [("copied",)]
    with pytest.raises(psycopg.errors.SerializationFailure, match="OC000"):
        session.execute("commit")
    assert session.execute("select v from t").fetchall() == [("first",)]


def test_what_was_shown_is_what_is_written_when_a_transaction_is_run_again(
    session: Any, connect: Connect
) -> None:
    """Random values and clocks repeat: another session takes the locks away in between."""
    session.execute(
        "create table r (id uuid primary key default gen_random_uuid(), x float8, at timestamptz)"
    )
    other = connect()
    session.execute("insert into t (id, v) values (1, 'x')")
    session.execute("begin")
    shown = session.execute(
        "insert into r (x, at) values (random(), clock_timestamp()) returning *"
    ).fetchone()
    stamped = session.execute("update t set v = 'mine', made = clock_timestamp() returning made").fetchone()
    other.execute("begin")
    other.execute("update t set v = 'theirs'")
    other.execute("rollback")
    session.execute("commit")
    assert session.execute("select * from r").fetchone() == shown
    assert session.execute("select made from t").fetchone() == stamped


def test_psycopg_cancels(session: Any) -> None:
    timer = threading.Timer(0.3, session.cancel)
    timer.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        session.execute("select pg_sleep(60)")
    timer.join()
    assert session.execute("select 1").fetchone() == (1,)


def test_a_portal_is_fetched_from_in_parts_though_its_transaction_was_parked(
    session: Any, connect: Connect, server: LocalDsql, database: str
) -> None:
    session.execute("insert into t (id) select generate_series(1, 9)")

    async def fetch() -> list[int]:
        one = await asyncpg.connect(host=server.host, port=server.port, user="admin", database=database)
        try:
            async with one.transaction():
                await one.execute("update t set v = 'mine' where id = 1")
                cursor = await one.cursor("select id from t order by id")
                rows = await cursor.fetch(3)
                await asyncio.to_thread(session.execute, "update t set v = 'theirs' where id = 2")
                rows += await cursor.fetch(100)
                return [row["id"] for row in rows]
        finally:
            await one.close()

    assert asyncio.run(fetch()) == list(range(1, 10))


# --- Others ------------------------------------------------------------------------------------------------


def test_asyncpg(session: Any, server: LocalDsql, database: str) -> None:
    async def round_trip() -> None:
        one = await asyncpg.connect(host=server.host, port=server.port, user="admin", database=database)
        try:
            async with one.transaction():
                await one.execute("insert into t (id, v) values ($1, $2)", 1, "x")
                await one.executemany("insert into t (id, v) values ($1, $2)", [(2, "y"), (3, "z")])
            assert [tuple(row) for row in await one.fetch("select id, v from t where id > $1", 1)] == [
                (2, "y"),
                (3, "z"),
            ]
            await one.copy_records_to_table("t", records=[(4, "w")], columns=["id", "v"])
            with pytest.raises(asyncpg.PostgresError) as caught:
                await one.execute("truncate t")
            assert caught.value.sqlstate == "0A000"
            assert await one.fetchval("select count(*) from t") == 4
        finally:
            await one.close()

    asyncio.run(round_trip())


def test_pg8000(session: Any, server: LocalDsql, database: str) -> None:
    with pg8000.native.Connection("admin", host=server.host, port=server.port, database=database) as one:
        one.run("begin")
        one.run("insert into t (id, v) values (:id, :v)", id=1, v="x")
        one.run("commit")
        assert one.run("select id, v from t") == [[1, "x"]]
        with pytest.raises(pg8000.native.DatabaseError):
            one.run("insert into t (id) values (1)")
        assert one.run("select count(*) from t") == [[1]]


def psql(server: LocalDsql, database: str, *arguments: str, stdin: str = "") -> str:
    program = server.postgres.bin_directory / "psql"
    command = [str(program), server.conninfo(database), "-X", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def test_psql(session: Any, server: LocalDsql, database: str) -> None:
    script = "begin;\ninsert into t (id, v) values (1, 'x');\nselect id, v from t;\ncommit;\n"
    script += "\\d t\n\\dt\n\\dn\n\\du\n"
    shown = psql(server, database, stdin=script)
    assert "INSERT 0 1" in shown
    assert '"t_pkey" PRIMARY KEY, btree (id)' in shown
    assert "pg_dsql" not in shown
    assert psql(server, database, "-c", "insert into t (id) values (2); select count(*) from t").endswith(
        "     2\n(1 row)\n\n"
    )
    assert "unsupported statement: Truncate" in psql(server, database, "-c", "truncate t")
    assert "16.15" in psql(server, database, "-c", "show server_version")
    assert "LINE 1" in psql(server, database, "-c", "select nothing from t")


def test_explain(session: Any) -> None:
    plan = session.execute("explain select * from t where id = 1").fetchall()
    assert any("t" in line[0] for line in plan)
    plan = session.execute("explain (analyze, costs off) select * from t").fetchall()
    assert any("actual" in line[0] for line in plan)


class _Base(orm.DeclarativeBase):  # type: ignore[misc]  # mypy does not read it
    pass


class _Note(_Base):
    __tablename__ = "notes"
    id: orm.Mapped[uuid.UUID] = orm.mapped_column(primary_key=True, default=uuid.uuid4)
    number: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, sa.Identity(cache=1))
    words: orm.Mapped[str]


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        # SQLAlchemy looks for hstore behind a SAVEPOINT, which DSQL refuses.
        ("psycopg", {"use_native_hstore": False}),
        ("pg8000", {}),
    ],
)
def test_sqlalchemy(server: LocalDsql, database: str, driver: str, options: dict[str, Any]) -> None:
    url = sa.URL.create(
        f"postgresql+{driver}", "admin", host=server.host, port=server.port, database=database
    )
    engine = sa.create_engine(url, **options)
    _Base.metadata.create_all(engine)
    with orm.Session(engine) as session, session.begin():
        session.add_all([_Note(words="one"), _Note(words="two")])
    with orm.Session(engine) as session:
        note = session.scalars(sa.select(_Note).where(_Note.words == "one")).one()
        note.words = "uno"
        session.commit()
        assert sorted(session.scalars(sa.select(_Note.words))) == ["two", "uno"]
        session.delete(note)
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(_Note)) == 1
    _Base.metadata.drop_all(engine)
    engine.dispose()


DJANGO = """
import sys, uuid, django
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": sys.argv[3],
    "USER": "admin", "HOST": sys.argv[1], "PORT": sys.argv[2]}}, INSTALLED_APPS=[], USE_TZ=True)
django.setup()
from django.db import connection, models, transaction

class Note(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    words = models.CharField(max_length=100)
    made = models.DateTimeField(auto_now_add=True)
    class Meta:
        app_label = "notes"

with connection.schema_editor(atomic=False) as editor:
    editor.create_model(Note)
with transaction.atomic():
    Note.objects.create(words="one")
    Note.objects.bulk_create([Note(words="two"), Note(words="three")])
Note.objects.filter(words="one").update(words="uno")
note, made = Note.objects.get_or_create(words="two")
assert not made
note.delete()
print(sorted(Note.objects.values_list("words", flat=True)), Note.objects.count())
"""


def test_django(server: LocalDsql, database: str, tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(DJANGO)
    command = [sys.executable, str(script), server.host, str(server.port), database]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "['three', 'uno'] 2\n", done.stderr


def test_nobody_waits(connect: Connect, session: Any) -> None:
    """Twenty sessions write one row and are idle; another one is through at once, and all but one lose."""
    session.execute("insert into t (id, v) values (1, '')")
    sessions = [connect() for _ in range(20)]
    for number, each in enumerate(sessions):
        each.execute("begin")
        assert each.execute("update t set v = %s where id = 1", [str(number)]).rowcount == 1
    session.execute("update t set v = 'first' where id = 1")
    lost = 0
    for each in sessions:
        try:
            each.execute("commit")
        except psycopg.errors.SerializationFailure:
            lost += 1
    assert lost == 20
    assert session.execute("select v from t").fetchone() == ("first",)


@pytest.mark.parametrize("has_uvloop", [True, False], ids=["uvloop", "asyncio"])
def test_the_server_runs_with_uvloop_and_without(server: LocalDsql, tmp_path: Path, has_uvloop: bool) -> None:
    authority = Authority(tmp_path)
    path = tmp_path / "settings.json"
    settings = Settings(
        postgres_port=server.postgres.port,
        postgres_socket=str(server.postgres.socket or ""),
        endpoints={"us-east-1": 0},
        certificate=str(authority.server_certificate("localhost")),
    )
    settings.write(path)
    hidden = "" if has_uvloop else "sys.modules['uvloop'] = None; "
    code = (
        f"import sys; {hidden}from local_dsql import process; loop = process._new_event_loop(); "
        "print(type(loop).__module__, flush=True); loop.close(); process.main()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("uvloop" if has_uvloop else "asyncio")
            deadline = time.monotonic() + 60
            while not ready_file(path).exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            port = json.loads(ready_file(path).read_text(encoding="utf-8"))["us-east-1"]
            tls = f"sslmode=verify-full sslrootcert={authority.ca_file}"
            for options in (tls, "sslmode=disable"):
                conninfo = f"host=localhost port={port} dbname=postgres user=admin {options}"
                with psycopg.connect(conninfo) as connection:
                    text = "x" * 300_000
                    rows = connection.execute("select %s::text from generate_series(1, 20)", [text])
                    assert rows.fetchall() == [(text,)] * 20
        finally:
            process.terminate()
        assert process.wait(30) == 0
