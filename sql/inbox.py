"""The inbox: an event has its effect once, as the record of it is written in the effect's transaction."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from domain.events import FIRST_VERSION, Envelope, event_of
from sql.connection import Database
from sql.queries import Statement, load
from sql.transaction import Completed, Transaction, run

_QUERIES = load("consumers")
_FIND = _QUERIES["find_inbox_row"]
_INSERT = _QUERIES["insert_inbox_row"]
_READ_VERSION = _QUERIES["read_consumed_version"].of(int)
_NOTE_VERSION = _QUERIES["note_consumed_version"]


class EffectOutcome(StrEnum):
    """What became of an event at a consumer."""

    DONE = "done"
    DUPLICATE = "duplicate"
    STALE = "stale"  # a newer version of the aggregate has had its effect here


class UnknownOrderError(Exception):
    """The event tells of an order that is not there, or not like that: no effect. Find out who sent it."""


class OrderOfEvent(NamedTuple):
    """An order as the database has it, and whether the event that tells of it is in its history."""

    customer_id: UUID
    status: str
    total_points: int
    refunded_points: int
    is_in_history: bool


class Version(NamedTuple):
    """Which version of which aggregate an event tells of."""

    aggregate_id: UUID
    number: int


_READ_ORDER = _QUERIES["read_order_of_event"].of(OrderOfEvent)


def read_order(event: "Envelope[Any]") -> Statement[OrderOfEvent]:
    """Give the statement that reads the order which an event of an order tells of, for `known_order`."""
    return _READ_ORDER(
        order_id=event.data.order_id,
        version=event.aggregate_version,
        event_id=event.id,
        event_type=event.type,
    )


def known_order(orders: Sequence[OrderOfEvent], event: "Envelope[Any]") -> OrderOfEvent:
    """Give the order that an event tells of. Raises UnknownOrderError where the database knows better.

    An event that is not the order's own has no effect and no row in the inbox: under a true one's id it would
    have that one taken for a duplicate, and with a version to come make the true ones stale.
    """
    order_id = event.data.order_id
    # guard: an event's word is not taken for an order
    if not orders:
        raise UnknownOrderError(f"there is no order {order_id}")
    (order,) = orders
    own = order.is_in_history or (event.id, event.aggregate_version) == (event_of(order_id), FIRST_VERSION)
    # guard: an event's word is not taken for whose it is
    if event.aggregate_id != order_id or not own:
        raise UnknownOrderError(
            f"order {order_id} has no {event.type} {event.id} as version {event.aggregate_version}"
        )
    return order


def once(
    database: Database,
    consumer: str,
    event: "Envelope[Any]",
    reads: Sequence[Statement[Any]],
    decide: Callable[..., Sequence[Statement[Any]] | None],
    version: Version | None = None,
) -> Completed[EffectOutcome]:
    """Run a consumer's effect unless it has happened: `decide` turns what `reads` gave into the writes.

    It gives None where the database knows a newer state than the event tells of: then there is no effect.

    Give `version` where the effect depends on order: an event older than one that this consumer has seen of
    the same aggregate then has no effect. Events come in any order; an effect that commutes needs none.
    """

    def attempt(transaction: Transaction) -> EffectOutcome:
        order = (
            [] if version is None else [_READ_VERSION(aggregate_id=version.aggregate_id, consumer=consumer)]
        )
        seen, *rows = transaction.read(_FIND(event_id=event.id, consumer=consumer), *order, *reads)
        # guard: inbox read
        if seen:
            return EffectOutcome.DUPLICATE
        # guard: inbox row in the effect's transaction
        writes = [_INSERT(event_id=event.id, consumer=consumer, published_at=event.published_at)]
        if version is not None:
            newest = rows.pop(0)
            # guard: a stale version has no effect
            if newest and newest[0] >= version.number:
                transaction.commit(*writes)
                return EffectOutcome.STALE
            writes.append(
                _NOTE_VERSION(aggregate_id=version.aggregate_id, consumer=consumer, version=version.number)
            )
        effect = decide(*rows)
        transaction.commit(*writes, *(effect or ()))
        return EffectOutcome.STALE if effect is None else EffectOutcome.DONE

    return run(database, attempt)
