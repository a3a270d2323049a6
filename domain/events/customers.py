"""Events of customers."""

from typing import ClassVar

from domain.contract import Id
from domain.events import Payload


class CustomerErased(Payload):
    """A customer asked to be forgotten; what the shop holds of them goes, orders and ledger stay nameless."""

    type_name: ClassVar[str] = "CustomerErased.v1"
    aggregate_type: ClassVar[str] = "customer"

    customer_id: Id


class CustomerErasureResumed(Payload):
    """Erasing what a customer left takes more than one slice; the next slice begins at `step`.

    Published by the cascade, for itself: between two of its slices, other cascades have theirs.
    """

    type_name: ClassVar[str] = "CustomerErasureResumed.v1"
    aggregate_type: ClassVar[str] = "customer"

    customer_id: Id
    step: str


class NotificationWritten(Payload):
    """A message to a customer was written and is to be sent: a code to a new address, a notice to the former.

    What it says and where it goes stands in the database alone.
    """

    type_name: ClassVar[str] = "NotificationWritten.v1"
    aggregate_type: ClassVar[str] = "notification"

    notification_id: Id
    customer_id: Id
