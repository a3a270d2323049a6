"""Consumer of CustomerErased: removes what the customer left, turn by turn; their sign-ins go with it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from domain.events import CustomerErased, CustomerErasureContinued, Envelope
from handlers.edge.observability import guarded
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.turns import Turns
from sql.cascade import Turn
from sql.transactions.erase_customer_data import erase_customer_data

_ENVIRONMENT = DatabaseEnvironment.read()
_DATABASE = _ENVIRONMENT.database()


def _erase(envelope: Envelope[Any], is_over: Callable[[], bool]) -> Turn:
    return erase_customer_data(_DATABASE, envelope, is_over, _ENVIRONMENT.region, datetime.now(UTC))


handler = guarded(Turns((CustomerErased, CustomerErasureContinued), _erase))
