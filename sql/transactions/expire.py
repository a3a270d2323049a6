"""Expiry: old records go, by scans of their tables, until none is left or the time is up."""

from collections.abc import Callable
from typing import Any, NamedTuple

from domain.events import EVENT_MEMORY_DAYS
from sql.connection import Database
from sql.queries import Query, load
from sql.references import TABLES
from sql.scan import ScanResult, Table, scan

_QUERIES = load("jobs")
_DAY_S = 24 * 3600

#: Between the end of a pass over a table and the beginning of the next.
PASS_EVERY_S = 6 * 3600


class Expiry(NamedTuple):
    """One kind of record and the age in seconds at which it may go."""

    name: str
    table: Table
    query: Query[Any]
    age_s: int


def _expiry(table: str, query: str, days: int) -> Expiry:
    return Expiry(table, TABLES[table], _QUERIES[query], days * _DAY_S)


EXPIRIES = (
    _expiry("idempotency_records", "delete_expired_idempotency_records", 2),
    _expiry("inbox", "delete_expired_inbox_rows", EVENT_MEMORY_DAYS),
    _expiry("consumed_versions", "delete_old_consumed_versions", EVENT_MEMORY_DAYS),
    _expiry("shopping_cart_items", "delete_stale_cart_lines", 90),
    # No presigned URL lives longer than 7 days, whoever signed it.
    _expiry("image_urls", "delete_expired_image_urls", 7),
    _expiry("notifications", "delete_closed_notifications", 30),
    _expiry("request_log", "delete_old_logged_requests", 90),
    _expiry("email_changes", "delete_old_email_changes", 7),
    _expiry("usage_counts", "delete_old_usage_counts", 1),
)


def expire(
    database: Database, expiry: Expiry, time_is_up: Callable[[], bool], every_s: int = PASS_EVERY_S
) -> ScanResult:
    """Delete what is too old. Raises as `sql.scan.scan` does."""
    return scan(
        database,
        f"expire {expiry.name}",
        expiry.table,
        lambda _, batch: [expiry.query(**batch.parameters(), age_s=expiry.age_s)],
        time_is_up,
        every_s=every_s,
    )
