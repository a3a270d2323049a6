"""The outbox, for whoever writes: a message is left in the transaction of what it tells about."""

from typing import Any
from uuid import UUID

from domain.events import Envelope, write_event
from sql.queries import Statement, load

#: Shards of a Region's outbox: as many relays as that can share the work of a Region.
SHARDS = range(16)

_INSERT = load("outbox")["insert_outbox_row"]


def shard_of(event_id: UUID) -> int:
    """Give the shard of its Region's outbox that an event's message is in."""
    return SHARDS[event_id.int % len(SHARDS)]


def enqueue(event: "Envelope[Any]") -> Statement[Any]:
    """Give the statement that puts an event into its Region's outbox."""
    return _INSERT(
        region=event.region,
        shard=shard_of(event.id),
        id=event.id,
        event_type=event.type,
        detail=write_event(event),
    )
