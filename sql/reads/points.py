"""A customer's points: the balance, and the ledger behind it."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.points import PointsAccount
from sql.connection import Database
from sql.queries import load
from sql.transaction import first, snapshot


class LedgerEntry(NamedTuple):
    """A ledger entry. `at` is UTC."""

    entry_id: UUID
    kind: str
    points: int
    at: datetime
    description: str | None
    reference_id: UUID | None


_LEDGER = load("ledger")
_READ_ACCOUNT = _LEDGER["read_account"].of(PointsAccount)
_READ_BALANCE_AT = _LEDGER["read_balance_at"].of(int)
_LIST_LEDGER = _LEDGER["list_ledger"].of(LedgerEntry)


def read_balance(database: Database, customer_id: UUID) -> int | None:
    """Give a customer's points, or None for one without an account or on the way out."""
    (accounts,) = snapshot(database, _READ_ACCOUNT(customer_id=customer_id))
    return accounts[0].balance if accounts else None


def list_ledger(
    database: Database, customer_id: UUID, after: datetime, after_id: UUID, most: int
) -> tuple[int | None, list[LedgerEntry]]:
    """Give a page of the ledger, newest first, and the balance that its first entry left, of one snapshot.

    The balance is None for a customer without an account or on the way out.
    """
    place = {"customer_id": customer_id, "after": after, "after_id": after_id}
    balances, rows = snapshot(database, _READ_BALANCE_AT(**place), _LIST_LEDGER(**place, most=most))
    return first(balances), rows
