"""Consumer of CustomerErased: removes what the customer left, slice by slice; their sign-ins go with it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from domain.events import CustomerErased, CustomerErasureResumed, Envelope
from handlers.edge.observability import guarded
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.slices import CascadeConsumer
from sql.cascade import Slice
from sql.transactions.erase_customer_data import erase_customer_data

_ENVIRONMENT = DatabaseEnvironment.read()
_DATABASE = _ENVIRONMENT.database()


def _erase(envelope: Envelope[Any], is_over: Callable[[], bool]) -> Slice:
    return erase_customer_data(_DATABASE, envelope, is_over, _ENVIRONMENT.region, datetime.now(UTC))


handler = guarded(CascadeConsumer((CustomerErased, CustomerErasureResumed), _erase))
