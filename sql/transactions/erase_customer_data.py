"""After an erasure: balance, cart, messages, stored answers go, then all that names the customer.

Each Region deletes the sign-in from its own user pool (`sql.transactions.clean_region`). Orders and the
ledger stay, under an id that leads to nobody.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from domain.events import Envelope
from domain.events.customers import CustomerErased, CustomerErasureResumed
from domain.points import BalanceChange
from sql.cascade import Advance, Checkpoint, Slice, by_rest, enqueue_next_slice, is_of, run_slice
from sql.connection import Database
from sql.ledger import forfeit_entry
from sql.queries import Statement, load
from sql.references import TABLES
from sql.transaction import Transaction, run, snapshot
from sql.transactions.clean_region import Cleanup, CleanupKind, leave_cleanups

CONSUMER = "erase-customer"

_CASCADES = load("cascades")
_CLOSE_BALANCE = _CASCADES["close_balance"]
_FORGET = _CASCADES["forget_customer"]
_DISMISS = _CASCADES["dismiss_staff_member"]
_DELETE_EMAIL_CHANGE = _CASCADES["delete_email_change_of_customer"]
_READ_BALANCE = load("ledger")["read_balance"].of(int)


class _Erased(NamedTuple):
    username: str | None  # None once it was forgotten


_FIND_ERASED = _CASCADES["find_erased_customer"].of(_Erased)


class NotErasedError(Exception):
    """The event names a customer who is not marked erased, so nothing was removed. Find out who wrote it."""


def erase_customer_data(
    database: Database,
    event: "Envelope[CustomerErased] | Envelope[CustomerErasureResumed]",
    is_over: Callable[[], bool],
    region: str,
    now: datetime,
) -> Slice:
    """Run one slice of the cascade that follows an erasure.

    `region` is where it runs, and with `now` that of the next slice's event. Raises NotErasedError, and as
    `sql.cascade.run_slice` does.
    """
    customer_id = event.data.customer_id
    # guard: an event's word is not taken for an erasure
    _username(snapshot(database, _FIND_ERASED(customer_id=customer_id))[0], customer_id)
    # guard: an event's word is not taken for whose erasure it is
    if not is_of(event, customer_id, CONSUMER):
        raise NotErasedError(f"event {event.id} is none of the erasure of customer {customer_id}")

    def close_account(_: UUID | None) -> Advance:
        return run(database, lambda transaction: _close(transaction, customer_id, event.id)).value

    def forget(_: UUID | None) -> Advance:
        return run(database, lambda transaction: _forget(transaction, customer_id, region)).value

    def rest(table: str, delete: str) -> Callable[[UUID | None], Advance]:
        most = TABLES[table].batch_rows
        return by_rest(database, _CASCADES[delete], most, customer_id=customer_id)

    steps = {
        "account": close_account,
        "cart": rest("shopping_cart_items", "delete_cart_of_customer"),
        "messages": rest("notifications", "delete_notifications_of_customer"),
        "answers": rest("idempotency_records", "delete_answers_to_customer"),
        "name": forget,
    }

    def enqueue_next(checkpoint: Checkpoint) -> Statement[Any]:
        following = CustomerErasureResumed(customer_id=customer_id, step=checkpoint.step)
        return enqueue_next_slice(event, CONSUMER, following, region, now)

    start = Checkpoint(event.data.step) if isinstance(event.data, CustomerErasureResumed) else None
    return run_slice(database, CONSUMER, event, steps, start, is_over, enqueue_next)


def _forget(transaction: Transaction, customer_id: UUID, region: str) -> Advance:
    (rows,) = transaction.read(_FIND_ERASED(customer_id=customer_id))
    username = _username(rows, customer_id)
    writes = [
        _FORGET(customer_id=customer_id),
        _DELETE_EMAIL_CHANGE(customer_id=customer_id),
        _DISMISS(customer_id=customer_id),
    ]
    if username is not None:
        # In the same transaction: once the name is forgotten, nobody knows whose sign-in has to go.
        writes.append(leave_cleanups(Cleanup(CleanupKind.USER, customer_id, username), region))
    written = transaction.commit(*writes)
    return Advance(sum(one.touched for one in written), None, is_done=True)


def _username(rows: list[_Erased], customer_id: UUID) -> str | None:
    if not rows:
        raise NotErasedError(f"customer {customer_id} is not marked erased")
    return rows[0].username


def _close(transaction: Transaction, customer_id: UUID, event_id: UUID) -> Advance:
    """End the points account. Where points came in after the erasure, they are forfeited like the others."""
    customers, balances = transaction.read(
        _FIND_ERASED(customer_id=customer_id), _READ_BALANCE(customer_id=customer_id)
    )
    _username(customers, customer_id)
    if not balances:
        return Advance(0, None, is_done=True)
    writes = [_CLOSE_BALANCE(customer_id=customer_id)]
    points = balances[0]
    if points:
        change = BalanceChange(customer_id, -points, 0)
        writes.append(forfeit_entry(change, uuid5(event_id, "forfeit")))
    written = transaction.commit(*writes)
    return Advance(sum(one.touched for one in written), None, is_done=True)
