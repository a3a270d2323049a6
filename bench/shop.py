"""A shop to measure: an embedded PostgreSQL with the project's schema and customers whose carts are full."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import psycopg
from psycopg import sql

from bench.harness import say
from local_dsql.places import own_directory
from local_dsql.postgres import EmbeddedPostgres
from sql.connection import Database, DatabaseSettings
from sql.migrate import migrate, split
from tools.plain_migrations import plain_migrations

REGION = "us-east-1"
ITEMS = 500
LINES_A_CART = 3
POINTS_A_UNIT = 250
CART_POINTS = POINTS_A_UNIT * sum(range(1, LINES_A_CART + 1))

# Nothing of the server's own housekeeping in the middle of a slice; fsync and all else as it comes.
_SEED = Path(__file__).with_name("shop.sql")
_SETTINGS = {"autovacuum": "off", "checkpoint_timeout": "1h", "max_wal_size": "16GB"}

#: Tables that a checkout writes rows to, with how many it writes.
ROWS_A_CHECKOUT = {
    "orders": 1,
    "order_items": LINES_A_CART,
    "transactions": 1,
    "idempotency_records": 1,
    "outbox": 1,
}


def customer_id(number: int) -> UUID:
    """Give the id of customer 1, 2, 3...: its number in decimal digits."""
    return UUID(str(number).rjust(32, "0"))


class Shop:
    """A running database full of customers who each can check out once between two calls of `tidy`."""

    def __init__(self, server: EmbeddedPostgres, customers: int) -> None:
        self.server = server
        self.customers = customers
        self.admin = psycopg.connect(server.conninfo(), autocommit=True)

    def tidy(self) -> None:
        """Do what consumers, relay and vacuum do in use: then every cart can be ordered again."""
        self.admin.execute("truncate xpoints.outbox")
        self.admin.execute("update xpoints.orders set cart_cleaned_at = now() where cart_cleaned_at is null")
        self.admin.execute("vacuum xpoints.orders, xpoints.points_balances")

    def count_rows(self) -> dict[str, int]:
        """Count the rows of each table that a checkout writes to."""
        counts = {}
        for table in ROWS_A_CHECKOUT:
            count = sql.SQL("select count(*) from {}").format(sql.Identifier("xpoints", table))
            row = self.admin.execute(count).fetchone()
            counts[table] = row[0] if row else 0
        return counts

    def processor_s(self) -> float:
        """Give the processor time that the server has used so far, in seconds, ended sessions included."""
        postmaster = psutil.Process(self.admin.info.backend_pid).parent()
        assert postmaster is not None
        while True:
            # A session that ends between two looks would be missed or counted twice: then look again.
            with contextlib.suppress(psutil.NoSuchProcess):
                own, ended = _used(postmaster), _used_by_ended(postmaster)
                sessions = sum(_used(child) for child in postmaster.children())
                if _used_by_ended(postmaster) == ended:
                    return own + ended + sessions

    def environment(self, function: str, role: str, port: int | None = None) -> dict[str, str]:
        """Give the environment variables of a function that uses this database, `port` for a proxy's."""
        return {
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_LAMBDA_FUNCTION_NAME": function,
            "POWERTOOLS_SERVICE_NAME": "rewards",
            "DATABASE_HOST": self.server.host,
            "DATABASE_PORT": str(port or self.server.port),
            "DATABASE_NAME": "postgres",
            "DATABASE_ROLE": role,
            "DATABASE_TLS": "disable",
            "DATABASE_PIPELINE": "on",
            "EVENT_BUS_NAME": "rewards",
        }


@contextlib.contextmanager
def open_shop(customers: int) -> Iterator[Shop]:
    """Start a server with fsync on, migrate it, fill it; stop it and remove its data in the end."""
    with own_directory("rewards-bench", passable=True) as directory:
        say("Starting PostgreSQL (fsync on) ...")
        with EmbeddedPostgres(directory / "data", log_statements=True) as server:
            settings = DatabaseSettings(server.host, "admin", REGION, port=server.port, tls="disable")
            admin = Database(settings, mint=_no_token)
            migrate(admin, migrations=plain_migrations())
            admin.discard()
            say(f"Filling {customers} carts ...")
            shop = Shop(server, customers)
            _fill(shop)
            try:
                yield shop
            finally:
                shop.admin.close()


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _used_by_ended(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.children_user + times.children_system)


def _fill(shop: Shop) -> None:
    execute = shop.admin.execute
    execute("set log_statement = 'none'")
    for name, value in _SETTINGS.items():
        execute(f"alter system set {name} = '{value}'".encode())
    execute("select pg_reload_conf()")
    amounts = {
        "customers": shop.customers,
        "items": ITEMS,
        "lines": LINES_A_CART,
        "unit_points": POINTS_A_UNIT,
        "region": REGION,
    }
    # The client puts the values in: a parameter of generate_series alone would have no type.
    cursor = psycopg.ClientCursor(shop.admin)
    for statement in split(_SEED.read_text(encoding="utf-8")):
        cursor.execute(statement.encode(), amounts)
    execute("vacuum analyze")
    execute("checkpoint")


def _no_token(settings: DatabaseSettings) -> str:  # noqa: ARG001
    return ""


def checkout_event(customer: int, key: str) -> dict[str, Any]:
    """Give API Gateway's REST proxy event for a customer's checkout."""
    return {
        "resource": "/orders",
        "path": "/orders",
        "httpMethod": "POST",
        "headers": {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate, br",
            "Authorization": "Bearer of.a.token",
            "Content-Type": "application/json",
            "Host": "api.example.com",
            "Idempotency-Key": key,
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "X-Amzn-Trace-Id": "Root=1-691f0000-0123456789abcdef01234567",
            "X-Forwarded-For": "203.0.113.7",
            "X-Forwarded-Port": "443",
            "X-Forwarded-Proto": "https",
        },
        "multiValueHeaders": None,
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "requestId": key,
            "stage": "live",
            "httpMethod": "POST",
            "resourcePath": "/orders",
            "authorizer": {
                "claims": {
                    "sub": "0f3c5b1e-7d1f-4b7e-9a55-0d8b1f6f2a11",
                    "cognito:username": f"customer{customer}",
                    "custom:customer_id": str(customer_id(customer)),
                    "token_use": "id",
                }
            },
            "identity": {"sourceIp": "203.0.113.7"},
        },
        "body": json.dumps({"expected_total_points": CART_POINTS}),
        "isBase64Encoded": False,
    }
