"""After a message returned: nothing is sent to its address any more."""

from typing import Any

from domain.email import sending_of
from domain.events import Envelope
from domain.events.mail import MailReturned
from sql.connection import Database
from sql.inbox import EffectOutcome, once
from sql.queries import Statement, load
from sql.transaction import Completed

CONSUMER = "suppress-address"

_QUERIES = load("consumers")
_READ_ADDRESS = _QUERIES["read_address_of_message"].of(str)
_SUPPRESS = _QUERIES["suppress_address"]


def suppress_address(database: Database, event: "Envelope[MailReturned]") -> Completed[EffectOutcome]:
    """Suppress the address that a message of ours went to, once an event.

    Which address that was is the database's word; of the event it takes which message. `STALE` where the
    message went nowhere or is not there: it was never ours, its customer was erased, or it is long gone; and
    where the message was sent twice, and what returned is not the last: the address was another then.
    """
    (notification_id,) = event.data.notification_ids
    sendings = event.data.sending_ids

    def decide(addresses: list[str]) -> list[Statement[Any]] | None:
        # guard: an event's word is not taken for an address
        if not addresses:
            return None
        # guard: what returned from a former address silences no other
        if sendings is not None and sendings != (sending_of(notification_id, addresses[0]),):
            return None
        return [_SUPPRESS(address_hash=addresses[0], reason=event.data.kind.lower())]

    return once(database, CONSUMER, event, (_READ_ADDRESS(id=notification_id),), decide)
