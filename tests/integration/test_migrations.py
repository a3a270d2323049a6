import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Self

import psycopg
import pytest
from psycopg import errors

from local_dsql.cluster import LocalDsql
from local_dsql.postgres import EmbeddedPostgres
from sql.connection import Connection, Database
from sql.migrate import (
    ATTEMPTS,
    BackgroundJobFailedError,
    Migration,
    MigrationChangedError,
    MigrationFailedError,
    migrate,
    read_migrations,
)
from tests.integration.conftest import Connect, settings

SCHEMA = Migration("0001_a.sql", 1, "create schema if not exists xpoints")
TABLE = Migration("0001_a.sql", 2, "create table xpoints.things (id int primary key, size int)")
UNIQUE = Migration(
    "0002_b.sql", 1, "create unique index async if not exists things_size on xpoints.things (size)"
)
INDEX = Migration("0002_b.sql", 1, "create index async if not exists things_size on xpoints.things (size)")


@pytest.fixture
def admin(dsql: LocalDsql, empty_database_name: str) -> Iterator[Database]:
    """The runner's own way into a database that holds nothing."""
    database = Database(settings(dsql, empty_database_name, "admin"))
    yield database
    database.discard()


@pytest.fixture
def look(postgres: EmbeddedPostgres, empty_database_name: str) -> Iterator[Connection]:
    """A connection of the test's own into that database, behind DSQL: no change of the schema fails it."""
    with Connection.connect(
        postgres.conninfo(empty_database_name), autocommit=True, application_name="fixture"
    ) as connection:
        yield connection


def recorded(look: Connection) -> list[tuple[str, int]]:
    rows = look.execute("select file, statement from xpoints.schema_migrations order by 1, 2").fetchall()
    return [(file, number) for file, number in rows]


PREPARED = "select name from pg_prepared_statements where name like '\\_pg3\\_%'"


def test_a_first_run_applies_every_statement_and_a_second_none(admin: Database, look: Connection) -> None:
    lines: list[str] = []
    assert migrate(admin, report=lines.append) == len(read_migrations())
    assert len([line for line in lines if line.startswith("[")]) == len(read_migrations())
    lines.clear()
    assert recorded(look) == [(each.file, each.number) for each in read_migrations()]
    assert look.execute("select count(*) from pg_index where not indisvalid").fetchall() == [(0,)]
    assert {status for (status,) in look.execute("select status from sys.jobs")} == {"completed"}
    # What it prepares, psycopg would deallocate after DDL.
    assert admin.connection().execute(PREPARED, prepare=False).fetchall() == []
    assert migrate(admin, report=lines.append) == 0
    assert lines == []
    assert admin.connection().execute(PREPARED, prepare=False).fetchall() == []


def test_every_index_can_be_used_after_a_run(connect: Connect) -> None:
    invalid = "select indexrelid::regclass from pg_catalog.pg_index where not indisvalid"
    assert connect().execute(invalid).fetchall() == []


def test_a_run_that_failed_in_the_middle_goes_on_from_there(admin: Database, look: Connection) -> None:
    broken = [SCHEMA, TABLE, Migration("0002_b.sql", 1, "create view xpoints.v as select nothing")]
    with pytest.raises(
        MigrationFailedError, match=r"0002_b.sql, statement 1 .*42703.*Correct it and deploy again"
    ):
        migrate(admin, migrations=broken)
    assert recorded(look) == [("0001_a.sql", 1), ("0001_a.sql", 2)]
    assert migrate(admin, migrations=[SCHEMA, TABLE, INDEX]) == 1
    assert recorded(look)[-1] == ("0002_b.sql", 1)


def test_a_statement_that_changed_after_it_was_applied_is_refused_before_anything_is_applied(
    admin: Database, look: Connection
) -> None:
    migrate(admin, migrations=[SCHEMA, TABLE])
    changed = TABLE._replace(text="create table xpoints.things (id bigint primary key)")
    with pytest.raises(MigrationChangedError, match=r"0001_a.sql, statement 2 .*Put the statement back"):
        migrate(admin, migrations=[SCHEMA, changed, INDEX])
    assert recorded(look) == [("0001_a.sql", 1), ("0001_a.sql", 2)]


def test_older_code_runs_against_a_newer_schema(admin: Database) -> None:
    migrate(admin, migrations=[SCHEMA, TABLE, INDEX])
    assert migrate(admin, migrations=[SCHEMA, TABLE]) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "create schema again",
        "create table xpoints.again (id int primary key)",
        "create view xpoints.again_view as select 1 as one",
        "create index async again_index on xpoints.things (size)",
        "alter table xpoints.things add column again int",
        "create role storefront with login",
    ],
)
def test_what_exists_already_counts_as_done(admin: Database, look: Connection, statement: str) -> None:
    migrate(admin, migrations=[SCHEMA, TABLE])
    # An earlier run was cut off after the statement and before its record.
    if "role" not in statement:
        migrate(admin, migrations=[SCHEMA, TABLE, Migration("0003_b.sql", 1, statement)])
        look.execute("delete from xpoints.schema_migrations where file = '0003_b.sql'")
    assert migrate(admin, migrations=[SCHEMA, TABLE, Migration("0003_c.sql", 1, statement)]) == 1
    assert recorded(look)[-1] == ("0003_c.sql", 1)


def test_two_deployments_at_once_both_come_through(
    dsql: LocalDsql, empty_database_name: str, look: Connection
) -> None:
    outcomes: list[object] = []
    start = threading.Barrier(2)

    def deploy() -> None:
        database = Database(settings(dsql, empty_database_name, "admin"))
        start.wait()
        try:
            outcomes.append(migrate(database))
        except Exception as error:
            outcomes.append(error)
        finally:
            database.discard()

    threads = [threading.Thread(target=deploy) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(outcome, int) for outcome in outcomes), outcomes
    assert recorded(look) == [(each.file, each.number) for each in read_migrations()]


FAULTS = {
    "a conflict": errors.SerializationFailure("change conflicts with another transaction (OC000)"),
    "a changed schema": errors.SerializationFailure("schema has been updated (OC001)"),
    "an unavailable server": errors.InternalError_("server unavailable"),
    "a lost connection": psycopg.OperationalError("the connection is lost"),
}


class Intercepted(Database):
    """The real database, with each statement shown to `intercept` first, which may raise in its place."""

    def __init__(self, database: Database, intercept: Callable[[bytes], None] = lambda _query: None) -> None:
        super().__init__(database.settings)
        self.real = database
        self.statements: list[str] = []
        self._intercept = intercept

    def connection(self) -> Connection:
        """Give the real connection; its cursors say what they are asked."""
        database = self

        class Shown(psycopg.Cursor[Any]):
            def execute(self, query: Any, *arguments: Any, **options: Any) -> Self:
                database.statements.append(" ".join(query.decode().split()))
                database._intercept(query)
                return super().execute(query, *arguments, **options)

        connection = self.real.connection()
        connection.cursor_factory = Shown
        return connection

    def discard(self) -> None:
        """Close the real connection."""
        self.real.discard()


def failing(times: int, fault: psycopg.Error) -> Callable[[bytes], None]:
    """Have every statement fail so many times before it runs."""
    attempts = Counter[bytes]()

    def intercept(query: bytes) -> None:
        attempts[query] += 1
        if attempts[query] <= times:
            raise fault

    return intercept


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_statement_is_tried_again_after_a_passing_fault(
    admin: Database, look: Connection, fault: psycopg.Error
) -> None:
    pauses: list[float] = []
    faulty = Intercepted(admin, failing(2, fault))
    assert migrate(faulty, migrations=[SCHEMA, TABLE], sleep=pauses.append) == 2
    assert faulty.statements.count(TABLE.text) == 3
    assert len(pauses) >= 2 * len(set(faulty.statements))
    assert recorded(look) == [("0001_a.sql", 1), ("0001_a.sql", 2)]


def test_a_fault_that_does_not_pass_is_given_up_on(admin: Database) -> None:
    faulty = Intercepted(admin, failing(ATTEMPTS, FAULTS["a changed schema"]))
    with pytest.raises(errors.SerializationFailure):
        migrate(faulty, migrations=[SCHEMA], sleep=lambda _s: None)
    assert len(faulty.statements) == ATTEMPTS


def test_a_refusal_is_not_tried_again(admin: Database) -> None:
    refused = Intercepted(admin)
    broken = Migration("0002_b.sql", 1, "create view xpoints.v as select nothing")
    with pytest.raises(MigrationFailedError):
        migrate(refused, migrations=[SCHEMA, broken])
    assert refused.statements.count(broken.text) == 1


# --- What DSQL does in the background


def is_valid(look: Connection, index: str) -> bool:
    rows = look.execute("select indisvalid from pg_index where indexrelid = %s::regclass", [index]).fetchall()
    return bool(rows[0][0])


def test_an_index_counts_as_applied_only_when_its_job_has_ended(admin: Database, look: Connection) -> None:
    lines: list[str] = []
    asked_of = Intercepted(admin)
    assert migrate(asked_of, migrations=[SCHEMA, TABLE, INDEX], report=lines.append) == 3
    assert is_valid(look, "xpoints.things_size")
    asked = [text.partition(" ")[0] for text in asked_of.statements[asked_of.statements.index(INDEX.text) :]]
    assert asked[:3] == ["create", "call", "select"]
    assert any("waiting for job" in line for line in lines)


def test_a_deployment_waits_for_an_index_that_another_one_began(admin: Database, look: Connection) -> None:
    migrate(admin, migrations=[SCHEMA, TABLE])
    admin.connection().execute(INDEX.text.encode())  # the other one, cut off here
    assert not is_valid(look, "xpoints.things_size")
    assert migrate(admin, migrations=[SCHEMA, TABLE, INDEX]) == 1
    assert is_valid(look, "xpoints.things_size")


def test_a_build_that_failed_stops_the_migration_and_is_repaired_by_dropping_the_index(
    admin: Database, look: Connection
) -> None:
    migrate(admin, migrations=[SCHEMA, TABLE])
    look.execute("insert into xpoints.things values (1, 5), (2, 5)")
    for _ in range(2):  # and stops it again, because `if not exists` keeps the broken index
        with pytest.raises(BackgroundJobFailedError, match=r"drop index xpoints"):
            migrate(admin, migrations=[SCHEMA, TABLE, UNIQUE])
        assert ("0002_b.sql", 1) not in recorded(look)
    look.execute("drop index xpoints.things_size")
    look.execute("delete from xpoints.things where id = 2")
    assert migrate(admin, migrations=[SCHEMA, TABLE, UNIQUE]) == 1
    assert is_valid(look, "xpoints.things_size")


def test_a_failed_builds_reason_is_in_the_error(admin: Database, look: Connection) -> None:
    migrate(admin, migrations=[SCHEMA, TABLE])
    look.execute("insert into xpoints.things values (1, 5), (2, 5)")
    with pytest.raises(BackgroundJobFailedError, match=r"(?s)statement 1 .*failed: Found duplicate key"):
        migrate(admin, migrations=[SCHEMA, TABLE, UNIQUE])


def test_a_wait_that_is_cut_off_is_taken_up_again(admin: Database, look: Connection) -> None:
    cuts = count(1)

    def cut_first_wait(query: bytes) -> None:
        if query.startswith(b"call") and next(cuts) == 1:
            raise errors.ProgramLimitExceeded("transaction age limit of 300s exceeded")

    cut = Intercepted(admin, cut_first_wait)
    assert migrate(cut, migrations=[SCHEMA, TABLE, INDEX], sleep=lambda _s: None) == 3
    assert is_valid(look, "xpoints.things_size")
    assert next(cuts) == 3


def test_a_constraint_is_validated_in_the_background_and_waited_for(
    admin: Database, look: Connection
) -> None:
    texts = [
        "alter table xpoints.things add constraint size_positive check (size > 0) not valid",
        "alter table async xpoints.things validate constraint size_positive",
    ]
    later = [Migration("0003_c.sql", number, text) for number, text in enumerate(texts, start=1)]
    assert migrate(admin, migrations=[SCHEMA, TABLE, *later]) == 4
    validated = "select convalidated from pg_constraint where conname = 'size_positive'"
    assert look.execute(validated).fetchall() == [(True,)]


def links(look: Connection) -> list[tuple[Any, ...]]:
    return look.execute("select pg_role_name, arn from sys.iam_pg_role_mappings order by 2, 1").fetchall()


def test_iam_roles_are_linked_to_database_roles_once(admin: Database, look: Connection) -> None:
    arns = {"checkout": ["arn:aws:iam::111122223333:role/a"], "relay": ["arn:aws:iam::111122223333:role/b"]}
    migrate(admin, arns, migrations=[SCHEMA])
    arns["relay"] += ["arn:aws:iam::111122223333:role/c"]
    migrate(admin, arns, migrations=[SCHEMA])
    assert links(look) == [
        ("checkout", "arn:aws:iam::111122223333:role/a"),
        ("relay", "arn:aws:iam::111122223333:role/b"),
        ("relay", "arn:aws:iam::111122223333:role/c"),
    ]


def test_a_link_that_a_deployment_no_longer_wants_goes_with_the_next_one(
    admin: Database, look: Connection
) -> None:
    """With this one the functions before it still connect by it, and again if it is taken back."""
    before, after = {"operations": ["arn:a"], "relay": ["arn:b"]}, {"staff": ["arn:a"], "relay": ["arn:b"]}
    migrate(admin, before, migrations=[SCHEMA])
    migrate(admin, {"reports": ["arn:of-another-stack"]}, migrations=[SCHEMA])
    others = [("relay", "arn:b"), ("reports", "arn:of-another-stack")]

    migrate(admin, after, former_role_arns=before, migrations=[SCHEMA])
    assert links(look) == [("operations", "arn:a"), ("staff", "arn:a"), *others]

    lines: list[str] = []
    migrate(admin, after, former_role_arns=after, migrations=[SCHEMA], report=lines.append)
    assert links(look) == [("staff", "arn:a"), *others]
    assert lines == ["arn:a may no longer connect as operations"]
