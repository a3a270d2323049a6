"""The one connection of an execution environment: kept, and replaced before it is too old."""

from collections.abc import Callable

import pytest

from local_dsql.cluster import LocalDsql
from sql.connection import MAX_CONNECTION_AGE_S, Database, DatabaseSettings
from tests.integration.conftest import settings


@pytest.fixture
def aging(dsql: LocalDsql, database_name: str) -> tuple[Database, list[float], list[str]]:
    """A way to the database, the clock it goes by, and the tokens that it asked for."""
    now, tokens = [1_000_000.0], list[str]()

    def mint(settings: DatabaseSettings) -> str:
        tokens.append("token")
        return "token"

    return Database(settings(dsql, database_name, "checkout"), mint, lambda: now[0]), now, tokens


def test_a_connection_is_kept_and_replaced_before_sixty_minutes(
    aging: tuple[Database, list[float], list[str]],
) -> None:
    database, now, tokens = aging
    first = database.connection()
    now[0] += 30 * 60
    assert database.connection() is first
    now[0] += MAX_CONNECTION_AGE_S - 30 * 60
    second = database.connection()
    assert second is not first
    assert first.closed
    assert MAX_CONNECTION_AGE_S < 60 * 60
    assert len(tokens) == 2, "each connection has a token of its own"
    database.discard()


def test_a_closed_connection_is_replaced(database: Callable[..., Database]) -> None:
    way = database("checkout")
    way.connection().close()
    assert not way.connection().closed
    assert way.connections_opened == 2


def test_the_server_works_at_repeatable_read_as_dsql_does(database: Callable[..., Database]) -> None:
    row = database("checkout").connection().execute("show transaction_isolation").fetchone()
    assert row == ("repeatable read",)
