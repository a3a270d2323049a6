"""Consumer of CatalogItemRetired: takes the item out of carts, removes its pictures, and tells shoppers."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from domain.events import Envelope
from domain.events.items import CatalogItemRetired, ItemRetirementResumed
from handlers.edge.consume import Consumer
from handlers.edge.mail import Mail, count_skipped, put_back
from handlers.edge.observability import guarded, observe_effect
from handlers.edge.settings import DatabaseEnvironment, NonEmpty
from handlers.edge.slices import MARGIN_MS, start_slice
from sql.cascade import Slice
from sql.transactions.retire_item_data import retire_item_data


class _Environment(DatabaseEnvironment):
    sender_address: NonEmpty
    mail_configuration: NonEmpty
    queue_url: NonEmpty


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()
_MAIL = Mail(_ENVIRONMENT.sender_address, _ENVIRONMENT.mail_configuration)


def _retire(envelope: "Envelope[Any]", time_is_up: Callable[[], bool]) -> Slice:
    return retire_item_data(
        _DATABASE,
        envelope,
        _MAIL.send,
        start_slice(time_is_up),
        _ENVIRONMENT.region,
        datetime.now(UTC),
        count_skipped,
    )


handler = guarded(
    Consumer(
        {CatalogItemRetired: _retire, ItemRetirementResumed: _retire},
        observe_effect,
        MARGIN_MS,
        put_back(_ENVIRONMENT.queue_url),
    )
)
