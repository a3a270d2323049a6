"""Consumer of MailReturned: stops mail to an address that had it back for good, or whose owner complained."""

from domain.events.mail import MailReturned
from handlers.edge.consume import Consumer
from handlers.edge.observability import guarded, observe_effect, value_of
from handlers.edge.settings import DatabaseEnvironment
from sql.transactions.suppress_address import suppress_address

_DATABASE = DatabaseEnvironment.read().database()

handler = guarded(
    Consumer(
        {MailReturned: lambda envelope, _: value_of(suppress_address(_DATABASE, envelope))}, observe_effect
    )
)
