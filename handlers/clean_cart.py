"""Consumer of OrderPlaced: takes the ordered quantities out of the cart."""

from domain.events import OrderPlaced
from events.consume import Consumer
from handlers.edge.observability import guarded
from handlers.edge.settings import DatabaseEnvironment
from sql.transactions.clean_cart import clean_cart

_DATABASE = DatabaseEnvironment.read().database()

handler = guarded(Consumer({OrderPlaced: lambda envelope: clean_cart(_DATABASE, envelope).value}))
