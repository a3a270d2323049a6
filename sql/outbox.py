"""Leaving a letter in the outbox, in the transaction of what it tells about."""

from typing import Any

from domain.events import Envelope
from sql.queries import Statement, load

#: Shards of a Region's outbox. A relay holds one or more; 16 let a Region spread over as many relays.
SHARDS = 16

_QUERIES = load("outbox")
_INSERT = _QUERIES["insert_outbox_row"]


def letter(event: Envelope[Any]) -> Statement:
    """Give the statement that puts an event into its Region's outbox."""
    return _INSERT(
        region=event.region,
        shard=event.id.int % SHARDS,
        id=event.id,
        event_type=event.type,
        detail=event.model_dump_json(),
    )
