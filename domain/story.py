"""Where one order stands: what its events still wait for, and why."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from domain.events import EVENT_MEMORY_DAYS

Stage = Literal["outbox", "consumer", "e-mail"]

#: Why something waits. `under-way`: nothing is known to be wrong.
Why = Literal[
    "under-way",  # it has only just been written, or sent
    "no-relay",  # no relay is at work in the message's Region
    "rejected",  # the bus rejected the message so far; it is tried again
    "dead-letter",  # the bus will never take it: an operator decides
    "rule-off",  # the consumer's rule on the bus is switched off
    "in-queue",  # messages wait before the consumer, this one probably among them
    "dead-letter-queue",  # the consumer's dead-letter queue holds messages, this one probably among them
    "not-in-queue",  # the bus had it and no queue of the consumer holds anything
    "other-region",  # it goes its way in another Region, which can be asked
    "not-sent",  # the message to the customer is written and not sent yet
]


class Waiting(NamedTuple):
    """Something that an event waits for: at which stage, who or what, and why."""

    event_id: UUID
    stage: Stage
    name: str
    why: Why


class MessageState(NamedTuple):
    """A message that has not left the outbox. `has_relay`: some relay is at work in its Region."""

    attempts: int
    is_dead: bool
    has_relay: bool


class ListenerState(NamedTuple):
    """A consumer of an event's type, as bus and queues are now; None where they are not known here."""

    is_on: bool
    waiting: int | None
    dead: int | None


def is_forgotten(occurred_at: datetime, now: datetime) -> bool:
    """Tell whether an event is so old that what became of it has been deleted: then nothing waits."""
    return now - occurred_at > timedelta(days=EVENT_MEMORY_DAYS)


def waits(
    event_id: UUID,
    message: MessageState | None,
    listeners: Mapping[str, ListenerState],
    done: Iterable[str],
    unsent: Sequence[str],
) -> list[Waiting]:
    """Give what an event waits for, in the order of its way; nothing where all has happened.

    `listeners` are the consumers of its type by name, `done` those that have had their effect, `unsent` the
    kinds of its messages to the customer that are written and not sent.
    """
    had = set(done)
    # A message with an effect has been on the bus: its row only has still to be deleted.
    if message is not None and not had:
        return [Waiting(event_id, "outbox", "relay", _why_in_outbox(message))]
    missing = [
        Waiting(event_id, "consumer", name, _why_not_consumed(state))
        for name, state in listeners.items()
        if name not in had
    ]
    return [*missing, *(Waiting(event_id, "e-mail", kind, "not-sent") for kind in unsent)]


def _why_in_outbox(message: MessageState) -> Why:
    if message.is_dead:
        return "dead-letter"
    if message.attempts:
        return "rejected"
    return "under-way" if message.has_relay else "no-relay"


def _why_not_consumed(listener: ListenerState) -> Why:
    if not listener.is_on:
        return "rule-off"
    if listener.waiting is None or listener.dead is None:
        return "other-region"
    if listener.dead:
        return "dead-letter-queue"
    return "in-queue" if listener.waiting else "not-in-queue"
