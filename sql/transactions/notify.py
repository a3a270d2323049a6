"""Messages to customers: written once an event, then sent and closed."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID, uuid5

from domain.checkout import OrderLine
from domain.events import Envelope, OrderPlaced
from domain.letters import MessageText, address_message, order_confirmation
from sql.connection import Database
from sql.inbox import Version, once
from sql.queries import load
from sql.transaction import run

CONSUMER = "notify"

_QUERIES = load("consumers")
_READ_ORDER = _QUERIES["read_order_for_letter"]
_INSERT = _QUERIES["insert_notification"]
_READ_DUE = _QUERIES["read_due_notification"]
_CLOSE = _QUERIES["close_notification"]


class UndeliverableError(Exception):
    """The mail service will never take this message: its address or content is refused."""


@dataclass(frozen=True, slots=True)
class DueMessage:
    """A message ready to be sent. `email` is personal data: it goes to the mail service and nowhere else."""

    id: UUID
    email: str
    text: MessageText


def confirm_order(
    database: Database, event: Envelope[OrderPlaced], send: Callable[[DueMessage], None]
) -> str:
    """Write the order's confirmation, once an event, and send it unless it was sent.

    The message is closed after the mail service took it. A crash between the two sends it once more at the
    next delivery: at most one message too many a crash, never one too few.
    """
    order = event.data
    notification_id = uuid5(event.id, CONSUMER)
    once(
        database,
        CONSUMER,
        event.id,
        (_READ_ORDER(order_id=order.order_id),),
        lambda rows: (
            _INSERT(
                id=notification_id,
                customer_id=order.customer_id,
                event_id=event.id,
                kind="order-confirmation",
                **_columns(
                    order_confirmation(
                        order.order_id, [OrderLine(*row) for row in rows[0]], order.total_points
                    )
                ),
            ),
        ),
        # A confirmation after a later message about the same order would confuse: it is dropped.
        version=Version(event.aggregate_id, event.aggregate_version),
    )
    return send_due(database, notification_id, send)


def send_due(database: Database, notification_id: UUID, send: Callable[[DueMessage], None]) -> str:
    """Send a message that is due and close it; give `sent`, `skipped` (it reaches nobody) or `duplicate`.

    `send` raises UndeliverableError where no repetition helps; what else it raises leaves the message due.
    """
    due = run(database, lambda t: t.commit(_READ_DUE(id=notification_id))).value[0].rows
    if not due:
        return "duplicate"
    _, subject, body, email, first_name = due[0]
    status = "SKIPPED"
    if email is not None:
        text = address_message(MessageText(subject, body), first_name or "customer")
        with suppress(UndeliverableError):
            send(DueMessage(notification_id, email, text))
            status = "SENT"
    run(database, lambda t: t.commit(_CLOSE(id=notification_id, status=status)))
    return status.lower()


def _columns(text: MessageText) -> dict[str, str]:
    return {"subject": text.subject, "body": text.body}
