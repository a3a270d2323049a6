"""Orders as the API shows them, to their owners and to the staff."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, Field
from pydantic_core import from_json

from domain.events.orders import OrderPlaced
from domain.refusals import Refusal
from handlers.edge.models import AnswerBody
from handlers.edge.paging import LAST_ID, LAST_TIME, Page, column_id, column_time, read_cursor, write_cursor
from sql.connection import Database
from sql.reads.orders import OrderEvent, OrderHead, OrderLineRow, OrderStatus, list_orders, show_order


class OrderInList(AnswerBody):
    """An order by its totals."""

    order_id: UUID
    status: OrderStatus
    placed_at: datetime
    total_points: int
    refunded_points: int
    unit_count: int = Field(validation_alias="units")


class OrderPage(AnswerBody):
    """A page of orders, newest first; `next_cursor` is null on the last one."""

    orders: list[OrderInList]
    next_cursor: str | None


class OrderLine(AnswerBody):
    """A line of an order; `refunded` of its units were given back."""

    item_id: UUID
    name: str
    quantity: int
    refunded: int
    unit_points: int


class OrderLineChange(AnswerBody):
    """Units of an item that an event was about."""

    item_id: UUID = Field(strict=False)  # stored as JSON, where it is text
    quantity: int


def _from_stored(lines: object) -> object:
    return from_json(lines) if isinstance(lines, str) else lines


class OrderHistory(AnswerBody):
    """Something that happened to an order; `points` is signed as in the ledger."""

    version: int
    type: str = Field(validation_alias="event_type")
    at: datetime = Field(validation_alias="occurred_at")
    points: int
    lines: Annotated[list[OrderLineChange], BeforeValidator(_from_stored)]


class Order(AnswerBody):
    """An order with its lines and all that happened to it, oldest first."""

    order_id: UUID
    status: OrderStatus
    placed_at: datetime
    region: str
    total_points: int
    refunded_points: int
    version: int
    lines: list[OrderLine]
    history: list[OrderHistory]


def order_page(database: Database, customer_id: UUID, page: Page) -> OrderPage:
    """Read a page of a customer's orders. Raises ProblemError for a cursor of something else."""
    after, after_id = LAST_TIME, LAST_ID
    if page.cursor is not None:
        after, after_id = read_cursor(page.cursor, column_time, column_id)
    rows = list_orders(database, customer_id, after, after_id, page.limit + 1)
    cursor = None
    if len(rows) > page.limit:
        last = rows[page.limit - 1]
        cursor = write_cursor(last.placed_at.astimezone(UTC).isoformat(), str(last.order_id))
    return OrderPage.of(orders=rows[: page.limit], next_cursor=cursor)


def order_view(database: Database, customer_id: UUID, order_id: UUID) -> Order | Refusal:
    """Read a customer's order with its lines and history."""
    found = show_order(database, customer_id, order_id)
    if isinstance(found, Refusal):
        return found
    head, lines, events = found
    return Order.of(head, lines=lines, history=history(head, lines, events))


def history(
    head: OrderHead, lines: Sequence[OrderLineRow], events: Sequence[OrderEvent]
) -> list[OrderHistory | OrderEvent]:
    """Give all that happened to an order, its placing first."""
    placed = OrderHistory.of(
        version=1,
        event_type=OrderPlaced.type_name,
        occurred_at=head.placed_at,
        points=-head.total_points,
        lines=[OrderLineChange(item_id=line.item_id, quantity=line.quantity) for line in lines],
    )
    return [placed, *events]
