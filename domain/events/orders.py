"""Events of orders that are placed."""

from typing import ClassVar

from pydantic import ConfigDict

from domain.contract import Contract, Id
from domain.events import NonNegative, Payload, Positive


class OrderedLine(Contract):
    """One line of an order: units bought and the price in points of one."""

    model_config = ConfigDict(extra="ignore")

    item_id: Id
    quantity: Positive
    unit_points: NonNegative


class OrderPlaced(Payload):
    """A cart became an order and its points were debited."""

    type_name: ClassVar[str] = "OrderPlaced.v1"
    aggregate_type: ClassVar[str] = "order"

    order_id: Id
    customer_id: Id
    total_points: NonNegative
    lines: tuple[OrderedLine, ...]


class StockExhausted(Payload):
    """An order took the last unit of a limited item, as far as it could see.

    Where two orders take the last units from two slots at once, neither sees the other: then none says so.
    The aggregate is the sale that ended with it, named by the event's own id: an item that is filled up and
    sells out once more is another sale, so no version tells the two apart.
    """

    type_name: ClassVar[str] = "StockExhausted.v1"
    aggregate_type: ClassVar[str] = "sale"

    item_id: Id
    order_id: Id
