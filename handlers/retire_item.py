"""Consumer of CatalogItemRetired: takes the item out of carts, removes its pictures, and tells shoppers."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from domain.events import CatalogItemRetired, Envelope, ItemRetirementResumed
from handlers.edge.mail import Mail
from handlers.edge.observability import guarded
from handlers.edge.settings import DatabaseEnvironment, NonEmpty
from handlers.edge.slices import CascadeConsumer
from sql.cascade import Slice
from sql.transactions.retire_item_data import retire_item_data


class _Environment(DatabaseEnvironment):
    sender_address: NonEmpty


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()
_MAIL = Mail(_ENVIRONMENT.sender_address)


def _retire(envelope: Envelope[Any], is_over: Callable[[], bool]) -> Slice:
    return retire_item_data(
        _DATABASE,
        envelope,
        _MAIL.send,
        is_over,
        _ENVIRONMENT.region,
        datetime.now(UTC),
    )


handler = guarded(CascadeConsumer((CatalogItemRetired, ItemRetirementResumed), _retire))
