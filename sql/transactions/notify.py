"""Messages to customers: written once an event, then claimed, let go, sent and closed."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID, uuid4, uuid5

from domain.checkout import AcceptedLine
from domain.email import CODE_VALID_S, address_hash, hash_code, make_code, show_code
from domain.events import Envelope
from domain.events.orders import OrderPlaced
from domain.events.refunds import OrderCancelled
from domain.limits import MAILS, wait_s
from domain.messages import (
    EMAIL_CODE,
    MessageText,
    address_message,
    confirmation_of,
    order_cancelled,
    order_confirmation,
    put_code,
)
from sql.chance import CHANCE
from sql.connection import Database
from sql.errors import FAILURES
from sql.inbox import (
    EffectOutcome,
    OrderOfEvent,
    UnknownOrderError,
    Version,
    known_order,
    once,
    read_order,
)
from sql.limits import count_use, read_uses
from sql.queries import Statement, load
from sql.transaction import Transaction, run

CONSUMER = "notify"

#: How long a run may take to send what it claimed: no function that sends lives longer (a test compares), and
#: a message that a dead run had claimed is free again before its event comes again.
CLAIM_S = 60

_QUERIES = load("consumers")
_READ_LINES = _QUERIES["read_order_for_message"].of(AcceptedLine)
_INSERT = _QUERIES["insert_notification"]
_WITHDRAW = _QUERIES["withdraw_notification"]
_CLAIM = _QUERIES["claim_notification"]
_FIND_SUPPRESSED = _QUERIES["find_suppressed_address"]
_LET_GO = _QUERIES["let_notification_go"]
_SET_CODE = _QUERIES["set_email_code"]
_RELEASE = _QUERIES["release_notification"]
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
    is_ours: bool | None  # None where nobody ever claimed it
    customer_id: UUID
    kind: str
    subject: str
    body: str
    is_counted: bool
    email: str | None
    first_name: str | None


_READ_DUE = _QUERIES["read_due_notification"].of(_Due)


def confirm_order(
    database: Database, event: "Envelope[OrderPlaced]", send: Callable[[DueMessage], None]
) -> str:
    """Write the order's confirmation, once an event, and send it; give a word as `send_due`, or `stale`.

    What it says is the database's word; of the event it takes which order. A confirmation after the order's
    cancellation would be wrong: it is dropped. Raises UnknownOrderError.
    """
    order_id = event.data.order_id

    def decide(orders: list[OrderOfEvent], lines: list[AcceptedLine]) -> list[Statement[Any]] | None:
        order = known_order(orders, event)
        # guard: a cancelled order is not confirmed
        if order.status == "CANCELLED":
            return None
        text = order_confirmation(order_id, lines, order.total_points)
        return [_insert(confirmation_of(order_id), order.customer_id, event.id, "order-confirmation", text)]

    reads = (read_order(event), _READ_LINES(order_id=order_id))
    if _once(database, event, reads, decide) is EffectOutcome.STALE:
        return EffectOutcome.STALE.value
    return send_due(database, confirmation_of(order_id), send)


def confirm_cancellation(
    database: Database, event: "Envelope[OrderCancelled]", send: Callable[[DueMessage], None]
) -> str:
    """Withdraw the order's confirmation if it is not sent yet, and tell of the cancellation, likewise.

    Raises BeingSentError while a run is sending the confirmation: the cancellation follows it.
    """
    order_id = event.data.order_id
    notification_id = uuid5(order_id, "order-cancellation")

    def decide(orders: list[OrderOfEvent]) -> list[Statement[Any]]:
        order = known_order(orders, event)
        # guard: only a cancelled order's cancellation is told of
        if order.status != "CANCELLED":
            raise UnknownOrderError(f"order {order_id} is {order.status} and not cancelled")
        text = order_cancelled(order_id, order.refunded_points)
        return [
            # guard: no confirmation after a cancellation
            _WITHDRAW(id=confirmation_of(order_id)),
            _insert(notification_id, order.customer_id, event.id, "order-cancellation", text),
        ]

    if _once(database, event, (read_order(event),), decide) is EffectOutcome.STALE:
        return EffectOutcome.STALE.value
    return send_due(database, notification_id, send, follows=confirmation_of(order_id))


def send_due(
    database: Database,
    notification_id: UUID,
    send: Callable[[DueMessage], None],
    follows: UUID | None = None,
    pick: Callable[[int], int] = CHANCE.randrange,
) -> str:
    """Send a message that is due and close it; give `sent`, `duplicate`, or `skipped` and a reason.

    Skipped is what reaches nobody (`no-address`, `refused` by the mail service), what would go where nothing
    is sent any more (`suppressed`) or to an address that is not wanted any more (`superseded`), and what is
    beyond the bounds of the customer or the address (`too-many`).

    `send` raises UndeliverableError where no repetition helps; what else it raises leaves the message due and
    gives the claim back. Raises BeingSentError while another run is sending it, or the message that it
    `follows`. `pick` makes codes.

    The message is closed after the mail service took it. A crash between the two, or an answer that is lost,
    sends it once more at the next delivery: at most one message too many for each, never one too few.
    """
    key = {"id": notification_id, "token": uuid4()}
    claim = _CLAIM(**key, claim_s=CLAIM_S, follows=follows)
    _, found = run(database, lambda t: t.commit(claim, _READ_DUE(**key))).value
    if not found.rows:
        return "duplicate"
    (due,) = found.rows
    if not due.is_ours:
        raise BeingSentError(f"another run is sending message {notification_id}, or the one before it")
    status, word = "SKIPPED", "skipped no-address"
    if due.email is not None:
        text, code = MessageText(due.subject, due.body), None
        if due.kind == EMAIL_CODE:
            code = make_code(pick)
            text = put_code(text, show_code(code))
        try:
            skipped = _let_go(database, due, due.email, key, code)
            word = f"skipped {skipped}"
            # guard: what may not go is not sent
            if skipped is None:
                word = "skipped refused"
                # guard: a message that could not be sent stays due
                with suppress(UndeliverableError):
                    send(DueMessage(notification_id, due.email, address_message(text, due.first_name)))
                    status, word = "SENT", "sent"
        except Exception:
            with suppress(*FAILURES):
                # guard: a sender that failed gives its claim back
                run(database, lambda t: t.commit(_RELEASE(**key)))
            raise
    # guard: a message is closed when it was sent
    run(database, lambda t: t.commit(_CLOSE(**key, status=status)))
    return word


def _let_go(database: Database, due: _Due, email: str, key: dict[str, UUID], code: str | None) -> str | None:
    """Count a message against the bounds of its customer and its address; give why it may not go, or None.

    It is counted once, however often it is sent. The code that it will hold is stored as a hash. Raises
    BeingSentError where the message is no more this run's to send.
    """
    subjects = [str(due.customer_id), address_hash(email)]

    def attempt(transaction: Transaction) -> str | None:
        suppressed, uses = transaction.read(
            _FIND_SUPPRESSED(address_hash=subjects[1]), read_uses(MAILS, subjects)
        )
        # guard: nothing is sent to an address that bounced or complained
        if suppressed:
            return "suppressed"
        # guard: e-mails have a bound, by customer and by address
        if not due.is_counted and wait_s(MAILS, uses) is not None:
            return "too-many"
        writes = [_LET_GO(**key, address_hash=subjects[1])]
        if not due.is_counted:
            writes.append(count_use(MAILS, subjects))
        if code is not None:
            writes.append(
                _SET_CODE(
                    id=key["id"],
                    customer_id=due.customer_id,
                    code_hash=hash_code(code, due.customer_id),
                    valid_s=CODE_VALID_S,
                )
            )
        written = transaction.commit(*writes)
        # guard: who has lost the claim sends nothing
        if not written[0].touched:
            raise BeingSentError(f"message {key['id']} was withdrawn, or claimed by another run")
        # guard: a code goes to an address that is still wanted
        return "superseded" if code is not None and not written[-1].touched else None

    return run(database, attempt).value


def _once(
    database: Database,
    event: "Envelope[Any]",
    reads: Sequence[Statement[Any]],
    decide: Callable[..., Sequence[Statement[Any]] | None],
) -> EffectOutcome:
    version = Version(event.aggregate_id, event.aggregate_version)
    return once(database, CONSUMER, event, reads, decide, version).value


def _insert(
    notification_id: UUID, customer_id: UUID, event_id: UUID, kind: str, text: MessageText
) -> Statement[Any]:
    return _INSERT(
        id=notification_id,
        customer_id=customer_id,
        event_id=event_id,
        kind=kind,
        email=None,
        **text._asdict(),
    )
