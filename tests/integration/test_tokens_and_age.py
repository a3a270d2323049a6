"""The end of a token and of a connection's 60 minutes, on a local DSQL that verifies and counts."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from demos.log_request import logged
from demos.shop_database import ShopDatabase, arn, open_database
from sql.connection import Connection, Database, DatabaseSettings
from sql.errors import LoginRefusedError
from sql.token import Credentials, presign
from sql.transaction import Completed

AGE_S = 0.3


@pytest.fixture(scope="module")
def shop() -> Iterator[ShopDatabase]:
    with open_database(limits={"connection_age_s": AGE_S}) as shop:
        shop.migrate()
        yield shop


def token(shop: ShopDatabase, role: str, expires_s: int = 900, age_s: float = 0) -> str:
    access_key_id, key = next(each for each in shop._keys.items() if each[1].arn == arn(role))
    credentials = Credentials(access_key_id, key.secret_access_key)
    signed_at = datetime.now(UTC) - timedelta(seconds=age_s)
    return presign(credentials, shop.cluster.host, shop.cluster.region, "DbConnect", expires_s, signed_at)


def note(database: Database, subject: UUID) -> None:
    """Do something that leaves one row."""
    done: Completed[None] = Completed(None, 1, 1, Counter())
    logged(database, "noted", subject, uuid4(), lambda: done, lambda: datetime.now(UTC))


def notes(shop: ShopDatabase, subject: UUID) -> int:
    with psycopg.connect(shop.cluster.postgres.conninfo(), autocommit=True) as connection:
        query = "select count(*) from xpoints.request_log where subject_id = %s"
        row = connection.execute(query, [subject]).fetchone()
    assert row is not None
    return int(row[0])


def test_a_connection_that_gets_too_old_is_followed_by_one_with_a_fresh_token(shop: ShopDatabase) -> None:
    """The server ends it between two transactions; what was under way is done again, and once."""
    minted: list[str] = []

    def mint(settings: DatabaseSettings) -> str:
        minted.append(token(shop, settings.role))
        return minted[-1]

    database, subject, done = Database(shop.database("checkout").settings, mint), uuid4(), 0
    while database.connections_opened < 4:
        note(database, subject)
        done += 1
    assert notes(shop, subject) == done
    assert len(minted) == database.connections_opened
    database.discard()


def test_a_token_is_looked_at_once_a_connection() -> None:
    """It may expire under a connection, which goes on; nobody else comes in with it."""
    with open_database() as shop:
        shop.migrate()
        settings, subject = shop.database("checkout").settings, uuid4()
        # The shortest that is still good when it arrives: on a busy machine a second may be over by then.
        for expires_s in (1, 5, 25):
            short = token(shop, "checkout", expires_s)
            database = Database(settings, mint=lambda _, short=short: short)
            with suppress(LoginRefusedError):
                note(database, subject)
                break

        def login() -> str:
            try:
                Connection.connect(shop.cluster.conninfo(role="checkout"), password=short).close()
            except psycopg.OperationalError as error:
                return str(error)
            return "welcome"

        while (said := login()) == "welcome":
            pass
        assert "access denied" in said
        note(database, subject)
        assert notes(shop, subject) == 2
        assert database.connections_opened == 1
        database.discard()


def test_a_login_with_a_token_that_is_over_is_refused_and_the_next_one_brings_a_fresh_one(
    shop: ShopDatabase,
) -> None:
    tokens = iter([token(shop, "checkout", age_s=3600), token(shop, "checkout")])
    database, subject = Database(shop.database("checkout").settings, mint=lambda _: next(tokens)), uuid4()
    with pytest.raises(LoginRefusedError):
        note(database, subject)
    note(database, subject)
    assert notes(shop, subject) == 1
    database.discard()
