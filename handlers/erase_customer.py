"""Consumer of CustomerErased: removes what the customer left, slice by slice; their sign-ins go with it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from domain.events import Envelope
from domain.events.customers import CustomerErased, CustomerErasureResumed
from handlers.edge.consume import Consumer
from handlers.edge.observability import guarded, observe_effect
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.slices import MARGIN_MS, start_slice
from sql.cascade import Slice
from sql.transactions.erase_customer_data import erase_customer_data

_ENVIRONMENT = DatabaseEnvironment.read()
_DATABASE = _ENVIRONMENT.database()


def _erase(envelope: "Envelope[Any]", time_is_up: Callable[[], bool]) -> Slice:
    is_over = start_slice(time_is_up)
    return erase_customer_data(_DATABASE, envelope, is_over, _ENVIRONMENT.region, datetime.now(UTC))


handler = guarded(
    Consumer({CustomerErased: _erase, CustomerErasureResumed: _erase}, observe_effect, MARGIN_MS)
)
