"""Events of points that move without an order."""

from typing import ClassVar, Literal

from domain.contract import Id
from domain.events import Payload, Positive


class PointsTransferred(Payload):
    """A member gave points to another. `transfer_id` is the id of the payer's ledger entry."""

    type_name: ClassVar[str] = "PointsTransferred.v1"
    aggregate_type: ClassVar[str] = "transfer"

    transfer_id: Id
    payer_id: Id
    payee_id: Id
    points: Positive


class PointsCredited(Payload):
    """A member got points from the shop. `credit_id` is the id of the ledger entry."""

    type_name: ClassVar[str] = "PointsCredited.v1"
    aggregate_type: ClassVar[str] = "credit"

    credit_id: Id
    customer_id: Id
    points: Positive
    kind: Literal["EARN", "GIFT", "BOOST"]
