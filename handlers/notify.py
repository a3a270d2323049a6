"""Consumer of OrderPlaced and OrderCancelled: sends the e-mail that confirms it."""

from domain.events.orders import OrderCancelled, OrderPlaced
from events.consume import Consumer
from handlers.edge.mail import Mail
from handlers.edge.observability import guarded, observe_effect
from handlers.edge.settings import DatabaseEnvironment, NonEmpty
from sql.transactions.notify import confirm_cancellation, confirm_order


class _Environment(DatabaseEnvironment):
    sender_address: NonEmpty


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()
_MAIL = Mail(_ENVIRONMENT.sender_address)

handler = guarded(
    Consumer(
        {
            OrderPlaced: lambda envelope, _: confirm_order(_DATABASE, envelope, _MAIL.send),
            OrderCancelled: lambda envelope, _: confirm_cancellation(_DATABASE, envelope, _MAIL.send),
        },
        observe_effect,
    )
)
