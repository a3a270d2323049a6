"""Expiry: old records go, in bounded transactions, until none is left or the time is up."""

from collections.abc import Callable
from typing import NamedTuple

from sql.connection import Database
from sql.queries import Query, load
from sql.transaction import run

#: DSQL lets a transaction change 3,000 rows; index entries count against its bytes, not its rows.
MAX_ROWS = 3000

_QUERIES = load("jobs")
_DAY_S = 24 * 3600


class Expiry(NamedTuple):
    """One kind of record and the age in seconds at which it may go."""

    name: str
    query: Query
    age_s: int


EXPIRIES = (
    Expiry("idempotency_records", _QUERIES["delete_expired_idempotency_records"], 2 * _DAY_S),
    # Longer than a dead letter is kept (14 days) plus the archive's replay window (14 days).
    Expiry("inbox", _QUERIES["delete_expired_inbox_rows"], 35 * _DAY_S),
)


def expire(
    database: Database, expiry: Expiry, time_is_up: Callable[[], bool], most: int = MAX_ROWS
) -> tuple[int, bool]:
    """Delete what is too old, `most` rows a transaction; give rows deleted and whether all are gone."""
    deleted = 0
    while not time_is_up():
        written = run(
            database, lambda transaction: transaction.commit(expiry.query(age_s=expiry.age_s, most=most))
        ).value[0]
        deleted += written.touched
        if written.touched < most:
            return deleted, True
    return deleted, False
