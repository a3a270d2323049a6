"""The facts that the shop announces: frozen, versioned, without personal data; here, what all have in common.

A customer is named by id alone; whoever needs an address looks it up at the moment of use. A breaking change
is a new version beside the old one, published together for a while.

Each subject has a module of its own: a function makes the models of those alone that it uses.
"""

from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar
from uuid import UUID, uuid5

from pydantic import ConfigDict, Field, PrivateAttr

from domain.contract import WHOLE, Contract, Id, Moment

#: What keeps an effect from happening twice is kept for longer than an event can come again: 87 days, by the
#: template's longest retentions and two redrives (docs/jobs.md; tests/unit/test_wiring.py does the sum).
EVENT_MEMORY_DAYS = 90

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

    _published_at: datetime | None = PrivateAttr(default=None)

    @property
    def published_at(self) -> datetime | None:
        """When the bus took the message, by the bus itself; None for an event that did not come from it."""
        return self._published_at


@cache
def envelope_of(contract: type[P]) -> type[Envelope[P]]:
    """Give the model of a contract's whole event, envelope and payload."""
    return Envelope[contract]  # type: ignore[valid-type]


def write_event(event: "Envelope[Any]") -> str:
    """Write an event as JSON. It was checked when it was made, so its consumers can read it."""
    return event.model_dump_json()


def read_event(contract: type[P], detail: bytes | str, published_at: datetime | None = None) -> Envelope[P]:
    """Read an event from JSON. Raises pydantic.ValidationError for one that does not fit the contract.

    `published_at` is the bus's own time of the message: beside the event, as no sender says it.
    """
    event = envelope_of(contract).model_validate_json(detail)
    event._published_at = published_at
    return event


#: Of an aggregate, in the event that tells of its beginning.
FIRST_VERSION = 1


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
        self, payload: P, aggregate_id: UUID, version: int = FIRST_VERSION, causation_id: str | None = None
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
