"""Consumer of orders, cancellations, and messages that were written: sends the e-mail to the customer."""

from domain.events.customers import NotificationWritten
from domain.events.orders import OrderPlaced
from domain.events.refunds import OrderCancelled
from handlers.edge.consume import Consumer
from handlers.edge.mail import Mail, count_skipped, put_back
from handlers.edge.observability import guarded, observe_effect
from handlers.edge.settings import DatabaseEnvironment, NonEmpty
from handlers.edge.slices import MARGIN_MS
from sql.transactions.notify import confirm_cancellation, confirm_order, send_due


class _Environment(DatabaseEnvironment):
    sender_address: NonEmpty
    mail_configuration: NonEmpty
    queue_url: NonEmpty


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()
_MAIL = Mail(_ENVIRONMENT.sender_address, _ENVIRONMENT.mail_configuration)

handler = guarded(
    Consumer(
        {
            OrderPlaced: lambda event, _: count_skipped(confirm_order(_DATABASE, event, _MAIL.send)),
            OrderCancelled: lambda event, _: count_skipped(
                confirm_cancellation(_DATABASE, event, _MAIL.send)
            ),
            NotificationWritten: lambda event, _: count_skipped(
                send_due(_DATABASE, event.data.notification_id, _MAIL.send)
            ),
        },
        observe_effect,
        MARGIN_MS,
        put_back(_ENVIRONMENT.queue_url),
    )
)
