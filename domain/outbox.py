"""The outbox's letters and what the bus said to them."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Letter:
    """An outbox row that waits for the bus. `lag_ms` is its age by the database's clock when it was read."""

    shard: int
    id: UUID
    event_type: str
    detail: str
    attempts: int
    lag_ms: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A letter that the bus did not accept, and why; `terminal` where no repetition can help."""

    letter: Letter
    reason: str
    terminal: bool


#: Attempts after which a letter that the bus keeps refusing is set aside. Calls that fail as a whole (the bus
#: cannot be reached) are not attempts: an outage must not bury what is in order.
MAX_ATTEMPTS = 10


def is_hopeless(failure: Failure) -> bool:
    """Tell whether a letter goes to the dead letters now."""
    return failure.terminal or failure.letter.attempts + 1 >= MAX_ATTEMPTS
