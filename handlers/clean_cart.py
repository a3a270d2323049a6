"""Consumer of OrderPlaced: takes the ordered quantities out of the cart."""

from domain.events.orders import OrderPlaced
from handlers.edge.consume import Consumer
from handlers.edge.observability import guarded, observe_effect, value_of
from handlers.edge.settings import DatabaseEnvironment
from sql.transactions.clean_cart import clean_cart

_DATABASE = DatabaseEnvironment.read().database()

handler = guarded(
    Consumer({OrderPlaced: lambda envelope, _: value_of(clean_cart(_DATABASE, envelope))}, observe_effect)
)
