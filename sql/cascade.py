"""Cascades: what depended on something that went is removed slice by slice, each slice short.

A slice removes dependants in bounded transactions until all are gone or the slice is over. Its last
transaction records the event as consumed and, where work is left, enqueues the next slice's event: so
the next slice is neither lost nor doubled, whatever crashes in between, and it queues up behind those of
others. A slice that is delivered again finds itself recorded; one that was cut off begins anew, and what it
removed stays removed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from domain.events import Envelope, Origin, Payload, event_of
from sql.connection import Database
from sql.inbox import EffectOutcome, once
from sql.outbox import enqueue
from sql.queries import Query, Statement, load
from sql.scan import NO_ID
from sql.transaction import Transaction, run

#: No cascade has more: each slice does what a function's time is enough for.
_MOST_SLICES = 10_000

_FIND_INBOX_ROW = load("consumers")["find_inbox_row"]


class UnknownStepError(Exception):
    """Another release wrote the event: this one has no such step. Deploy the right one, then redrive."""


class Checkpoint(NamedTuple):
    """Where a cascade stands: a step, and the key behind which it goes on (None: the step's beginning)."""

    step: str
    after: UUID | None = None


class Advance(NamedTuple):
    """What one transaction of a step did: rows changed, the last key done, whether nothing is left."""

    rows: int
    after: UUID | None
    is_done: bool


#: Does the next transaction of a step, behind the key given.
Step = Callable[[UUID | None], Advance]


class SliceOutcome(StrEnum):
    """How a slice ended."""

    DONE = "done"
    PARTIAL = "partial"
    DUPLICATE = "duplicate"


@dataclass(slots=True)
class Slice:
    """What one slice did. `most_rows` is that of its largest transaction."""

    outcome: SliceOutcome = SliceOutcome.DUPLICATE
    rows: int = 0
    most_rows: int = 0

    def __str__(self) -> str:
        return f"{self.outcome.value} ({self.rows} rows)"


def is_of(event: "Envelope[Any]", fact_id: UUID, consumer: str) -> bool:
    """Tell whether an event is the one by which a fact's cascade began, or one of its slices'.

    Under the id of another's event it would have that one taken for a duplicate.
    """
    return event.id in islice(slice_ids(event_of(fact_id), consumer), _MOST_SLICES)


def run_slice(
    database: Database,
    consumer: str,
    event: "Envelope[Any]",
    steps: Mapping[str, Step],
    checkpoint: Checkpoint | None,
    is_over: Callable[[], bool],
    enqueue_next: Callable[[Checkpoint], Statement[Any]],
) -> Slice:
    """Run a slice of a cascade from a checkpoint on (None: from its beginning).

    At least one transaction is done, so that every slice brings the cascade forward; after each, `is_over` is
    asked. `enqueue_next` gives the statement that enqueues the next slice's event. Raises UnknownStepError,
    and sql.errors.RetriesExhaustedError and psycopg.Error as `sql.transaction.run` does.
    """
    this = Slice()
    seen = _FIND_INBOX_ROW(event_id=event.id, consumer=consumer)
    # guard: a cascade's slice that was done is not done again
    if run(database, lambda transaction: transaction.read(seen)[0]).value:
        return this
    names = list(steps)
    here: Checkpoint | None = checkpoint or Checkpoint(names[0])
    while here is not None:
        if here.step not in steps:
            raise UnknownStepError(f"no step {here.step!r} among {', '.join(names)}")
        advance = steps[here.step](here.after)
        this.rows += advance.rows
        this.most_rows = max(this.most_rows, advance.rows)
        # guard: the next slice begins behind the last key
        here = _next(names, here.step) if advance.is_done else Checkpoint(here.step, advance.after)
        if is_over():
            break
    # guard: a cascade's next slice is left with its record
    left = () if here is None else (enqueue_next(here),)
    if once(database, consumer, event, (), lambda: left).value is EffectOutcome.DONE:
        this.outcome = SliceOutcome.DONE if here is None else SliceOutcome.PARTIAL
    return this


def slice_ids(event_id: UUID, consumer: str) -> Iterator[UUID]:
    """Give the ids of the events that a cascade goes by: this one's and, without an end, its next slices'."""
    while True:
        yield event_id
        event_id = uuid5(event_id, consumer)


def enqueue_next_slice(
    event: "Envelope[Any]", consumer: str, following: Payload, region: str, now: datetime
) -> Statement[Any]:
    """Give the statement that enqueues the event of the next slice; its id follows from this slice's."""
    _, next_id = islice(slice_ids(event.id, consumer), 2)
    origin = Origin(next_id, now, region, event.correlation_id, event.trace_id)
    return enqueue(
        origin.announce(following, event.aggregate_id, event.aggregate_version, causation_id=str(event.id))
    )


def by_rest(database: Database, delete: Query[Any], most: int, **parameters: UUID) -> Step:
    """Make a step that deletes up to `most` of what is left, again and again. For dependants that are few."""

    def step(_: UUID | None) -> Advance:
        statement = delete(most=most, **parameters)
        (written,) = run(database, lambda transaction: transaction.commit(statement)).value
        return Advance(written.touched, None, written.touched < most)

    return step


def by_range(
    database: Database, last: Query[UUID], writes: tuple[Query[Any], ...], most: int, **parameters: UUID | str
) -> Step:
    """Make a step that goes through dependants in key order and never looks at one twice.

    `last` gives the last key of the next `most` dependants; the writes then take all up to that key, in the
    same snapshot, so there are no more of them than were counted.
    """

    def step(after: UUID | None) -> Advance:
        behind = after or NO_ID

        def attempt(transaction: Transaction) -> Advance:
            (found,) = transaction.read(last(after=behind, most=most, **parameters))
            if not found:
                return Advance(0, after, is_done=True)
            (upto,) = found
            written = transaction.commit(*(write(after=behind, upto=upto, **parameters) for write in writes))
            return Advance(sum(one.touched for one in written), upto, is_done=False)

        return run(database, attempt).value

    return step


def _next(names: list[str], step: str) -> Checkpoint | None:
    following = names[names.index(step) + 1 :]
    return Checkpoint(following[0]) if following else None
