"""Orders as the API shows them, to their owners and to the staff."""

import json
from datetime import datetime
from typing import TypedDict
from uuid import UUID

from domain.events import OrderPlaced
from domain.refusals import Refusal
from handlers.edge.fields import IdText, Timestamp
from handlers.edge.paging import LAST_ID, LAST_TIME, Page, read_cursor, write_cursor
from sql.connection import Database
from sql.reads import OrderStatus, list_orders, show_order


class OrderInList(TypedDict):
    """An order by its totals."""

    order_id: IdText
    status: OrderStatus
    placed_at: Timestamp
    total_points: int
    refunded_points: int
    unit_count: int


class OrderPage(TypedDict):
    """A page of orders, newest first; `next_cursor` is null on the last one."""

    orders: list[OrderInList]
    next_cursor: str | None


class OrderLine(TypedDict):
    """A line of an order; `refunded` of its units were given back."""

    item_id: IdText
    name: str
    quantity: int
    refunded: int
    unit_points: int


class OrderLineChange(TypedDict):
    """Units of an item that an event was about."""

    item_id: IdText
    quantity: int


class OrderHistory(TypedDict):
    """Something that happened to an order; `points` is signed as in the ledger."""

    version: int
    type: str
    at: Timestamp
    points: int
    lines: list[OrderLineChange]


class Order(TypedDict):
    """An order with its lines and all that happened to it, oldest first."""

    order_id: IdText
    status: OrderStatus
    placed_at: Timestamp
    region: str
    total_points: int
    refunded_points: int
    version: int
    lines: list[OrderLine]
    history: list[OrderHistory]


def order_page(
    database: Database, customer_id: UUID, page: Page, by_staff: bool = False
) -> OrderPage | Refusal:
    """Read a page of a customer's orders. Raises ProblemError for a cursor of something else."""
    after, after_id = LAST_TIME, LAST_ID
    if page.cursor is not None:
        after, after_id = read_cursor(page.cursor, datetime, UUID)
    rows = list_orders(database, customer_id, after, after_id, page.limit + 1, by_staff)
    if isinstance(rows, Refusal):
        return rows
    cursor = None
    if len(rows) > page.limit:
        last = rows[page.limit - 1]
        cursor = write_cursor(last.placed_at.isoformat(), str(last.order_id))
    return {
        "orders": [
            {
                "order_id": str(row.order_id),
                "status": row.status,
                "placed_at": row.placed_at.isoformat(),
                "total_points": row.total_points,
                "refunded_points": row.refunded_points,
                "unit_count": row.units,
            }
            for row in rows[: page.limit]
        ],
        "next_cursor": cursor,
    }


def order_view(
    database: Database, customer_id: UUID, order_id: UUID, by_staff: bool = False
) -> Order | Refusal:
    """Read a customer's order with its lines and history."""
    found = show_order(database, customer_id, order_id, by_staff)
    if isinstance(found, Refusal):
        return found
    head, lines, events = found
    placed: OrderHistory = {
        "version": 1,
        "type": OrderPlaced.type_name,
        "at": head.placed_at.isoformat(),
        "points": -head.total_points,
        "lines": [{"item_id": str(line.item_id), "quantity": line.quantity} for line in lines],
    }
    return {
        "order_id": str(head.order_id),
        "status": head.status,
        "placed_at": head.placed_at.isoformat(),
        "region": head.region,
        "total_points": head.total_points,
        "refunded_points": head.refunded_points,
        "version": head.version,
        "lines": [
            {
                "item_id": str(line.item_id),
                "name": line.name,
                "quantity": line.quantity,
                "refunded": line.refunded,
                "unit_points": line.unit_points,
            }
            for line in lines
        ],
        "history": [
            placed,
            *(
                OrderHistory(
                    version=event.version,
                    type=event.event_type,
                    at=event.occurred_at.isoformat(),
                    points=event.points,
                    lines=json.loads(event.lines),
                )
                for event in events
            ),
        ],
    }
