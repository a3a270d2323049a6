"""A customer's orders, with their lines and what happened to them."""

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from domain import refusals
from domain.refusals import Refusal
from sql.connection import Database
from sql.queries import load
from sql.transaction import snapshot

OrderStatus = Literal["PLACED", "CANCELLED", "PART_REFUNDED", "REFUNDED"]


class OrderSummary(NamedTuple):
    """An order in a list."""

    order_id: UUID
    status: OrderStatus
    total_points: int
    refunded_points: int
    placed_at: datetime
    units: int


class OrderHead(NamedTuple):
    """An order by itself."""

    order_id: UUID
    status: OrderStatus
    total_points: int
    refunded_points: int
    placed_at: datetime
    region: str
    version: int
    cart_cleaned_at: datetime | None


class OrderLineRow(NamedTuple):
    """A line of an order, with how many of its units were given back."""

    item_id: UUID
    name: str
    quantity: int
    refunded: int
    unit_points: int


class OrderEvent(NamedTuple):
    """What happened to an order after it was placed. `lines` is JSON: item ids and quantities."""

    version: int
    event_type: str
    occurred_at: datetime
    points: int
    lines: str


_ORDERS = load("orders")
_LIST_ORDERS = _ORDERS["list_orders"].of(OrderSummary)
SHOW_ORDER = _ORDERS["show_order"].of(OrderHead)
LIST_LINES = _ORDERS["list_order_lines"].of(OrderLineRow)
LIST_EVENTS = _ORDERS["list_order_events"].of(OrderEvent)


def list_orders(
    database: Database, customer_id: UUID, after: datetime, after_id: UUID, most: int
) -> list[OrderSummary]:
    """Give a page of a customer's orders, newest first."""
    query = _LIST_ORDERS(customer_id=customer_id, after=after, after_id=after_id, most=most)
    (rows,) = snapshot(database, query)
    return rows


def show_order(
    database: Database, customer_id: UUID, order_id: UUID
) -> tuple[OrderHead, list[OrderLineRow], list[OrderEvent]] | Refusal:
    """Give a customer's order with its lines and what happened to it."""
    key = {"order_id": order_id, "customer_id": customer_id}
    heads, lines, events = snapshot(database, SHOW_ORDER(**key), LIST_LINES(**key), LIST_EVENTS(**key))
    if not heads:
        return refusals.unknown_order(order_id)
    return heads[0], lines, events
