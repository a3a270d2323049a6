"""A customer's own account: the change of its data, and its erasure. Both are idempotent by their nature."""

from typing import Any
from uuid import UUID

from domain.accounts import Member, Profile, decide_change, decide_erasure
from domain.events import Origin
from domain.events.customers import CustomerErased
from domain.refusals import Refusal
from domain.versions import Expected
from sql.connection import Database
from sql.ledger import ledger_entry, move_points
from sql.outbox import enqueue
from sql.queries import load, part
from sql.transaction import Completed, Transaction, first, run, snapshot

_ACCOUNTS = load("accounts")
_READ_MEMBER = _ACCOUNTS["read_member"].of(dict)
_CHANGE_MEMBER = _ACCOUNTS["change_member"]
_MARK_ERASED = _ACCOUNTS["mark_erased"]
_READ_BALANCE = load("ledger")["read_balance"].of(int)


def read_account(database: Database, customer_id: UUID) -> Member | None:
    """Give a customer's account, or None."""
    (rows,) = snapshot(database, _READ_MEMBER(customer_id=customer_id))
    return _member(rows)


def change_account(
    database: Database,
    customer_id: UUID,
    expected: Expected,
    requested: Profile,
) -> Completed[int | Refusal]:
    """Store the profile where the account is at an expected version; give the version that it is at then.

    Raises sql.errors.RetriesExhaustedError and psycopg.Error as `sql.transaction.run` does.
    """

    def attempt(transaction: Transaction) -> int | Refusal:
        (rows,) = transaction.read(_READ_MEMBER(customer_id=customer_id))
        member = _member(rows)
        decision = decide_change(member, expected, requested)
        if isinstance(decision, Refusal) or (member is not None and decision == member.version):
            return decision
        transaction.commit(_CHANGE_MEMBER(customer_id=customer_id, version=decision, **requested._asdict()))
        return decision

    return run(database, attempt)


def erase_account(
    database: Database,
    customer_id: UUID,
    entry_id: UUID,
    origin: Origin,
) -> Completed[bool | Refusal]:
    """Mark the account erased and forfeit its points; tell whether that was not done before."""

    def attempt(transaction: Transaction) -> bool | Refusal:
        rows, balances = transaction.read(
            _READ_MEMBER(customer_id=customer_id), _READ_BALANCE(customer_id=customer_id)
        )
        member = _member(rows)
        change = decide_erasure(member, first(balances))
        if isinstance(change, Refusal):
            return change
        if change is None or member is None:
            return False
        # The balance's row is touched even where it holds nothing: it conflicts with a credit under way.
        # guard: the erasure touches the balance
        writes = [_MARK_ERASED(customer_id=customer_id, erased_at=origin.now), move_points(change)]
        if change.points:
            writes.append(ledger_entry(change, entry_id, "FORFEIT", "Account closed", entry_id))
        event = CustomerErased(customer_id=customer_id)
        transaction.commit(*writes, enqueue(origin.announce(event, customer_id, member.version + 1)))
        return True

    return run(database, attempt)


def _member(rows: list[dict[str, Any]]) -> Member | None:
    for row in rows:
        profile = part(Profile, row)
        return Member(**row, profile=profile)
    return None
