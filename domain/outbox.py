"""The outbox's messages, what the bus said to them, and which relay publishes which shard."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeVar
from uuid import UUID

#: Attempts after which a message that the bus keeps rejecting becomes a dead letter. With the pauses
#: below that is no sooner than 8 minutes after its first rejection.
MAX_ATTEMPTS = 10

_LONGEST_PAUSE_S = 300

T = TypeVar("T")


class OutboxUnavailableError(Exception):
    """The database cannot be reached or keeps failing: the relay goes on when it answers again.

    Nothing is lost: what was not recorded is published again, and consumers know it by its id.
    """


class OutboxMessage(NamedTuple):
    """An outbox row that waits for the bus. `lag_ms` is its age by the database's clock when it was read."""

    region: str
    shard: int
    id: UUID
    event_type: str
    detail: str
    attempts: int
    lag_ms: int

    @property
    def detail_bytes(self) -> int:
        """How many bytes of UTF-8 the event has."""
        return len(self.detail) if self.detail.isascii() else len(self.detail.encode())


class Rejection(StrEnum):
    """Why the bus did not accept a message, by what follows from it."""

    PERMANENT = "permanent"  # no repetition can help: a dead letter at once
    RETRYABLE = "retryable"  # the bus looked at this message and said no: an attempt
    DOUBTFUL = "doubtful"  # the message's fault only if the bus accepts others meanwhile
    THROTTLED = "throttled"  # too much at once: never an attempt


class Failure(NamedTuple):
    """A message that the bus did not accept, what kind of rejection that was, and the bus's words."""

    message: OutboxMessage
    rejection: Rejection
    reason: str


class Verdict(NamedTuple):
    """What becomes of failed messages.

    `dead_letters` leave the outbox, `counted` wait with one attempt more, `free` are tried again as if
    nothing had been.
    """

    dead_letters: list[Failure]
    counted: list[Failure]
    free: list[Failure]


def judge(failures: Iterable[Failure], bus_accepts: bool) -> Verdict:
    """Decide about failed messages; `bus_accepts` says whether the bus took any other of the same round.

    An outage must not dead-letter what is in order: a doubtful failure counts only while others get through.
    """
    verdict = Verdict([], [], [])
    for failure in failures:
        counts = failure.rejection is Rejection.RETRYABLE or (
            # guard: an outage dead-letters nothing
            failure.rejection is Rejection.DOUBTFUL and bus_accepts
        )
        if failure.rejection is Rejection.PERMANENT or (
            # guard: attempts have an end
            counts and failure.message.attempts + 1 >= MAX_ATTEMPTS
        ):
            verdict.dead_letters.append(failure)
        elif counts:
            verdict.counted.append(failure)
        else:
            verdict.free.append(failure)
    return verdict


def pause_after_s(attempts: int) -> int:
    """Give the seconds that a message waits after its nth counted attempt: 1, 2, 4 ... 256."""
    return int(min(2 ** (attempts - 1), _LONGEST_PAUSE_S))


class Shard(NamedTuple):
    """One part of a Region's outbox."""

    region: str
    shard: int


class Held(NamedTuple):
    """What a relay holds: the shards that it keeps, and those that others are to have.

    What is on its way of a surplus shard has to land before that is released: whoever gets it would publish
    it once more.
    """

    kept: Sequence[Shard]
    surplus: Sequence[Shard]


class Share(NamedTuple):
    """Which shards a relay is to give up and which to take (those it keeps are among them)."""

    give_up: list[int]
    take: list[int]


def share_out(shards: Sequence[int], mine: Iterable[int], others: Iterable[int], relays: int) -> Share:
    """Divide a Region's shards among its live relays, as seen by one of them.

    Nobody takes what another holds; whoever holds more than ceil(shards / relays) gives the rest up, so a
    newcomer gets its part within one renewal.
    """
    fair = -(-len(shards) // max(relays, 1))
    held = sorted(mine)
    keep, give_up = held[:fair], held[fair:]
    taken = {*held, *others}
    free = [shard for shard in shards if shard not in taken]
    return Share(give_up, keep + free[: fair - len(keep)])


def batches(
    things: Iterable[T], size_bytes: Callable[[T], int], most_bytes: int, most: int | None = None
) -> Iterator[list[T]]:
    """Cut things into batches of up to `most` and `most_bytes` together; a larger thing is alone."""
    batch: list[T] = []
    batch_bytes = 0
    for thing in things:
        thing_bytes = size_bytes(thing)
        # guard: bytes of what the relay records at once
        if batch and (len(batch) == most or batch_bytes + thing_bytes > most_bytes):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(thing)
        batch_bytes += thing_bytes
    if batch:
        yield batch
