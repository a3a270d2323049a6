"""Consumer of OrderPlaced: takes the ordered quantities out of the cart."""

from typing import Any

from domain.events import OrderPlaced
from events.consume import consume
from handlers.edge.settings import DatabaseEnvironment
from sql.transactions.clean_cart import clean_cart

_DATABASE = DatabaseEnvironment.read().database()


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Clean the carts of a batch of orders; give the records that failed."""
    return consume(event, {OrderPlaced: lambda envelope: clean_cart(_DATABASE, envelope).value})
