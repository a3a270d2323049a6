"""What operations ask of the database: states and stories as plain records, and dead letters put back."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from domain.events import event_of
from domain.events.orders import OrderPlaced
from sql.cascade import slice_ids
from sql.connection import Database
from sql.queries import load
from sql.transaction import Transaction, first, run, snapshot
from sql.transactions.erase_customer_data import CONSUMER as ERASE_CUSTOMER

_LOADED = load("operations")
_QUERIES = {name: query.of(dict) for name, query in _LOADED.items()}
_FIND_CUSTOMERS = _LOADED["find_customers_by_username"].of(UUID)
_COUNT_DEAD = load("jobs")["count_outbox_dead_letters"].of(int)

NamedRow = dict[str, Any]

#: Rows of a list in a story.
MOST = 50

#: Dead letters that are listed a transaction.
_PAGE = 1000

#: Messages a transaction: an event is at most 1 MiB, written in one table and deleted in another, and DSQL
#: takes 10 MiB of changes.
_MESSAGES_AT_ONCE = 4


class DeadLetterFilter(NamedTuple):
    """Which outbox dead letters are meant; None lets all through. Ages in seconds since they failed."""

    event_type: str | None = None
    older_than_s: int | None = None
    newer_than_s: int | None = None
    reason: str | None = None
    ids: Sequence[UUID] | None = None


def outbox_status(database: Database) -> NamedRow:
    """Give what waits by Region and type, the relays, and the number of outbox dead letters."""
    waiting, types, workers, holders, (dead,) = snapshot(
        database,
        _QUERIES["read_outbox_status"](),
        _QUERIES["read_outbox_types"](),
        _QUERIES["read_relay_workers"](),
        _QUERIES["read_lease_holders"](),
        _COUNT_DEAD(),
    )
    return {
        "waiting": waiting,
        "types": types,
        "relays": workers,
        "leases": holders,
        "dead_letters": dead,
    }


def list_dead_letters(database: Database, which: DeadLetterFilter) -> list[NamedRow]:
    """Give all outbox dead letters that are meant, oldest first, without their events."""
    messages: list[NamedRow] = []
    page: list[NamedRow] | None = None
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
        (page,) = snapshot(database, statement)
        messages += page
    return messages


def read_dead_letter(database: Database, dead_letter_id: UUID) -> NamedRow | None:
    """Give one outbox dead letter with its event."""
    (found,) = snapshot(database, _QUERIES["read_outbox_dead_letter"](id=dead_letter_id))
    return first(found)


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


def order_story(database: Database, order_id: UUID) -> NamedRow | None:
    """Give everything that the tables hold of an order, None where there is no such order."""
    names = ("order", "lines", "ledger", "events", "record", "notifications")
    *answers, attempts = snapshot(
        database,
        *(_QUERIES[f"read_order_story_{name}"](order_id=order_id) for name in names),
        _QUERIES["read_attempts"](id=order_id, most=MOST),
    )
    story: NamedRow = dict(zip(names, answers, strict=True))
    if not story["order"]:
        return None
    (order,) = story["order"]
    placed = {
        "event_id": event_of(order_id),
        "event_type": OrderPlaced.type_name,
        "version": 1,
        "points": order["total_points"],
        "occurred_at": order["placed_at"],
    }
    events = [placed, *story["events"]]
    types = {event["event_id"]: event["event_type"] for event in events}
    found = _messages_and_effects(
        database, order_id, *types, *(message["event_id"] for message in story["notifications"])
    )
    found["effects"] = [
        {**effect, "event_type": types.get(effect["event_id"])} for effect in found["effects"]
    ]
    return {**story, "order": order, "events": events, "attempts": attempts, **found}


def find_customers(database: Database, username: str) -> list[UUID]:
    """Give the customers with a username, two at most: it says who somebody is only where there is one."""
    (ids,) = snapshot(database, _FIND_CUSTOMERS(username=username))
    return ids


def customer_story(database: Database, customer_id: UUID, personal: bool = False) -> NamedRow | None:
    """Give what the tables hold of a customer, personal data only where asked for; None for nobody."""
    customer, person, ledger, orders, cart, notifications = snapshot(
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
    story: NamedRow = {
        "customer": customer[0],
        "orders": orders,
        "ledger": ledger,
        "cart": cart,
        "notifications": notifications,
        **_messages_and_effects(
            database,
            customer_id,
            *(event_of(entry["id"]) for entry in ledger),
            *(message["event_id"] for message in notifications),
            *islice(slice_ids(event_of(customer_id), ERASE_CUSTOMER), MOST),
        ),
    }
    if personal:
        story["person"] = person[0]
    return story


def _messages_and_effects(database: Database, subject_id: UUID, *events: UUID) -> NamedRow:
    """Give messages that name the id and have not left, and the effects of their events and those given."""
    (waiting,) = snapshot(database, _QUERIES["read_waiting_messages"](id=str(subject_id)))
    ids = {*events, *(message["id"] for message in waiting)}
    (effects,) = snapshot(database, _QUERIES["read_effects"](ids=sorted(ids)))
    return {"waiting_messages": sorted(waiting, key=str), "effects": effects}
