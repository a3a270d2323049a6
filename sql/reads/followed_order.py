"""An order as its owner follows it: what came of it, and what it looks like."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain import refusals
from domain.messages import confirmation_of
from domain.refusals import Refusal
from sql.connection import Database
from sql.queries import load
from sql.reads.catalogue import StoredPicture
from sql.reads.orders import LIST_EVENTS, LIST_LINES, SHOW_ORDER, OrderEvent, OrderHead, OrderLineRow
from sql.transaction import first, snapshot


class OrderPicture(NamedTuple):
    """The thumbnail of an item in an order."""

    item_id: UUID
    image_id: UUID
    filename: str | None
    url: str | None
    created: datetime | None

    @property
    def picture(self) -> StoredPicture | None:
        """The picture by itself."""
        return StoredPicture.in_columns(self.image_id, self.filename, self.url, self.created)


class Confirmation(NamedTuple):
    """What became of an order's confirmation: PENDING, SENT or SKIPPED."""

    status: str
    sent_at: datetime | None


class OrderView(NamedTuple):
    """An order as its owner follows it. `confirmation` is None until somebody has written it."""

    head: OrderHead
    lines: list[OrderLineRow]
    events: list[OrderEvent]
    pictures: list[OrderPicture]
    confirmation: Confirmation | None


_ORDERS = load("orders")
_LIST_PICTURES = _ORDERS["list_order_pictures"].of(OrderPicture)
_READ_CONFIRMATION = _ORDERS["read_confirmation"].of(Confirmation)


def follow_order(database: Database, region: str, customer_id: UUID, order_id: UUID) -> OrderView | Refusal:
    """Give a customer's order with what followed it."""
    key = {"order_id": order_id, "customer_id": customer_id}
    heads, lines, events, pictures, confirmations = snapshot(
        database,
        SHOW_ORDER(**key),
        LIST_LINES(**key),
        LIST_EVENTS(**key),
        _LIST_PICTURES(**key, region=region),
        _READ_CONFIRMATION(confirmation_id=confirmation_of(order_id)),
    )
    if not heads:
        return refusals.unknown_order(order_id)
    return OrderView(heads[0], lines, events, pictures, first(confirmations))
