"""A local Aurora DSQL a test session, and in it a migrated, empty database a test.

    def test_...(connect, database):
        connect().execute("insert ...")       # set-up and inspection, as the owner
        run(database("checkout"), ...)        # the code under test, the way a function connects

`database` goes to the local DSQL. `connect` goes behind it, to its PostgreSQL: set-up writes more rows at
once than DSQL lets through, and an inspection is not to fail when the schema has changed.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from typing import Any, Protocol
from weakref import WeakSet

import pytest

from local_dsql.cluster import LocalDsql
from local_dsql.places import own_directory
from local_dsql.postgres import EmbeddedPostgres
from sql.connection import Connection, Database, DatabaseSettings
from sql.migrate import migrate
from tests.integration.databases import MigratedDatabases

FIXTURE_APPLICATION = "fixture"
PROJECT_APPLICATION = "rewards-tests"
TEMPLATE = "migrated"

_numbers = count(1)

_connections: WeakSet[Connection] = WeakSet()


class Connect(Protocol):
    """Opens a connection that ends with the test."""

    def __call__(self, role: str = "admin", *, autocommit: bool = True) -> Connection:
        """Connect to the test's database as any role."""
        ...


def settings(dsql: LocalDsql, database_name: str, role: str, **changes: Any) -> DatabaseSettings:
    """Give what a function's environment would say about a database of this server."""
    values: dict[str, Any] = {
        "host": dsql.host,
        "port": dsql.port,
        "name": database_name,
        "role": role,
        "region": "us-east-1",
        "tls": "disable",
        "application_name": PROJECT_APPLICATION,
    }
    return DatabaseSettings(**{**values, **changes})


@pytest.fixture(scope="session")
def dsql() -> Iterator[LocalDsql]:
    """One local DSQL for the session; what it writes may be lost in a power cut."""
    with (
        own_directory("rewards-tests", passable=True) as directory,
        LocalDsql(directory, tls=False, any_database=True, log_statements=True, fsync=False) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def postgres(dsql: LocalDsql) -> EmbeddedPostgres:
    """The PostgreSQL behind it."""
    return dsql.postgres


@pytest.fixture(scope="session")
def template_database(dsql: LocalDsql) -> str:
    """The name of a database with the schema in place, to be copied and never used."""
    dsql.postgres.create_database(TEMPLATE)
    database = Database(settings(dsql, TEMPLATE, "admin", application_name="fixture-migrate"))
    migrate(database)
    database.discard()
    return TEMPLATE


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres, template_database: str) -> Iterator[MigratedDatabases]:
    """Where tests have their databases from."""
    with closing(MigratedDatabases(postgres, template_database)) as databases:
        yield databases


@pytest.fixture
def empty_database_name(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The name of a database of the test's own, without a schema."""
    name = f"empty_{next(_numbers)}"
    postgres.create_database(name)
    yield name
    postgres.drop_database(name)


@pytest.fixture(scope="session", autouse=True)
def _noted_connections() -> Iterator[None]:
    """Note each connection of the project's own: the test that leaves one open is the one that fails."""
    with pytest.MonkeyPatch.context() as patch:
        initialize = Connection.__init__

        def note(connection: Connection, *arguments: Any, **options: Any) -> None:
            initialize(connection, *arguments, **options)
            _connections.add(connection)

        patch.setattr(Connection, "__init__", note)
        yield


@pytest.fixture
def database_name(databases: MigratedDatabases) -> Iterator[str]:
    """The name of a migrated database that is the test's own while it runs, without a row of data."""
    with databases.lend() as name:
        yield name
        left_open = [connection for connection in _connections if not connection.closed]
        for connection in left_open:
            connection.close()
        assert not left_open, "a test closes what it opens: two threads may have shared a Database"


@pytest.fixture
def connect(postgres: EmbeddedPostgres, database_name: str) -> Iterator[Connect]:
    """Connections for set-up and inspection, in the test's database."""
    with ExitStack() as opened:

        def open_connection(role: str = "admin", *, autocommit: bool = True) -> Connection:
            return opened.enter_context(
                Connection.connect(
                    postgres.conninfo(database_name, role),
                    autocommit=autocommit,
                    application_name=FIXTURE_APPLICATION,
                )
            )

        yield open_connection


@pytest.fixture
def database(dsql: LocalDsql, database_name: str) -> Iterator[Callable[..., Database]]:
    """The project's own way to the test's database: `database("checkout", pipelined=False)`."""
    with ExitStack() as opened:

        def way(role: str, **changes: Any) -> Database:
            database = Database(settings(dsql, database_name, role, **changes))
            opened.callback(database.discard)
            return database

        yield way
