"""After an order: its quantities leave the cart, and nothing else does."""

from domain.events import Envelope
from domain.events.orders import OrderPlaced
from sql.connection import Database
from sql.inbox import EffectOutcome, OrderOfEvent, known_order, once, read_order
from sql.queries import Statement, load
from sql.transaction import Completed

CONSUMER = "clean-cart"

_QUERIES = load("consumers")
_DELETE_LINES = _QUERIES["delete_ordered_cart_lines"]
_REDUCE_LINES = _QUERIES["reduce_ordered_cart_lines"]
_MARK_CLEANED = _QUERIES["mark_cart_cleaned"]


def clean_cart(database: Database, event: "Envelope[OrderPlaced]") -> Completed[EffectOutcome]:
    """Take the ordered quantities out of the customer's cart, once an event.

    Whose cart, and how much, is what the order says; of the event it takes which order. Raises
    UnknownOrderError.
    """
    order_id = event.data.order_id

    def decide(orders: list[OrderOfEvent]) -> tuple[Statement[object], ...]:
        known_order(orders, event)
        # Deleting comes first: what reducing leaves of a line could be small enough to look fully ordered.
        return (
            _DELETE_LINES(order_id=order_id),
            _REDUCE_LINES(order_id=order_id),
            # guard: the order is marked when its cart is clean
            _MARK_CLEANED(order_id=order_id),
        )

    return once(database, CONSUMER, event, (read_order(event),), decide)
