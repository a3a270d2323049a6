"""One server for a test session, serving a database for each test that asks for one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local_dsql.cluster import LocalDsql
from local_dsql.places import own_directory

Connection = psycopg.Connection[tuple[Any, ...]]
Connect = Callable[..., Connection]

_numbers = count(1)


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """A place that PostgreSQL's user can reach."""
    with own_directory("local-dsql-tests", passable=True) as path:
        yield path


@pytest.fixture(scope="session")
def server(directory: Path) -> Iterator[LocalDsql]:
    """The server, without TLS, for any database."""
    with LocalDsql(directory, tls=False, any_database=True, fsync=False) as running:
        yield running


@pytest.fixture
def database(server: LocalDsql) -> Iterator[str]:
    """The name of an empty database."""
    yield from fresh_database(server)


def fresh_database(server: LocalDsql) -> Iterator[str]:
    """Make a database, give its name, drop it when asked again."""
    name = f"dsql_{next(_numbers)}"
    server.postgres.create_database(name)
    yield name
    server.postgres.drop_database(name)


@pytest.fixture
def connect(server: LocalDsql, database: str) -> Iterator[Connect]:
    """Sessions in the test's database."""
    with ExitStack() as opened:

        def open_session(role: str = "admin", **options: Any) -> Connection:
            return opened.enter_context(
                psycopg.connect(server.conninfo(database, role), autocommit=True, **options)
            )

        yield open_session
