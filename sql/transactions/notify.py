"""Messages to customers: written once an event, then claimed, sent and closed."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID, uuid4, uuid5

from domain.checkout import AcceptedLine
from domain.events import Envelope, OrderCancelled, OrderPlaced
from domain.messages import MessageText, address_message, order_cancelled, order_confirmation
from sql.connection import Database
from sql.inbox import EffectOutcome, Version, once
from sql.queries import Statement, load
from sql.transaction import run

CONSUMER = "notify"

#: How long a run may take to send what it claimed: no function that sends lives longer (a test compares), and
#: a message that a dead run had claimed is free again before its event comes again.
CLAIM_S = 60

_QUERIES = load("consumers")
_READ_ORDER = _QUERIES["read_order_for_message"].of(AcceptedLine)
_INSERT = _QUERIES["insert_notification"]
_WITHDRAW = _QUERIES["withdraw_notification"]
_CLAIM = _QUERIES["claim_notification"]
_CLOSE = _QUERIES["close_notification"]


class UndeliverableError(Exception):
    """The mail service will never take this message: its address or content is refused."""


class BeingSentError(Exception):
    """Another run has claimed this message: the event comes again, and then it is known what became of it."""


class DueMessage(NamedTuple):
    """A message ready to be sent. `email` is personal data: it goes to the mail service and nowhere else."""

    id: UUID
    email: str
    text: MessageText


class _Due(NamedTuple):
    is_ours: bool
    subject: str
    body: str
    email: str | None
    first_name: str | None


_READ_DUE = _QUERIES["read_due_notification"].of(_Due)


def confirm_order(
    database: Database, event: Envelope[OrderPlaced], send: Callable[[DueMessage], None]
) -> str:
    """Write the order's confirmation, once an event, and send it; give a word as `send_due`, or `stale`.

    A confirmation after the order's cancellation would be wrong: it is dropped.
    """
    order = event.data
    return _tell(
        database,
        event,
        _confirmation(order.order_id),
        (_READ_ORDER(order_id=order.order_id),),
        lambda lines: (
            _INSERT(
                id=_confirmation(order.order_id),
                customer_id=order.customer_id,
                event_id=event.id,
                kind="order-confirmation",
                **order_confirmation(order.order_id, lines, order.total_points)._asdict(),
            ),
        ),
        send,
    )


def confirm_cancellation(
    database: Database, event: Envelope[OrderCancelled], send: Callable[[DueMessage], None]
) -> str:
    """Withdraw the order's confirmation if it is not sent yet, and tell of the cancellation, likewise."""
    order = event.data
    notification_id = uuid5(order.order_id, "order-cancellation")
    return _tell(
        database,
        event,
        notification_id,
        (),
        lambda: (
            # guard: no confirmation after a cancellation
            _WITHDRAW(id=_confirmation(order.order_id)),
            _INSERT(
                id=notification_id,
                customer_id=order.customer_id,
                event_id=event.id,
                kind="order-cancellation",
                **order_cancelled(order.order_id, order.points)._asdict(),
            ),
        ),
        send,
    )


def send_due(database: Database, notification_id: UUID, send: Callable[[DueMessage], None]) -> str:
    """Send a message that is due and close it; give `sent`, `skipped` (it reaches nobody) or `duplicate`.

    `send` raises UndeliverableError where no repetition helps; what else it raises leaves the message due.
    Raises BeingSentError while another run is sending it.

    The message is closed after the mail service took it. A crash between the two, or an answer that is lost,
    sends it once more at the next delivery: at most one message too many for each, never one too few.
    """
    key = {"id": notification_id, "token": uuid4()}
    due = run(database, lambda t: t.commit(_CLAIM(**key, claim_s=CLAIM_S), _READ_DUE(**key))).value[1].rows
    if not due:
        return "duplicate"
    is_ours, subject, body, email, first_name = due[0]
    if not is_ours:
        raise BeingSentError(f"another run is sending message {notification_id}")
    status = "SKIPPED"
    if email is not None:
        text = address_message(MessageText(subject, body), first_name or "customer")
        # guard: a message that could not be sent stays due
        with suppress(UndeliverableError):
            send(DueMessage(notification_id, email, text))
            status = "SENT"
    # guard: a message is closed when it was sent
    run(database, lambda t: t.commit(_CLOSE(id=notification_id, status=status)))
    return status.lower()


def _tell(
    database: Database,
    event: Envelope[Any],
    notification_id: UUID,
    reads: Sequence[Statement[Any]],
    write: Callable[..., Sequence[Statement[Any]]],
    send: Callable[[DueMessage], None],
) -> str:
    version = Version(event.aggregate_id, event.aggregate_version)
    if once(database, CONSUMER, event.id, reads, write, version).value is EffectOutcome.STALE:
        return EffectOutcome.STALE.value
    return send_due(database, notification_id, send)


def _confirmation(order_id: UUID) -> UUID:
    # By the order, so that its cancellation knows the message as well.
    return uuid5(order_id, "order-confirmation")
