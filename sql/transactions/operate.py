"""What an operator asks of the database: states and stories as plain records, and messages put back."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from domain.events import OrderPlaced, event_of
from sql.cascade import slice_ids
from sql.connection import Database
from sql.queries import Statement, load
from sql.transaction import Transaction, run
from sql.transactions.erase_customer_data import CONSUMER as ERASE_CUSTOMER

_QUERIES = load("operator")
_COUNT_DEAD = load("jobs")["count_outbox_dead_letters"]

Record = dict[str, Any]

#: Rows of a list in a story.
MOST = 50

#: Dead letters that are listed a transaction.
_PAGE = 1000

#: Messages a transaction: an event is at most 1 MiB, written in one table and deleted in another, and DSQL
#: takes 10 MiB of changes.
_MESSAGES_AT_ONCE = 4

_DEAD_LETTER_COLUMNS = ("id", "region", "event_type", "attempts", "reason", "created_at", "failed_at")
_ENTRY = ("id", "type", "points", "at", "description", "balance_after")
_MESSAGE = ("id", "event_id", "kind", "status", "created_at", "sent_at")


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which outbox dead letters are meant; None lets all through. Ages in seconds since they failed."""

    event_type: str | None = None
    older_than_s: int | None = None
    newer_than_s: int | None = None
    reason: str | None = None
    ids: Sequence[UUID] | None = None


def outbox_status(database: Database) -> Record:
    """Give what waits by Region and type, the relays, and the number of outbox dead letters."""
    regions, types, workers, holders, dead = _read(
        database,
        _QUERIES["read_outbox_status"](),
        _QUERIES["read_outbox_types"](),
        _QUERIES["read_relay_workers"](),
        _QUERIES["read_lease_holders"](),
        _COUNT_DEAD(),
    )
    return {
        "waiting": _records(("region", "messages", "oldest_s", "rejected", "last_error"), regions),
        "types": _records(("event_type", "messages"), types),
        "relays": _records(("region", "worker", "alive", "expires_in_s", "shards"), workers),
        "leases": _records(("region", "holder", "shards"), holders),
        "dead_letters": dead[0][0],
    }


def list_dead_letters(database: Database, which: DeadLetterFilter) -> list[Record]:
    """Give all outbox dead letters that are meant, oldest first, without their events."""
    messages: list[Record] = []
    page: list[Record] | None = None
    while page is None or len(page) == _PAGE:
        statement = _QUERIES["list_outbox_dead_letters"](
            event_type=which.event_type,
            older_than_s=which.older_than_s,
            newer_than_s=which.newer_than_s,
            reason=which.reason,
            ids=None if which.ids is None else list(which.ids),
            after_at=page[-1]["failed_at"] if page else None,
            after_id=page[-1]["id"] if page else None,
            most=_PAGE,
        )
        page = _records(_DEAD_LETTER_COLUMNS, *_read(database, statement))
        messages += page
    return messages


def read_dead_letter(database: Database, dead_letter_id: UUID) -> Record | None:
    """Give one outbox dead letter with its event."""
    names = ("id", "region", "shard", "event_type", "attempts", "reason", "created_at", "failed_at", "detail")
    messages = _records(names, *_read(database, _QUERIES["read_outbox_dead_letter"](id=dead_letter_id)))
    return messages[0] if messages else None


def requeue_dead_letters(database: Database, ids: Sequence[UUID]) -> int:
    """Put messages back into the outbox with no attempt counted; give how many there still were."""
    requeued = 0
    for start in range(0, len(ids), _MESSAGES_AT_ONCE):
        some = list(ids[start : start + _MESSAGES_AT_ONCE])

        def move(transaction: Transaction, some: list[UUID] = some) -> int:
            _, gone = transaction.commit(
                _QUERIES["requeue_dead_letters"](ids=some), _QUERIES["delete_dead_letters"](ids=some)
            )
            return gone.touched

        requeued += run(database, move).value
    return requeued


def order_story(database: Database, order_id: UUID) -> Record | None:
    """Give everything that the tables hold of an order, None where there is no such order."""
    names = ("order", "lines", "ledger", "events", "record", "notifications")
    columns = (
        (
            *("id", "customer_id", "status", "total_points", "refunded_points", "placed_at", "region"),
            *("correlation_id", "version", "cart_cleaned_at"),
        ),
        ("item_id", "name", "units", "refunded_units", "unit_points"),
        _ENTRY,
        ("event_id", "event_type", "version", "points", "occurred_at"),
        ("idempotency_key", "response_status", "created_at"),
        _MESSAGE,
    )
    queries = ("", "_lines", "_ledger", "_events", "_record", "_notifications")
    answers = _read(
        database,
        *(_QUERIES[f"read_order_story{query}"](order_id=order_id) for query in queries),
        _QUERIES["read_attempts"](id=order_id, most=MOST),
    )
    if not answers[0]:
        return None
    parts: Record = {
        name: _records(column, rows) for name, column, rows in zip(names, columns, answers[:-1], strict=True)
    }
    order = parts["order"][0]
    placed = {
        "event_id": event_of(order_id),
        "event_type": OrderPlaced.type_name,
        "version": 1,
        "points": order["total_points"],
        "occurred_at": order["placed_at"],
    }
    parts["events"] = [placed, *parts["events"]]
    types = {event["event_id"]: event["event_type"] for event in parts["events"]}
    found = _messages_and_effects(
        database, order_id, *types, *(message["event_id"] for message in parts["notifications"])
    )
    found["effects"] = [
        {**effect, "event_type": types.get(effect["event_id"])} for effect in found["effects"]
    ]
    attempts = ("operation", "outcome", "attempts", "conflicts", "started_at", "ended_at")
    return {
        **parts,
        "order": order,
        "attempts": _records(attempts, answers[-1]),
        **found,
    }


def find_customers(database: Database, username: str) -> list[UUID]:
    """Give the customers with a username, two at most: it says who somebody is only where there is one."""
    (rows,) = _read(database, _QUERIES["find_customers_by_username"](username=username))
    return [customer_id for (customer_id,) in rows]


def customer_story(database: Database, customer_id: UUID, personal: bool = False) -> Record | None:
    """Give what the tables hold of a customer, personal data only where asked for; None for nobody."""
    customer, person, ledger, orders, cart, notifications = _read(
        database,
        _QUERIES["read_customer_story"](customer_id=customer_id),
        _QUERIES["read_customer_person"](customer_id=customer_id if personal else None),
        _QUERIES["read_customer_ledger"](customer_id=customer_id, most=MOST),
        _QUERIES["read_customer_orders"](customer_id=customer_id, most=MOST),
        _QUERIES["read_customer_cart"](customer_id=customer_id),
        _QUERIES["read_customer_notifications"](customer_id=customer_id, most=MOST),
    )
    if not customer:
        return None
    messages = _records(_MESSAGE, notifications)
    story: Record = {
        "customer": _records(("id", "version", "erased_at", "balance", "ledger_sum"), customer)[0],
        "orders": _records(
            ("id", "status", "total_points", "refunded_points", "placed_at", "region", "cart_cleaned_at"),
            orders,
        ),
        "ledger": _records(_ENTRY, ledger),
        "cart": _records(("item_id", "quantity"), cart),
        "notifications": messages,
        **_messages_and_effects(
            database,
            customer_id,
            *(event_of(entry_id) for entry_id, *_ in ledger),
            *(message["event_id"] for message in messages),
            *islice(slice_ids(event_of(customer_id), ERASE_CUSTOMER), MOST),
        ),
    }
    if personal:
        columns = ("username", "first_name", "last_name", "email", "phone", "address", "postal_code", "city")
        story["person"] = _records((*columns, "state"), person)[0]
    return story


def _messages_and_effects(database: Database, subject_id: UUID, *events: UUID) -> Record:
    """Give messages that name the id and have not left, and the effects of their events and those given."""
    (waiting,) = _read(database, _QUERIES["read_waiting_messages"](id=str(subject_id)))
    messages = _records(
        ("id", "region", "event_type", "attempts", "reason", "created_at", "where"), sorted(waiting, key=str)
    )
    ids = {*events, *(message["id"] for message in messages)}
    (effects,) = _read(database, _QUERIES["read_effects"](ids=sorted(ids)))
    return {
        "waiting_messages": messages,
        "effects": _records(("event_id", "consumer", "processed_at"), effects),
    }


def _read(database: Database, *statements: Statement) -> list[list[tuple[Any, ...]]]:
    return run(database, lambda transaction: transaction.read(*statements)).value


def _records(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[Record]:
    return [dict(zip(names, row, strict=True)) for row in rows]
