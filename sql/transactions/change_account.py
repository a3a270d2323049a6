"""A customer's own account: the change of its data, of its address, and its erasure.

All are idempotent by their nature, but that a second request for a code sends a second one.
"""

from typing import Any, NamedTuple
from uuid import UUID, uuid5

from domain import refusals
from domain.accounts import (
    ConfirmedEmail,
    EmailChange,
    Member,
    Profile,
    decide_change,
    decide_confirmation,
    decide_erasure,
)
from domain.email import address_hash
from domain.events import Origin, event_of
from domain.events.customers import CustomerErased, NotificationWritten
from domain.limits import ACCOUNT_CHANGES, EMAIL_CODES, refuse_beyond
from domain.messages import EMAIL_CODE, MessageText, email_change_begun, email_changed, email_code
from domain.refusals import Refusal
from domain.versions import Expected
from sql.connection import Database
from sql.ledger import forfeit_entry, move_points
from sql.limits import count_use, read_uses
from sql.outbox import enqueue
from sql.queries import Statement, load, part
from sql.transaction import Completed, Transaction, first, run, snapshot

_ACCOUNTS = load("accounts")
_READ_MEMBER = _ACCOUNTS["read_member"].of(dict)
_CHANGE_MEMBER = _ACCOUNTS["change_member"]
_READ_EMAIL_CHANGE = _ACCOUNTS["read_email_change"].of(EmailChange)
_BEGIN_EMAIL_CHANGE = _ACCOUNTS["begin_email_change"]
_WITHDRAW_EMAIL_CHANGE = _ACCOUNTS["withdraw_email_change"]
_COUNT_CODE_ATTEMPT = _ACCOUNTS["count_code_attempt"]
_CONFIRM_EMAIL = _ACCOUNTS["confirm_email"]
_CLOSE_EMAIL_CHANGE = _ACCOUNTS["close_email_change"]
_MARK_ERASED = _ACCOUNTS["mark_erased"]
_READ_BALANCE = load("ledger")["read_balance"].of(int)
_INSERT_NOTIFICATION = load("consumers")["insert_notification"]


class StoredAccount(NamedTuple):
    """An account after a change: its version, and the address that waits for its code."""

    version: int
    pending_email: str | None


def read_account(database: Database, customer_id: UUID) -> Member | None:
    """Give a customer's account, or None."""
    (rows,) = snapshot(database, _READ_MEMBER(customer_id=customer_id))
    return _member(rows)


def change_account(
    database: Database,
    customer_id: UUID,
    expected: Expected,
    requested: Profile,
    change_id: UUID,
    origin: Origin,
) -> Completed[StoredAccount | Refusal]:
    """Store the profile where the account is at an expected version; give what it is then.

    Another address waits for its code, which is `change_id`'s. Raises sql.errors.RetriesExhaustedError and
    psycopg.Error as `sql.transaction.run` does.
    """
    changer = [str(customer_id)]
    asker = changer if requested.email is None else [*changer, address_hash(requested.email)]

    def attempt(transaction: Transaction) -> StoredAccount | Refusal:
        rows, changes, codes = transaction.read(
            _READ_MEMBER(customer_id=customer_id),
            read_uses(ACCOUNT_CHANGES, changer),
            read_uses(EMAIL_CODES, asker),
        )
        member = _member(rows)
        change = decide_change(member, expected, requested)
        if isinstance(change, Refusal):
            return change
        if member is None or isinstance(change, int):
            return (
                StoredAccount(member.version, member.pending_email) if member else refusals.account_closed()
            )
        beyond = refuse_beyond(ACCOUNT_CHANGES, changes)
        if change.asks_code:
            # guard: codes that are sent have a bound
            beyond = beyond or refuse_beyond(EMAIL_CODES, codes)
        if beyond is not None:
            return beyond
        writes = [
            _CHANGE_MEMBER(customer_id=customer_id, version=change.version, **change.profile._asdict()),
            count_use(ACCOUNT_CHANGES, changer),
        ]
        if change.asks_code and change.pending_email is not None:
            writes += _ask_code(customer_id, change.pending_email, change_id, origin)
        elif member.pending_email is not None and change.pending_email is None:
            writes.append(_WITHDRAW_EMAIL_CHANGE(customer_id=customer_id))
        if change.former is not None:
            text = email_change_begun() if change.asks_code else email_changed()
            writes += _tell_former(customer_id, change.former, change_id, text, origin)
        transaction.commit(*writes)
        return StoredAccount(change.version, change.pending_email)

    return run(database, attempt)


def send_code_again(
    database: Database, customer_id: UUID, change_id: UUID, origin: Origin
) -> Completed[StoredAccount | Refusal]:
    """Have another code sent to the address that waits; the one before holds no longer."""

    def attempt(transaction: Transaction) -> StoredAccount | Refusal:
        rows, changes = transaction.read(
            _READ_MEMBER(customer_id=customer_id), _READ_EMAIL_CHANGE(customer_id=customer_id)
        )
        member, change = _member(rows), first(changes)
        if member is None or member.erased:
            return refusals.account_closed()
        if change is None or member.pending_email is None:
            return refusals.no_email_change()
        if change.change_id == change_id:  # by an attempt whose answer was lost
            return StoredAccount(member.version, member.pending_email)
        asker = [str(customer_id), address_hash(member.pending_email)]
        (codes,) = transaction.read(read_uses(EMAIL_CODES, asker))
        # guard: codes that are sent again have a bound
        beyond = refuse_beyond(EMAIL_CODES, codes)
        if beyond is not None:
            return beyond
        transaction.commit(*_ask_code(customer_id, member.pending_email, change_id, origin))
        return StoredAccount(member.version, member.pending_email)

    return run(database, attempt)


def confirm_email(
    database: Database, customer_id: UUID, code_hash: str, notice_id: UUID, origin: Origin
) -> Completed[ConfirmedEmail | Refusal]:
    """Make the address that waits the customer's, if the code is the one that was sent there.

    The address before it is told. A code that is another is counted.
    """

    def attempt(transaction: Transaction) -> ConfirmedEmail | Refusal:
        rows, changes = transaction.read(
            _READ_MEMBER(customer_id=customer_id), _READ_EMAIL_CHANGE(customer_id=customer_id)
        )
        decision = decide_confirmation(_member(rows), first(changes), code_hash)
        if refusals.wrong_code.fits(decision):
            # guard: codes that are tried are counted
            transaction.commit(_COUNT_CODE_ATTEMPT(customer_id=customer_id))
        if isinstance(decision, Refusal) or not decision.is_new:
            return decision
        writes = [
            _CONFIRM_EMAIL(customer_id=customer_id, email=decision.email, version=decision.version),
            _CLOSE_EMAIL_CHANGE(customer_id=customer_id),
        ]
        if decision.former is not None:
            # guard: the former address hears of the change
            writes += _tell_former(customer_id, decision.former, notice_id, email_changed(), origin)
        transaction.commit(*writes)
        return decision

    return run(database, attempt)


def _ask_code(customer_id: UUID, email: str, change_id: UUID, origin: Origin) -> list[Statement[Any]]:
    """Let an address wait for a code, and write the message that will hold it."""
    return [
        _BEGIN_EMAIL_CHANGE(customer_id=customer_id, change_id=change_id, email=email),
        count_use(EMAIL_CODES, [str(customer_id), address_hash(email)]),
        *_notify(customer_id, email, change_id, EMAIL_CODE, email_code(), origin),
    ]


def _tell_former(
    customer_id: UUID, email: str, change_id: UUID, text: MessageText, origin: Origin
) -> list[Statement[Any]]:
    return _notify(customer_id, email, uuid5(change_id, "former"), "email-changed", text, origin)


def _notify(
    customer_id: UUID, email: str, notification_id: UUID, kind: str, text: MessageText, origin: Origin
) -> list[Statement[Any]]:
    """Write a message to an address that is not the customer's, and announce it."""
    event = NotificationWritten(notification_id=notification_id, customer_id=customer_id)
    of_event = origin._replace(event_id=event_of(notification_id))
    return [
        _INSERT_NOTIFICATION(
            id=notification_id,
            customer_id=customer_id,
            event_id=of_event.event_id,
            kind=kind,
            email=email,
            **text._asdict(),
        ),
        enqueue(of_event.announce(event, notification_id)),
    ]


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
            writes.append(forfeit_entry(change, entry_id))
        event = CustomerErased(customer_id=customer_id)
        transaction.commit(*writes, enqueue(origin.announce(event, customer_id, member.version + 1)))
        return True

    return run(database, attempt)


def _member(rows: list[dict[str, Any]]) -> Member | None:
    for row in rows:
        profile = part(Profile, row)
        return Member(**row, profile=profile)
    return None
