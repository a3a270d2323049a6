"""The inbox: an event has its effect once, as the record of it is written in the effect's transaction."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from uuid import UUID

from sql.connection import Database
from sql.queries import Statement, load
from sql.transaction import Completed, Row, Transaction, run

_QUERIES = load("consumers")
_FIND = _QUERIES["find_inbox_row"]
_INSERT = _QUERIES["insert_inbox_row"]


class Effect(StrEnum):
    """What became of an event at a consumer."""

    DONE = "done"
    DUPLICATE = "duplicate"


def once(
    database: Database,
    consumer: str,
    event_id: UUID,
    reads: Sequence[Statement],
    decide: Callable[[list[list[Row]]], Sequence[Statement]],
) -> Completed[Effect]:
    """Run a consumer's effect unless it has happened: `decide` turns what `reads` gave into the writes."""

    def attempt(transaction: Transaction) -> Effect:
        seen, *rows = transaction.read(_FIND(event_id=event_id, consumer=consumer), *reads)
        if seen:
            return Effect.DUPLICATE
        transaction.commit(_INSERT(event_id=event_id, consumer=consumer), *decide(rows))
        return Effect.DONE

    return run(database, attempt)
