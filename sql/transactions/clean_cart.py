"""After an order: its quantities leave the cart, and nothing else does."""

from domain.events import Envelope, OrderPlaced
from sql.connection import Database
from sql.inbox import EffectOutcome, once
from sql.queries import load
from sql.transaction import Completed

CONSUMER = "clean-cart"

_QUERIES = load("consumers")
_DELETE_LINES = _QUERIES["delete_ordered_cart_lines"]
_REDUCE_LINES = _QUERIES["reduce_ordered_cart_lines"]
_MARK_CLEANED = _QUERIES["mark_cart_cleaned"]


def clean_cart(database: Database, event: Envelope[OrderPlaced]) -> Completed[EffectOutcome]:
    """Take the ordered quantities out of the customer's cart, once an event."""
    order = event.data
    ordered = {
        "customer_id": order.customer_id,
        "item_ids": [line.item_id for line in order.lines],
        "quantities": [line.quantity for line in order.lines],
    }
    # Deleting comes first: what reducing leaves of a line could be small enough to look fully ordered.
    writes = (
        _DELETE_LINES(**ordered),
        _REDUCE_LINES(**ordered),
        # guard: the order is marked when its cart is clean
        _MARK_CLEANED(order_id=order.order_id),
    )
    return once(database, CONSUMER, event.id, (), lambda: writes)
