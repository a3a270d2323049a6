"""Consumers whose effect is a cascade: each record gets a slice, and a slice has an end."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain.events import Envelope, Payload
from events.consume import Context, consume
from handlers.edge.observability import observe_effect

#: A slice's length, in seconds. Short, so that a small cascade behind a large one waits for one slice of it.
SLICE_S = 20.0

#: Kept back of the function's time for the transaction under way and the one that hands on, in milliseconds.
MARGIN_MS = 15_000

#: Runs one slice of a cascade until the question that it is given says that it is over.
RunSlice = Callable[[Envelope[Any], Callable[[], bool]], object]


class CascadeConsumer:
    """A function that runs slices, callable as its Lambda handler; the same for all its kinds of events."""

    def __init__(self, contracts: Sequence[type[Payload]], take: RunSlice) -> None:
        self.effects = dict.fromkeys(contracts, take)

    def __call__(self, event: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Run a slice of each record's cascade; give the records that are to come again."""
        effects = {
            contract: lambda envelope, take=take: take(envelope, start_slice(context))
            for contract, take in self.effects.items()
        }
        return consume(event, effects, time_is_up=lambda: _is_short(context), observe=observe_effect)


def start_slice(context: Context, monotonic: Callable[[], float] = time.monotonic) -> Callable[[], bool]:
    """Start a slice; give the question whether it is over: it was long enough, or the function's time is."""
    end = monotonic() + SLICE_S
    return lambda: monotonic() >= end or _is_short(context)


def _is_short(context: Context) -> bool:
    return context.get_remaining_time_in_millis() < MARGIN_MS
