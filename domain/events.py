"""The facts that the shop announces: frozen, versioned, without personal data.

A customer is named by id alone; whoever needs an address looks it up at the moment of use. A breaking change
is a new version beside the old one, published together for a while.
"""

from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID, uuid5

from pydantic import ConfigDict, Field

from domain.contract import WHOLE, Contract, Id, Moment

NonNegative = Annotated[int, Field(ge=0), WHOLE]
# guard: an event that no consumer could read is not made
Positive = Annotated[int, Field(gt=0), WHOLE]


class Payload(Contract):
    """What happened. `type_name` is `<Noun><PastParticiple>.v<version>`, the bus's detail-type.

    A consumer of today reads an event with a field of tomorrow: what it does not know, it leaves out.
    """

    model_config = ConfigDict(extra="ignore")

    type_name: ClassVar[str]
    aggregate_type: ClassVar[str]


class OrderedLine(Contract):
    """One line of an order: units bought and the price in points of one."""

    model_config = ConfigDict(extra="ignore")

    item_id: Id
    quantity: Positive
    unit_points: NonNegative


class OrderPlaced(Payload):
    """A cart became an order and its points were debited."""

    type_name: ClassVar[str] = "OrderPlaced.v1"
    aggregate_type: ClassVar[str] = "order"

    order_id: Id
    customer_id: Id
    total_points: NonNegative
    lines: tuple[OrderedLine, ...]


class CustomerErased(Payload):
    """A customer asked to be forgotten; what the shop holds of them goes, orders and ledger stay nameless."""

    type_name: ClassVar[str] = "CustomerErased.v1"
    aggregate_type: ClassVar[str] = "customer"

    customer_id: Id


class CatalogItemRetired(Payload):
    """An item is no longer for sale, and will not be again."""

    type_name: ClassVar[str] = "CatalogItemRetired.v1"
    aggregate_type: ClassVar[str] = "catalog_item"

    item_id: Id


class CustomerErasureResumed(Payload):
    """Erasing what a customer left takes more than one slice; the next slice begins at `step`.

    Published by the cascade, for itself: between two of its slices, other cascades have theirs.
    """

    type_name: ClassVar[str] = "CustomerErasureResumed.v1"
    aggregate_type: ClassVar[str] = "customer"

    customer_id: Id
    step: str


class ItemRetirementResumed(Payload):
    """Clearing up after a retired item takes more than one slice; the next slice begins at `step`.

    `after` is the key behind which it begins, None for the step's beginning. `retirement_id` is the id of the
    CatalogItemRetired event, by which the messages to shoppers are found.
    """

    type_name: ClassVar[str] = "ItemRetirementResumed.v1"
    aggregate_type: ClassVar[str] = "catalog_item"

    item_id: Id
    retirement_id: Id
    step: str
    after: Id | None = None


class OrderCancelled(Payload):
    """An order was undone as a whole and its points were credited again."""

    type_name: ClassVar[str] = "OrderCancelled.v1"
    aggregate_type: ClassVar[str] = "order"

    order_id: Id
    customer_id: Id
    points: NonNegative
    lines: tuple[OrderedLine, ...]


class OrderRefunded(Payload):
    """Units of an order were given back and their points credited; `complete` when none is left.

    `refund_id` is the id of the ledger entry.
    """

    type_name: ClassVar[str] = "OrderRefunded.v1"
    aggregate_type: ClassVar[str] = "order"

    order_id: Id
    customer_id: Id
    refund_id: Id
    points: NonNegative
    complete: bool
    lines: tuple[OrderedLine, ...]


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


class StockExhausted(Payload):
    """An order took the last unit of a limited item, as far as it could see.

    Where two orders take the last units from two slots at once, neither sees the other: then none says so.
    The aggregate is the sale that ended with it, named by the event's own id: an item that is filled up and
    sells out once more is another sale, so no version tells the two apart.
    """

    type_name: ClassVar[str] = "StockExhausted.v1"
    aggregate_type: ClassVar[str] = "sale"

    item_id: Id
    order_id: Id


P = TypeVar("P", bound=Payload)


class Envelope(Contract, Generic[P]):
    """What every event carries, whatever happened.

    `id` is the outbox row's id: the same in every republication, so consumers deduplicate by it.
    `aggregate_version` counts the changes of the aggregate, so a consumer can drop what is stale.
    `correlation_id` is that of the request at the root; `causation_id` that of the event or request just
    before this one.
    """

    model_config = ConfigDict(extra="ignore")

    id: Id
    type: str
    occurred_at: Moment
    aggregate_type: str
    aggregate_id: Id
    aggregate_version: Annotated[int, Field(ge=1), WHOLE]
    region: str
    correlation_id: str
    causation_id: str | None = None
    trace_id: str | None = None
    data: P


@cache
def envelope_of(contract: type[P]) -> type[Envelope[P]]:
    """Give the model of a contract's whole event, envelope and payload."""
    return Envelope[contract]  # type: ignore[valid-type]


def write_event(event: Envelope[Any]) -> str:
    """Write an event as JSON. It was checked when it was made, so its consumers can read it."""
    return event.model_dump_json()


def read_event(contract: type[P], detail: bytes | str) -> Envelope[P]:
    """Read an event from JSON. Raises pydantic.ValidationError for one that does not fit the contract."""
    return envelope_of(contract).model_validate_json(detail)


def event_of(fact_id: UUID) -> UUID:
    """Give the id of the event that announces a fact: a ledger entry, or that a customer or an item went.

    So an event, and whatever became of it, is found by the fact's id long after its message left the outbox.
    """
    return uuid5(fact_id, "event")


class Origin(NamedTuple):
    """Where a write's event comes from: its id, the moment, the Region, and the request behind it.

    The id is that of `event_of`, or follows from another event's.
    """

    event_id: UUID
    now: datetime
    region: str
    correlation_id: str
    trace_id: str | None = None

    def announce(
        self, payload: P, aggregate_id: UUID, version: int = 1, causation_id: str | None = None
    ) -> Envelope[P]:
        """Put what happened into its envelope. `version` counts the changes of the aggregate."""
        return envelope_of(type(payload))(
            id=self.event_id,
            type=payload.type_name,
            occurred_at=self.now,
            aggregate_type=payload.aggregate_type,
            aggregate_id=aggregate_id,
            aggregate_version=version,
            region=self.region,
            correlation_id=self.correlation_id,
            causation_id=causation_id,
            trace_id=self.trace_id,
            data=payload,
        )


#: Every event that this project publishes, by detail-type.
CONTRACTS: dict[str, type[Payload]] = {
    contract.type_name: contract
    for contract in (
        OrderPlaced,
        OrderCancelled,
        OrderRefunded,
        PointsTransferred,
        PointsCredited,
        CustomerErased,
        CatalogItemRetired,
        CustomerErasureResumed,
        ItemRetirementResumed,
        StockExhausted,
    )
}
