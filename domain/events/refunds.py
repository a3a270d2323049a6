"""Events of orders that are undone: whole, or in part."""

from typing import ClassVar

from domain.contract import Id
from domain.events import NonNegative, Payload
from domain.events.orders import OrderedLine


class OrderCancelled(Payload):
    """An order was undone as a whole and its points were credited again."""

    type_name: ClassVar[str] = "OrderCancelled.v1"
    aggregate_type: ClassVar[str] = "order"

    order_id: Id
    customer_id: Id
    points: NonNegative
    lines: tuple[OrderedLine, ...]


class OrderRefunded(Payload):
    """Units of an order were given back and their points credited; `complete` when none is left.

    `refund_id` is the id of the ledger entry.
    """

    type_name: ClassVar[str] = "OrderRefunded.v1"
    aggregate_type: ClassVar[str] = "order"

    order_id: Id
    customer_id: Id
    refund_id: Id
    points: NonNegative
    complete: bool
    lines: tuple[OrderedLine, ...]
